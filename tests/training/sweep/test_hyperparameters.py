"""Hyper-parameters as traced values: every member is the run with its numbers, and what is no cell is said."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import initializers, layers, optimizers, regularizers, training

OPTIONS = dict(epochs=2, batch_size=10)
ROUNDING = dict(rtol=2e-3, atol=1e-5)


class Net(nn.Module):
    rate: float
    scale: float

    @nn.compact
    def __call__(self, x, train):
        kernel_init = initializers.variance_scaling(self.scale, "fan_in", "normal")
        x = nn.sigmoid(nn.Dense(6, kernel_init=kernel_init)(x.reshape(len(x), -1)))
        return nn.Dense(10)(layers.Dropout(self.rate, deterministic=not train)(x))


PLAIN = jaxdl.models.MLP((6, 10))
PLAIN_OBJECTIVE = training.supervised(PLAIN, jaxdl.losses.softmax_cross_entropy)


def plain_recipe(tx):
    """`make_step` and `init` of a network that has no hyper-parameter itself."""

    def make_step(**cell):
        return training.make_train_step(PLAIN_OBJECTIVE, tx(**cell))

    return make_step, lambda key, **cell: training.init_state(PLAIN, tx(**cell), jnp.zeros((1, 16)), key=key)


def network_step(learning_rate, rate, scale, strength, decay):
    objective = training.supervised(Net(rate, scale), jaxdl.losses.softmax_cross_entropy)
    tx = optax.sgd(learning_rate, momentum=0.9)
    return training.make_train_step(objective, tx, regularizer=regularizers.l2(strength), average=training.ema(decay))


def network_init(key, learning_rate, rate, scale, **others):
    x = jnp.zeros((1, 4, 4, 1))
    return training.init_state(Net(rate, scale), optax.sgd(learning_rate, momentum=0.9), x, key=key, average=True)


@pytest.mark.parametrize("mode", ["vmap", pytest.param("map", marks=pytest.mark.slow)])
def test_every_member_is_the_run_with_its_numbers(digits_like, mode):
    grid = dict(learning_rate=[0.1, 0.3], rate=[0.0, 0.4], scale=[0.5], strength=[0.01], decay=[0.8])
    runs = training.run_many(
        network_step, network_init, digits_like, seeds=[0, 3], hyperparameters=grid, mode=mode, validation=digits_like,
        **OPTIONS,
    )  # fmt: skip
    assert len(runs.members) == 8
    for i in (0, 3, 5, 6):
        cell = {name: value for name, value in runs.members[i].items() if name != "seed"}
        state = network_init(jax.random.key(runs.members[i]["seed"]), **cell)
        single, history = training.fit(
            network_step(**cell), state, digits_like, validation=digits_like, **OPTIONS
        )  # fmt: skip
        ours = training.member(runs.states, i)
        for a, b in ((ours.params, single.params), (ours.average.params, single.average.params)):
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **ROUNDING), a, b)
        np.testing.assert_allclose(runs.history.train["loss"][i], history.train["loss"], rtol=1e-4)
        assert set(history.validation) == {"loss", "averaged_loss"}
        for name, values in history.validation.items():
            np.testing.assert_allclose(runs.history.validation[name][i], values, rtol=1e-4)


def test_cells_come_first_and_their_seeds_together(digits_like):
    make_step, init = plain_recipe(lambda a, b: optax.sgd(a, momentum=b))
    options = dict(seeds=[7, 1], mode="map", steps=1, batch_size=10)
    grid = training.run_many(make_step, init, digits_like, hyperparameters={"a": [0.1, 1], "b": np.ones(1)}, **options)
    assert grid.members == (
        {"a": 0.1, "b": 1.0, "seed": 7}, {"a": 0.1, "b": 1.0, "seed": 1},
        {"a": 1, "b": 1.0, "seed": 7}, {"a": 1, "b": 1.0, "seed": 1},
    )  # fmt: skip
    listed = training.run_many(
        make_step, init, digits_like, hyperparameters=[{"a": 2.0, "b": 0.5}, {"b": 0.1, "a": 0.2}], **options
    )
    assert [member["b"] for member in listed.members] == [0.5, 0.5, 0.1, 0.1]
    assert listed.history.train["loss"].shape == (4, 1)


@pytest.mark.parametrize(
    "recipe",
    [
        (lambda rate, mass, decay: optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=mass))),
        (lambda rate, mass, decay: optax.adamw(rate, b1=mass, weight_decay=decay)),
        pytest.param(
            lambda rate, mass, decay: optax.chain(
                optimizers.coupled_l2(decay), optimizers.nesterov(rate, momentum=mass)
            ),
            marks=pytest.mark.slow,
        ),
        (lambda rate, mass, decay: optax.chain(optimizers.rmsprop(rate, decay=mass), optimizers.max_norm(30 * decay))),
    ],
    ids=["sgd", "adamw", "nesterov", "rmsprop"],
)
def test_under_map_rates_momenta_and_decays_are_bytes(digits_like, same_bytes, recipe):
    """The single run is given arrays: constants that XLA sees, it may fold into another rounding."""
    make_step, init = plain_recipe(recipe)
    grid = dict(rate=[0.1, 0.02], mass=[0.9], decay=[0.01, 0.1])
    runs = training.run_many(
        make_step, init, digits_like, seeds=[5], hyperparameters=grid, mode="map", **OPTIONS
    )  # fmt: skip
    for i in (1, 2):
        cell = {name: jnp.float32(value) for name, value in runs.members[i].items() if name != "seed"}
        state = jax.jit(init)(jax.random.key(5), **cell)
        same_bytes(training.member(runs.states, i), training.fit(make_step(**cell), state, digits_like, **OPTIONS)[0])


def test_under_map_a_member_is_to_the_byte_what_it_is_alone(digits_like, same_bytes):
    cells = [dict(learning_rate=0.1 * i, rate=0.1 * i, scale=1.0 * i, strength=0.0, decay=0.0) for i in (1, 2, 3)]
    options = dict(mode="map", **OPTIONS)
    every = training.run_many(network_step, network_init, digits_like, seeds=[0, 3], hyperparameters=cells, **options)
    alone = training.run_many(
        network_step, network_init, digits_like, seeds=[3], hyperparameters=[cells[1]], **options
    )  # fmt: skip
    same_bytes(training.member(every.states, 3), training.member(alone.states, 0))


def test_a_schedule_that_refuses_a_traced_rate_is_multiplied_by_it(digits_like):
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20)
    make_step, init = plain_recipe(lambda rate: optax.sgd(lambda count: rate * shape(count)))
    runs = training.run_many(
        make_step, init, digits_like, seeds=[0], hyperparameters={"rate": [0.1, 0.7]}, mode="vmap", **OPTIONS
    )
    tx = optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.7, 5, 20))
    state = training.init_state(PLAIN, tx, jnp.zeros((1, 16)), key=jax.random.key(0))
    step = training.make_train_step(PLAIN_OBJECTIVE, tx)
    losses = training.fit(step, state, digits_like, **OPTIONS).history.train["loss"]
    np.testing.assert_allclose(runs.history.train["loss"][1], losses, rtol=1e-4)


def test_the_second_call_compiles_nothing(digits_like):
    make_step, init = plain_recipe(optax.sgd)

    def run(rates):
        options = dict(seeds=[0, 1], mode="vmap", validation=digits_like, **OPTIONS)
        training.run_many(make_step, init, digits_like, hyperparameters={"learning_rate": rates}, **options)

    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **kwargs: events.append(event) if "backend_compile" in event else None
    )
    run([0.1, 0.2])
    count = len(events)
    assert count > 0
    run([0.3, 0.4])  # other numbers are the same program
    assert len(events) == count


GRID = {"learning_rate": [0.1]}


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({}, ValueError, r"hyperparameters: expected at least one name with at least one value; got \{\}"),
        ({"learning_rate": []}, ValueError, "hyperparameters: expected at least one name with at least one value"),
        ([], ValueError, "hyperparameters: expected at least one name with at least one value"),
        ([{}], ValueError, "hyperparameters: expected at least one name with at least one value"),
        (0.1, TypeError, "hyperparameters: expected a mapping of names to lists, or a list of mappings; got float"),
        ([0.1], TypeError, "hyperparameters: expected a mapping of names to lists, or a list of mappings; got list"),
        ({"learning_rate": 0.1}, TypeError, r"hyperparameters\['learning_rate'\]: expected a list of values; got 0\.1"),
        ({"learning_rate": "0.1"}, TypeError, r"hyperparameters\['learning_rate'\]: expected a list of values; got '0"),
        ({"learning_rate": np.ones((1, 1))}, TypeError, r"\['learning_rate'\]: expected a list of values; got array"),
        ({3: [0.1]}, TypeError, "hyperparameters: expected names that are strings; got 3"),
        ({"seed": [1]}, ValueError, "hyperparameters: expected names other than 'seed' .* got 'seed'"),
        ({"train_loss": [1]}, ValueError, "hyperparameters: expected names other than 'seed' .* got 'train_loss'"),
        (
            [{"learning_rate": 0.1}, {"rate": 0.1}],
            ValueError,
            r"hyperparameters: expected the same names in every cell; got \['learning_rate'\] and \['rate'\]",
        ),
        ({"learning_rate": [0.1, 0.1]}, ValueError, "hyperparameters: expected each cell once; got .*0.1.* twice"),
        *(
            (
                {"learning_rate": [0.1, value]},
                ValueError,
                r"hyperparameters\['learning_rate'\]: expected finite numbers, in float32 too; got",
            )
            for value in (np.nan, np.inf, 1e39, 10**400, "1", True, None, 1j, np.ones(2))
        ),
    ],
)
def test_cells_that_are_none(digits_like, grid, error, message):
    make_step, init = plain_recipe(optax.sgd)
    with pytest.raises(error, match=message):
        training.run_many(make_step, init, digits_like, seeds=[0], hyperparameters=grid, **OPTIONS)


def test_steps_and_functions_of_hyperparameters_in_each_others_place(task):
    make_step, init = plain_recipe(optax.sgd)
    run = lambda step, init, grid: training.run_many(  # noqa: E731
        step, init, task.data, seeds=[0], hyperparameters=grid, **OPTIONS
    )

    def by_another_name(lr):
        return task.step

    with pytest.raises(TypeError, match=r"step: expected, with hyperparameters, a function make_step\(\*\*cell\)"):
        run(task.step, init, GRID)
    with pytest.raises(TypeError, match=r"step: expected what make_train_step\(.* got function\. A function of hyper-"):
        run(make_step, task.init, None)
    with pytest.raises(TypeError, match="step: expected a function; got int"):
        run(3, init, GRID)
    with pytest.raises(TypeError, match=r"step: expected what make_train_step.* got int"):
        run(3, task.init, None)
    with pytest.raises(
        TypeError, match=r"step: expected a function that takes .* learning_rate by name; got \w+\(lr\)"
    ):
        run(by_another_name, init, GRID)
    with pytest.raises(TypeError, match=r"init: expected, with .* a key and, by name, learning_rate; got init\(key\)"):
        run(make_step, task.init, GRID)
    with pytest.raises(TypeError, match=r"step: expected a function that returns what make_train_step.* returned int"):
        run(lambda learning_rate: 3, init, GRID)


def test_a_value_out_of_its_domain_is_noticed_before_it_is_traced(digits_like):
    make_step, init = plain_recipe(optimizers.gradient_descent)
    with pytest.raises(ValueError, match=r"learning_rate: expected one finite number >= 0; got Array\(-1"):
        training.run_many(
            make_step, init, digits_like, seeds=[0], hyperparameters={"learning_rate": [0.1, -1.0]}, **OPTIONS
        )


@pytest.mark.parametrize(
    ("traced", "closed"),
    [
        (lambda v: initializers.he_normal(negative_slope=v), 0.2),
        (lambda v: initializers.he_uniform(negative_slope=v), 0.2),
        (lambda v: initializers.random_walk("tanh", gain=v), 1.2),
        (lambda v: initializers.sparse(2, stddev=v), 0.7),
        (lambda v: initializers.identity(v), 0.7),
        (lambda v: lambda *_: training.ema(v)(jnp.arange(1, 50)), 0.999),
        (lambda v: lambda *_: training.ema(v)(jnp.arange(1, 50)), 0.0),
    ],
)
def test_a_traced_scalar_is_its_number(traced, closed):
    draw = lambda value: traced(value)(jax.random.key(0), (5, 4), jnp.float32)  # noqa: E731
    found = jax.jit(jax.vmap(draw))(jnp.full((2,), closed, jnp.float32))
    np.testing.assert_allclose(found[1], draw(closed), rtol=2e-5, atol=1e-7)
