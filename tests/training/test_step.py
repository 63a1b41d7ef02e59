import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from tests.reference import backprop

X = np.random.RandomState(0).rand(6, 4).astype(np.float32)
Y = np.random.RandomState(1).randint(0, 3, 6)


def make(tx, **options):
    model = jaxdl.models.MLP((5, 3), activation=jax.nn.sigmoid, bias_init=jax.nn.initializers.normal(1.0))
    objective = training.supervised(model, jaxdl.losses.sigmoid_cross_entropy)
    step = training.make_train_step(objective, tx, **options)
    return step, training.init_state(model, tx, X, key=jax.random.key(0))


def numpy_weights(params):
    weights = [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64).T for i in range(2)]
    biases = [np.asarray(params[f"Dense_{i}"]["bias"], np.float64) for i in range(2)]
    return weights, biases


def test_one_step_of_gradient_descent_is_the_four_equations():
    step, state = make(optax.sgd(0.5))
    weights, biases = numpy_weights(state.params)
    grads_w, grads_b = backprop.mean_backprop(weights, biases, X.astype(np.float64), np.eye(3)[Y])
    new, metrics = jax.jit(step)(state, (X, Y))
    assert float(metrics["loss"]) == pytest.approx(
        backprop.cost(weights, biases, X.astype(np.float64), np.eye(3)[Y]), rel=1e-5
    )
    for i in range(2):
        layer = new.params[f"Dense_{i}"]
        np.testing.assert_allclose(layer["kernel"].T, weights[i] - 0.5 * grads_w[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer["bias"], biases[i] - 0.5 * grads_b[i], rtol=1e-5, atol=1e-6)
    assert int(new.step) == 1


def test_a_penalty_adds_its_gradient_and_is_reported():
    step, state = make(optax.sgd(0.5), regularizer=lambda params: 0.1 * jnp.sum(params["Dense_1"]["kernel"] ** 2))
    plain, _ = make(optax.sgd(0.5))
    new, metrics = step(state, (X, Y))
    without, bare = plain(state, (X, Y))
    kernel = np.asarray(state.params["Dense_1"]["kernel"])
    assert float(metrics["penalty"]) == pytest.approx(0.1 * np.sum(kernel**2), rel=1e-5)
    assert float(metrics["loss"]) == float(bare["loss"])
    np.testing.assert_allclose(
        new.params["Dense_1"]["kernel"], without.params["Dense_1"]["kernel"] - 0.5 * 0.2 * kernel, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(new.params["Dense_0"]["kernel"], without.params["Dense_0"]["kernel"])


def test_randomness_is_the_key_folded_with_the_step():
    seen = []

    def objective(params, batch, *, model_state, key, train):
        seen.append(jax.random.key_data(key))
        return params["w"] * jnp.ones(2), training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(5))
    for i in range(3):
        state, _ = step(state, ())
        np.testing.assert_array_equal(seen[-1], jax.random.key_data(jax.random.fold_in(jax.random.key(5), i)))


def test_a_measure_sees_the_step_before_the_update():
    step, state = make(
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5)),
        regularizer=lambda params: 0.0 * jnp.sum(params["Dense_0"]["bias"]),
        measure=lambda moment: {
            "grad": moment.grads["Dense_0"]["bias"],
            "update": moment.updates["Dense_0"]["kernel"],
            "kernel": moment.params["Dense_0"]["kernel"],
        },
    )
    new, metrics = jax.jit(step)(state, (X, Y))
    weights, biases = numpy_weights(state.params)
    _, grads_b = backprop.mean_backprop(weights, biases, X.astype(np.float64), np.eye(3)[Y])
    np.testing.assert_allclose(metrics["measure"]["grad"], grads_b[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(metrics["measure"]["kernel"], state.params["Dense_0"]["kernel"])
    np.testing.assert_allclose(
        state.params["Dense_0"]["kernel"] + metrics["measure"]["update"], new.params["Dense_0"]["kernel"], rtol=1e-6
    )


def test_a_measure_every_few_steps():
    step, state = make(optax.sgd(0.1), measure=lambda moment: moment.params["Dense_0"]["bias"], measure_every=3)
    jitted = jax.jit(step)
    for i in range(7):
        before = state.params["Dense_0"]["bias"]
        state, metrics = jitted(state, (X, Y))
        np.testing.assert_array_equal(metrics["measure"], before if i % 3 == 0 else np.zeros_like(before))


def test_the_step_is_transformable():
    step, state = make(optax.adam(0.01))
    eager, _ = step(state, (X, Y))
    scanned, metrics = jax.lax.scan(lambda carry, _: step(carry, (X, Y)), state, None, length=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), eager.params, scanned.params)
    many = jax.vmap(lambda scale: step(state, (X * scale, Y))[1]["loss"])(jnp.array([1.0, 2.0]))
    assert float(many[0]) == pytest.approx(float(metrics["loss"][0]), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(objective=3), r"objective: expected a function of \(params, batch\); got int"),
        (dict(objective=None), r"objective: expected a function of \(params, batch\); got NoneType"),
        (dict(regularizer=0.1), "regularizer: expected a function; got float"),
        (dict(measure="flow"), "measure: expected a function; got str"),
        (dict(tx=0.1), r"tx: expected an optax\.GradientTransformation; got float"),
    ],
)
def test_arguments_of_the_wrong_kind(arguments, message):
    valid = dict(objective=lambda *a, **k: None, tx=optax.sgd(0.1))
    options = {**valid, **arguments}
    with pytest.raises(TypeError, match=message):
        training.make_train_step(options.pop("objective"), options.pop("tx"), **options)


