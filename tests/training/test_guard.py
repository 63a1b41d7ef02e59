"""The guard inside the compiled step: what it keeps where numbers are not finite, and what it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training.engines import ENGINES
from tests.training.conftest import make_task

BAD = 37  # the example that holds NaN


@pytest.fixture
def spoiled(digits_like):
    x, y = digits_like
    x = x.copy()
    x[BAD] = np.nan
    return x, y


def step_of_bad(epoch: int) -> int:
    """Unshuffled, ten examples a step, twelve steps an epoch."""
    return 12 * epoch + BAD // 10


@pytest.mark.parametrize("engine", ENGINES)
def test_skip_is_the_run_without_that_batch(spoiled, engine, same_bytes):
    task = make_task(spoiled, optax.adam(0.1), guard="skip", average=training.ema(0.5))
    state = training.make_state(task.state.params, task.step.tx, key=task.state.key, average=True)
    options = dict(batch_size=10, shuffle=False, engine=engine, chunk_size=5)
    result, history = training.fit(task.step, state, spoiled, epochs=2, **options)
    np.testing.assert_array_equal(np.flatnonzero(history.train["skipped"]), [step_of_bad(0), step_of_bad(1)])
    assert np.isnan(history.train["loss"]).sum() == 2
    assert int(result.bad_step) == step_of_bad(0)
    assert int(result.step) == 24
    # By hand: the same steps on the other batches, with the counter of each step.
    plain = make_task(spoiled, optax.adam(0.1), average=training.ema(0.5)).step
    advance, expected = jax.jit(plain), state
    for i in range(24):
        if i % 12 != BAD // 10:
            batch = tuple(leaf[i % 12 * 10 : i % 12 * 10 + 10] for leaf in spoiled)
            expected, _ = advance(replace(expected, step=jnp.asarray(i, jnp.int32)), batch)
    for name in ("params", "opt_state", "average"):
        same_bytes(getattr(result, name), getattr(expected, name))


@pytest.mark.parametrize("engine", ENGINES)
def test_stop_returns_the_state_before(spoiled, engine, same_bytes):
    task = make_task(spoiled, optax.adam(0.1), guard="stop")
    options = dict(batch_size=10, shuffle=False, engine=engine, chunk_size=2)
    result, history = training.fit(task.step, task.state, spoiled, epochs=3, **options)
    assert (history.ended, int(result.step), int(result.bad_step)) == ("not finite", step_of_bad(0), step_of_bad(0))
    assert history.train["loss"].shape == (step_of_bad(0) + 1,)
    clean = make_task(spoiled, optax.adam(0.1))
    before = training.fit(clean.step, clean.state, spoiled, steps=step_of_bad(0), **options).state
    same_bytes(result.params, before.params)
    same_bytes(result.opt_state, before.opt_state)
    again = training.fit(task.step, result, spoiled, epochs=3, **options)
    assert (again.history.ended, int(again.state.step)) == ("not finite", step_of_bad(0))


@pytest.mark.parametrize("guard", ["raise", None])
@pytest.mark.parametrize("engine", ENGINES)
def test_raise_hands_over_state_batch_and_history(spoiled, engine, guard, same_bytes):
    task = make_task(spoiled, optax.adam(0.1), guard=guard)
    options = dict(batch_size=10, shuffle=False, engine=engine, chunk_size=2)
    with pytest.raises(training.NotFiniteError, match=rf"at step {step_of_bad(0)} .* in its leaf '0'") as caught:
        training.fit(task.step, task.state, spoiled, epochs=3, **options)
    error = caught.value
    clean = make_task(spoiled, optax.adam(0.1))
    before = training.fit(clean.step, clean.state, spoiled, steps=step_of_bad(0), **options).state
    same_bytes(error.state, before)
    first = step_of_bad(0) * 10
    np.testing.assert_array_equal(error.batch[0], spoiled[0][first : first + 10])
    assert (error.step, error.history.ended, error.folder) == (step_of_bad(0), "not finite", None)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(error.history.train["loss"]))[:1], [step_of_bad(0)])
    # One goes on from there with what mends it.
    mended = (np.nan_to_num(spoiled[0]), spoiled[1])
    assert training.fit(task.step, error.state, mended, epochs=1, **options).history.ended == "done"


def test_a_gradient_that_is_not_finite_is_seen_before_the_loss_is_lost():
    """sqrt at 0 has a finite value and no finite derivative: without a guard the loss is NaN a step later."""

    def objective(params, batch, *, model_state, key, train):
        return jnp.sqrt(batch @ params["w"]), training.Aux(model_state, {})

    batch = jnp.zeros((4, 2))
    state = training.make_state({"w": jnp.ones(2)}, optax.sgd(0.1), key=jax.random.key(0))
    guarded = training.make_train_step(objective, optax.sgd(0.1), guard="skip")
    after, metrics = jax.jit(guarded)(state, batch)
    assert (float(metrics["loss"]), float(metrics["skipped"]), int(after.bad_step)) == (0.0, 1.0, 0)
    np.testing.assert_array_equal(after.params["w"], state.params["w"])
    plain, _ = training.make_train_step(objective, optax.sgd(0.1))(state, batch)
    assert np.isnan(plain.params["w"]).all()


def test_a_running_statistic_that_is_not_finite():
    def objective(params, batch, *, model_state, key, train):
        largest = jnp.maximum(model_state["largest"], jnp.exp(batch).max())
        return jnp.square(params["w"]) * jnp.ones(len(batch)), training.Aux({"largest": largest}, {})

    step = jax.jit(training.make_train_step(objective, optax.sgd(0.1), guard="skip"))
    start = {"largest": jnp.float32(-np.inf)}  # no illness: it was so before
    state = training.make_state({"w": jnp.ones(())}, optax.sgd(0.1), key=jax.random.key(0), model_state=start)
    state, metrics = step(state, jnp.ones(3))
    assert float(metrics["skipped"]) == 0
    state, metrics = step(state, jnp.full(3, 100.0))  # exp overflows
    assert float(metrics["skipped"]) == 1
    np.testing.assert_allclose(state.model_state["largest"], np.e, rtol=1e-6)


def test_the_guard_changes_no_byte_of_a_healthy_run(digits_like, same_bytes):
    plain, guarded = make_task(digits_like, optax.adam(0.1)), make_task(digits_like, optax.adam(0.1), guard="raise")
    options = dict(epochs=2, batch_size=10)
    same_bytes(
        training.fit(guarded.step, guarded.state, digits_like, **options).state,
        training.fit(plain.step, plain.state, digits_like, **options).state,
    )


def test_members_are_guarded_each_for_itself(digits_like):
    """One member has a rate that explodes; the others do not notice."""
    x, y = digits_like
    task = make_task(digits_like, optax.sgd(0.1), guard="skip")

    def init(key):
        state = task.init(key)
        sick = jax.random.key_data(key)[-1] == 1
        return replace(state, params=jax.tree.map(lambda leaf: jnp.where(sick, jnp.inf, 1.0) * leaf, state.params))

    states, history = training.run_many(task.step, init, (x, y), seeds=[0, 1, 2], epochs=1, batch_size=10, mode="vmap")
    np.testing.assert_array_equal(history.train["skipped"].sum(1), [0, 12, 0])
    np.testing.assert_array_equal(states.bad_step, [-1, 0, -1])


def test_an_unknown_guard(task):
    with pytest.raises(ValueError, match=r"guard: expected one of 'skip', 'stop', 'raise'; got 'ignore'"):
        training.make_train_step(task.objective, optax.sgd(0.1), guard="ignore")
