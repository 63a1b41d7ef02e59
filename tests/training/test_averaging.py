"""Averages of the iterates against the iterates themselves, averaged in NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from tests.training.conftest import make_task

STEPS = 12


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(6)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))


def run(digits_like, average, *, dtype=jnp.float32):
    """All iterates of some steps, as states, the last of which has the average."""
    model = jaxdl.as_model(Normalized())
    tx = optax.sgd(0.3)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx, average=average)
    x, y = digits_like
    first = training.init_state(model, tx, x[:1], key=jax.random.key(0))
    cast = jax.tree.map(lambda leaf: leaf.astype(dtype), first.params)
    states = [training.make_state(cast, tx, key=first.key, model_state=first.model_state, average=average is not None)]
    jitted = jax.jit(step)
    for i in range(STEPS):
        states.append(jitted(states[-1], (x[10 * i : 10 * i + 10], y[10 * i : 10 * i + 10]))[0])
    return states[1:]


def check(mean, iterates, weights):
    def leaf(found, *each):
        expected = sum(w * np.asarray(e, np.float64) for w, e in zip(weights, each, strict=True))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    jax.tree.map(leaf, mean.params, *(state.params for state in iterates))
    jax.tree.map(leaf, mean.model_state, *(state.model_state for state in iterates))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.9999])
def test_ema_is_the_corrected_average_of_the_iterates_and_their_statistics(digits_like, decay):
    states = run(digits_like, training.ema(decay))
    weights = (1 - decay) * decay ** np.arange(STEPS - 1, -1, -1.0)
    assert weights.sum() == pytest.approx(1 - decay**STEPS)
    check(training.averaged(states[-1]), states, weights / (1 - decay**STEPS))


@pytest.mark.parametrize("start", [0, 5, 11, 40])
def test_polyak_is_the_mean_since_the_start(digits_like, start):
    states = run(digits_like, training.polyak(start=start))
    weights = np.arange(STEPS) >= min(start, STEPS - 1)
    check(training.averaged(states[-1]), states, weights / weights.sum())


def test_the_average_changes_nothing_else(digits_like, same_bytes):
    averaged, plain = (run(digits_like, average)[-1] for average in (training.ema(0.9), None))
    same_bytes((averaged.params, averaged.model_state), (plain.params, plain.model_state))
    assert plain.average is None


def test_half_precision_is_averaged_in_single(digits_like):
    states = run(digits_like, training.ema(0.999), dtype=jnp.bfloat16)
    kernel = states[-1].average.params["Dense_0"]["kernel"]
    assert kernel.dtype == jnp.float32
    each = np.stack([np.asarray(state.params["Dense_0"]["kernel"], np.float64) for state in states])
    weights = 0.999 ** np.arange(STEPS - 1, -1, -1.0)
    np.testing.assert_allclose(kernel, np.tensordot(weights / weights.sum(), each, 1), rtol=1e-5, atol=1e-6)
    assert training.averaged(states[-1]).params["Dense_0"]["kernel"].dtype == jnp.bfloat16


def test_counters_are_the_newest():
    def objective(params, batch, *, model_state, key, train):
        return params["w"] * batch, training.Aux({"seen": model_state["seen"] + 1}, {})

    step = training.make_train_step(objective, optax.sgd(0.1), average=training.ema(0.5))
    state = training.make_state(
        {"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0), model_state={"seen": jnp.int32(0)}, average=True
    )
    for _ in range(3):
        state, _ = step(state, jnp.ones(2))
    assert int(training.averaged(state).model_state["seen"]) == 3


def test_engines_members_and_resumption_keep_the_average(digits_like, same_bytes):
    task = make_task(digits_like, average=training.ema(0.9))
    model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)

    def init(key):
        return training.init_state(model, task.step.tx, task.data[0][:1], key=key, average=True)

    options = dict(batch_size=16, validation=task.data)
    whole = training.fit(task.step, init(jax.random.key(4)), task.data, epochs=2, engine="epoch", **options)
    looped = training.fit(task.step, init(jax.random.key(4)), task.data, epochs=2, engine="loop", **options)
    half = training.fit(task.step, init(jax.random.key(4)), task.data, steps=5, engine="chunk", **options)
    resumed = training.fit(task.step, half.state, task.data, epochs=2, engine="chunk", **options)
    same_bytes(whole.state, looped.state)
    same_bytes(whole.state, resumed.state)
    expected = training.evaluate(task.objective, training.averaged(whole.state), task.data)
    assert whole.history.validation["averaged_loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)
    assert whole.history.validation["averaged_loss"][-1] != whole.history.validation["loss"][-1]
    for mode in ("map", "vmap"):
        many, history = training.run_many(task.step, init, task.data, seeds=[3, 4], epochs=2, mode=mode, **options)
        single = training.member(many, 1)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), single.average, whole.state.average
        )
        assert history.validation["averaged_accuracy"].shape == (2, 2)


def test_a_state_without_room():
    step = training.make_train_step(
        lambda p, b, **_: (b, training.Aux({}, {})), optax.sgd(0.1), average=training.ema(0.5)
    )
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"state: expected one with room for the average .*average=True"):
        step(state, jnp.ones(3))
    with pytest.raises(ValueError, match=r"state: expected one with an average; got one without"):
        training.averaged(state)
    with pytest.raises(TypeError, match="state: expected a TrainState; got dict"):
        training.averaged({})


def test_an_average_that_the_step_does_not_keep_is_refused_and_not_left_behind():
    step = training.make_train_step(lambda p, b, **_: (p["w"] * b, training.Aux({}, {})), optax.sgd(0.1))
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0), average=True)
    with pytest.raises(ValueError, match=r"state: expected one without an average.*keeps none.*average=None"):
        step(state, jnp.ones(3))
    assert step(replace(state, average=None), jnp.ones(3))[0].average is None


def test_arguments():
    with pytest.raises(ValueError, match=r"decay: expected one finite number >= 0 and < 1; got 1\.0"):
        training.ema(1.0)
    with pytest.raises(ValueError, match="start: expected a whole number >= 0; got -1"):
        training.polyak(start=-1)
    with pytest.raises(TypeError, match="average: expected a function; got float"):
        training.make_train_step(lambda *a, **k: None, optax.sgd(0.1), average=0.9)
    for factory in (training.ema, training.polyak):
        with pytest.raises(
            TypeError, match=rf"average: expected what {factory.__name__}\(...\) returns; got {factory.__name__} it"
        ):
            training.make_train_step(lambda *a, **k: None, optax.sgd(0.1), average=factory)