def test_measuring_every_zero_steps():
    with pytest.raises(ValueError, match="measure_every: expected a whole number >= 1; got 0"):
        training.make_train_step(lambda *a, **k: None, optax.sgd(0.1), measure_every=0)


def test_a_measure_sees_the_gradient_without_the_penalty_and_the_state_before():
    def objective(params, batch, *, model_state, key, train):
        return params["w"] * batch, training.Aux({"count": model_state["count"] + 1}, {})

    for every in (1, 2):
        step = training.make_train_step(
            objective,
            optax.sgd(0.1),
            regularizer=lambda params: 100.0 * params["w"],
            measure=lambda moment: (moment.grads["w"], moment.model_state["count"]),
            measure_every=every,
        )
        state = training.make_state(
            {"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0), model_state={"count": jnp.zeros(())}
        )
        new, metrics = jax.jit(step)(state, jnp.full(3, 2.0))
        assert (float(metrics["measure"][0]), float(metrics["measure"][1])) == (2.0, 0.0)
        assert float(new.model_state["count"]) == 1.0


def test_measuring_does_not_change_the_training():
    states = []
    for options in ({}, {"measure": lambda m: m.grads}, {"measure": lambda m: m.grads, "measure_every": 2}):
        step, state = make(optax.adam(0.01), **options)
        for _ in range(4):
            state, _ = jax.jit(step)(state, (X, Y))
        states.append(state)
    for other in states[1:]:
        jax.tree.map(np.testing.assert_array_equal, states[0].params, other.params)


def test_an_objective_that_returns_only_losses():
    step = training.make_train_step(lambda params, batch, **_: batch, optax.sgd(0.1))
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"objective: expected \(losses, Aux\(model_state, metrics\)\) from it"):
        step(state, jnp.ones(3))


@pytest.mark.parametrize("name", ["measure", "averaged_loss"])
def test_metrics_by_names_that_are_taken(name):
    objective = lambda params, batch, **_: (batch * params["w"], training.Aux({}, {name: batch}))  # noqa: E731
    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0))
    with pytest.raises(ValueError, match=rf"objective: expected metrics by other names .*got \['{name}'\]"):
        step(state, jnp.ones(3))


@pytest.mark.parametrize("microbatches", [1, 3])
def test_a_transformation_that_asks_is_given_value_gradient_and_function(microbatches):
    """What the extra arguments say is what loss and penalty are, as functions of the parameters alone."""
    penalty = lambda params: 0.1 * jnp.sum(params["Dense_1"]["kernel"] ** 2)  # noqa: E731
    seen = {}

    def update(updates, state, params=None, *, value, grad, value_fn, **extra):
        seen.update(value=value, grad=grad, again=value_fn(params), moved=value_fn(jax.tree.map(jnp.negative, params)))
        return jax.tree.map(lambda u: -0.5 * u, updates), state

    asking = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    step, state = make(optax.chain(optax.identity(), asking), regularizer=penalty, microbatches=microbatches)
    _, metrics = step(state, (X, Y))
    weights, biases = numpy_weights(state.params)
    cost = lambda ws, bs: backprop.cost(ws, bs, X.astype(np.float64), np.eye(3)[Y]) + 0.1 * np.sum(ws[1] ** 2)  # noqa: E731
    there, opposite = cost(weights, biases), cost([-w for w in weights], [-b for b in biases])
    assert float(seen["value"]) == pytest.approx(there, rel=1e-5)
    assert float(seen["again"]) == pytest.approx(there, rel=1e-5)
    assert float(seen["moved"]) == pytest.approx(opposite, rel=1e-5)
    assert float(metrics["loss"] + metrics["penalty"]) == pytest.approx(there, rel=1e-5)
    grads_w, _ = backprop.mean_backprop(weights, biases, X.astype(np.float64), np.eye(3)[Y])
    np.testing.assert_allclose(seen["grad"]["Dense_1"]["kernel"].T, grads_w[1] + 0.2 * weights[1], rtol=1e-5, atol=1e-6)


def test_plateaus_are_seen_by_the_chain():
    step, state = make(optax.chain(optax.sgd(0.0), optax.contrib.reduce_on_plateau(factor=0.5, patience=2)))
    for _ in range(5):
        state, _ = jax.jit(step)(state, (X, Y))
    assert float(state.opt_state[1].scale) < 1
