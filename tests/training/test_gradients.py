"""Micro-batches against the large batch, clipped examples against their gradients one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from tests.reference import backprop

X = np.random.RandomState(0).rand(12, 4).astype(np.float32)
Y = np.random.RandomState(1).randint(0, 3, 12)
MODEL = jaxdl.models.MLP((5, 3), activation=jax.nn.sigmoid, bias_init=jax.nn.initializers.normal(1.0))
OBJECTIVE = training.supervised(MODEL, jaxdl.losses.sigmoid_cross_entropy, metrics={"accuracy": jaxdl.losses.correct})


def start(tx):
    return training.init_state(MODEL, tx, X[:1], key=jax.random.key(0))


def trained(steps=10, **options):
    tx = optax.adam(0.01)
    step, state = jax.jit(training.make_train_step(OBJECTIVE, tx, **options)), start(tx)
    for _ in range(steps):
        state, metrics = step(state, (X, Y))
    return state, metrics


@pytest.mark.parametrize("microbatches", [2, 3, 12])
def test_microbatches_give_the_update_of_the_large_batch(microbatches):
    penalty = lambda params: 0.01 * jnp.sum(jnp.square(params["Dense_0"]["kernel"]))  # noqa: E731
    large, parts = trained(regularizer=penalty), trained(regularizer=penalty, microbatches=microbatches)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * float(jnp.abs(b).max())),
        parts[0].params,
        large[0].params,
    )
    assert parts[1].keys() == large[1].keys() == {"loss", "accuracy", "penalty"}
    for name, value in large[1].items():
        assert float(parts[1][name]) == pytest.approx(float(value), rel=1e-6)


def test_statistics_move_once_a_part_and_parts_have_keys_of_their_own():
    seen = []

    def objective(params, batch, *, model_state, key, train):
        jax.debug.callback(lambda data: seen.append(data.tobytes()), jax.random.key_data(key))
        return params["w"] * batch, training.Aux({"parts": model_state["parts"] + 1}, {})

    step = training.make_train_step(objective, optax.sgd(0.1), microbatches=3)
    state = training.make_state(
        {"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0), model_state={"parts": jnp.int32(0)}
    )
    state, _ = jax.block_until_ready(step(state, jnp.arange(6.0)))
    jax.effects_barrier()
    assert int(state.model_state["parts"]) == 3
    assert len(set(seen)) == 3


def test_half_precision_is_summed_in_single():
    """1024 gradients of 1 and one of 1024, whose running sum bfloat16 could not move by 1."""
    batch = jnp.concatenate([jnp.array([1024.0] * 16), jnp.ones(16 * 1023)])
    objective = lambda params, batch, **_: (params["w"].astype(jnp.float32) * batch, training.Aux({}, {}))  # noqa: E731
    step = training.make_train_step(objective, optax.sgd(1.0), microbatches=1024)
    state = training.make_state({"w": jnp.zeros((), jnp.bfloat16)}, step.tx, key=jax.random.key(0))
    new, _ = jax.jit(step)(state, batch)
    assert new.params["w"].dtype == jnp.bfloat16
    assert float(new.params["w"]) == -2.0  # (1024 + 1023) / 1024 in bfloat16


def numpy_examples(params):
    weights = [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64).T for i in range(2)]
    biases = [np.asarray(params[f"Dense_{i}"]["bias"], np.float64) for i in range(2)]
    pairs = [backprop.backprop(weights, biases, x.astype(np.float64), np.eye(3)[y]) for x, y in zip(X, Y, strict=True)]
    return [[w.T for w in ws] + bs for ws, bs in pairs]


@pytest.mark.parametrize("microbatches", [1, 4])
def test_examples_are_clipped_one_by_one(microbatches):
    tx = optax.sgd(1.0)
    state = start(tx)
    grads = numpy_examples(state.params)
    norms = np.array([np.sqrt(sum(np.sum(leaf**2) for leaf in leaves)) for leaves in grads])
    bound = float(np.sort(norms)[6] + np.sort(norms)[7]) / 2
    factors = np.minimum(1, bound / norms)
    means = [np.mean([f * leaves[i] for f, leaves in zip(factors, grads, strict=True)], 0) for i in range(4)]
    step = training.make_train_step(OBJECTIVE, tx, max_example_norm=bound, microbatches=microbatches)
    new, metrics = jax.jit(step)(state, (X, Y))
    moved = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, state.params, new.params)
    for i in range(2):
        np.testing.assert_allclose(moved[f"Dense_{i}"]["kernel"], means[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(moved[f"Dense_{i}"]["bias"], means[2 + i], rtol=1e-5, atol=1e-6)
    assert float(metrics["clipped"]) == pytest.approx(5 / 12)
    plain = jax.jit(training.make_train_step(OBJECTIVE, tx))(state, (X, Y))[1]
    assert float(metrics["loss"]) == pytest.approx(float(plain["loss"]), rel=1e-6)


def test_a_bound_that_nobody_reaches_is_no_bound():
    (clipped, metrics), (plain, _) = trained(max_example_norm=1e6), trained()
    assert float(metrics["clipped"]) == 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), clipped.params, plain.params)


def test_every_example_has_a_key_of_its_own():
    def objective(params, batch, *, model_state, key, train):
        return params["w"] * jax.random.normal(key, batch.shape), training.Aux({}, {})

    step = training.make_train_step(
        objective, optax.sgd(0.1), max_example_norm=1e3, measure=lambda moment: moment.grads["w"]
    )
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0))
    mean = float(step(state, jnp.ones(4000))[1]["measure"])
    # The mean of 4000 independent draws has the standard deviation 0.016; one key for all would give one draw. Were
    # the key not drawn once for all, this fails with probability 1e-6 at five deviations.
    assert abs(mean) < 0.08


@pytest.mark.parametrize("microbatches", [1, 4])
@pytest.mark.parametrize("max_example_norm", [None, 0.1])
def test_line_searches_see_the_loss_of_the_very_same_draws(microbatches, max_example_norm):
    def objective(params, batch, *, model_state, key, train):
        return jnp.square(params["w"] + jax.random.normal(key, batch.shape)), training.Aux({}, {})

    def update(updates, state, params, *, value, value_fn, **_):
        return updates, jnp.stack([value, value_fn(params)])

    tx = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(2), update)
    step = training.make_train_step(objective, tx, microbatches=microbatches, max_example_norm=max_example_norm)
    state = training.make_state({"w": jnp.zeros(())}, tx, key=jax.random.key(0))
    state, metrics = step(state, jnp.zeros(12))
    np.testing.assert_allclose(state.opt_state, float(metrics["loss"]), rtol=1e-6)


def test_running_statistics_refuse_clipped_examples():
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))

    objective = training.supervised(Normalized(), jaxdl.losses.softmax_cross_entropy)
    tx = optax.sgd(0.1)
    step = training.make_train_step(objective, tx, max_example_norm=1.0)
    state = training.init_state(Normalized(), tx, X[:1], key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"max_example_norm: expected a model without running.*\['batch_stats'\]"):
        step(state, (X, Y))


def test_arguments():
    step = training.make_train_step(OBJECTIVE, optax.sgd(0.1), microbatches=5)
    with pytest.raises(ValueError, match=r"microbatches: expected a divisor of the batch of 12 examples.*got 5"):
        step(start(optax.sgd(0.1)), (X, Y))
    with pytest.raises(ValueError, match="microbatches: expected a whole number >= 1; got 0"):
        training.make_train_step(OBJECTIVE, optax.sgd(0.1), microbatches=0)
    with pytest.raises(ValueError, match=r"max_example_norm: expected one finite number > 0; got 0"):
        training.make_train_step(OBJECTIVE, optax.sgd(0.1), max_example_norm=0)


def test_steps_of_optax_accumulate_to_the_large_batch_as_well():
    def fitted(tx, batch_size):
        step = training.make_train_step(OBJECTIVE, tx)
        state = training.fit(step, start(tx), (X, Y), epochs=5, batch_size=batch_size, shuffle=False).state
        return state.params

    large, small = fitted(optax.adam(0.01), 12), fitted(optax.MultiSteps(optax.adam(0.01), 3), 4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), small, large)
