"""Early stopping as state: when it stops, what it keeps, members on their own."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training import EarlyStopping, best


def keras_rule(values, *, patience, min_delta, mode):
    """(evaluation that stops or None, best evaluation), as in the help of Keras' EarlyStopping, in float32."""
    sign = 1 if mode == "min" else -1
    best_value, best_index, waited = np.float32(np.inf), None, 0
    for i, value in enumerate(np.asarray(values, np.float32) * np.float32(sign)):
        if best_value - value > min_delta:
            best_value, best_index, waited = value, i, 0
        else:
            waited += 1
            if waited >= patience:
                return i, best_index
    return None, best_index


def state_at(step, stopping=None):
    state = training.make_state({"w": jnp.full(2, float(step))}, optax.sgd(0.1), key=jax.random.key(0))
    return replace(state, step=jnp.asarray(step, jnp.int32), stopping=stopping)


def observed(rule, values):
    state, observe = rule.start(state_at(0)), jax.jit(rule.observe)
    for i, value in enumerate(values, start=1):
        params = {"w": np.full(2, i, np.float32)}
        state = observe(replace(state, step=np.asarray(i, np.int32), params=params), value)
    return state


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (3, 0.1), (2, 0.5)])
def test_it_stops_where_the_rule_says(mode, patience, min_delta):
    draws = np.random.RandomState(patience)
    for _ in range(20):
        values = np.cumsum(draws.randn(12)).astype(np.float32)
        rule = EarlyStopping(patience, min_delta=min_delta, mode=mode)
        stopping = observed(rule, values).stopping
        stop, best_index = keras_rule(values, patience=patience, min_delta=min_delta, mode=mode)
        assert int(stopping.stopped_at) == (-1 if stop is None else stop + 1)
        assert int(stopping.best_step) == best_index + 1
        assert float(stopping.best) == values[best_index]
        assert float(stopping.kept[0]["w"][0]) == best_index + 1


def test_nan_is_no_improvement():
    stopping = observed(EarlyStopping(3), [2.0, np.nan, np.nan]).stopping
    assert (int(stopping.waited), int(stopping.stopped_at), float(stopping.best)) == (2, -1, 2.0)
    never = observed(EarlyStopping(2), [np.nan, np.nan])
    assert int(never.stopping.stopped_at) == 2
    with pytest.raises(ValueError, match=r"state: expected one whose run was evaluated at least once, to a number"):
        best(never)


def test_what_has_stopped_stays():
    rule = EarlyStopping(1)
    state = observed(rule, [1.0, 2.0])
    assert int(state.stopping.stopped_at) == 2
    later = rule.observe(replace(state, step=jnp.asarray(9, jnp.int32)), 0.0)
    for old, new in zip(jax.tree.leaves(state.stopping), jax.tree.leaves(later.stopping), strict=True):
        np.testing.assert_array_equal(old, new)


def test_fit_stops_and_returns_the_best(task, same_bytes):
    """With a rate far too large the loss gets worse soon; each evaluation is checked against a run that ends there."""
    step = training.make_train_step(task.objective, optax.sgd(30.0), average=training.ema(0.5))
    state = training.make_state(task.state.params, step.tx, key=task.state.key, average=True)
    options = dict(batch_size=10, validation=task.data)
    result, history = training.fit(step, state, task.data, epochs=50, early_stopping=EarlyStopping(4), **options)
    losses = history.validation["loss"]
    stop, best_index = keras_rule(losses, patience=4, min_delta=0, mode="min")
    assert (history.ended, len(losses)) == ("stopped early", stop + 1)
    assert int(result.step) == 12 * (best_index + 1)
    plain = training.fit(step, state, task.data, epochs=best_index + 1, **options).state
    same_bytes((result.params, result.average), (plain.params, plain.average))
    last = training.fit(
        step, state, task.data, epochs=50, early_stopping=EarlyStopping(4, restore_best=False), **options
    ).state
    assert int(last.step) == 12 * (stop + 1)
    same_bytes(last.params, training.fit(step, state, task.data, epochs=stop + 1, **options).state.params)


def test_a_run_that_has_stopped_does_nothing_more(task, tmp_path):
    step = training.make_train_step(task.objective, optax.sgd(30.0))
    options = dict(batch_size=10, validation=task.data, early_stopping=EarlyStopping(2), folder=tmp_path)
    first = training.fit(step, task.state, task.data, epochs=50, **options)
    assert first.history.ended == "stopped early"
    again = training.fit(step, task.state, task.data, epochs=60, **options)
    np.testing.assert_array_equal(again.history.train["loss"], first.history.train["loss"])
    assert again.history.ended == "stopped early"
    for old, new in zip(jax.tree.leaves(first.state.params), jax.tree.leaves(again.state.params), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_that_does_not_stop_can_go_on(task, same_bytes):
    rule = EarlyStopping(50)
    options = dict(batch_size=10, validation=task.data, early_stopping=rule)
    once = training.fit(task.step, task.state, task.data, epochs=4, **options).state
    half = training.fit(task.step, task.state, task.data, epochs=2, **options).state
    same_bytes(training.fit(task.step, half, task.data, epochs=4, **options).state, once)


def test_an_evaluation_that_only_ends_a_call_is_not_observed(task, tmp_path, same_bytes):
    options = dict(batch_size=10, validation=task.data, early_stopping=EarlyStopping(50))
    once = training.fit(task.step, task.state, task.data, epochs=3, **options).state
    half = training.fit(task.step, task.state, task.data, steps=17, **options).state
    same_bytes(training.fit(task.step, half, task.data, epochs=3, **options).state, once)


def test_without_the_rule_a_remembering_state_is_refused(task):
    state = EarlyStopping(2).start(task.state)
    with pytest.raises(ValueError, match=r"early_stopping: expected what the run of this state began with; got None"):
        training.fit(task.step, state, task.data, epochs=1, batch_size=10)
    with pytest.raises(
        ValueError, match=r"early_stopping: expected restore_best=True, as in the run before; got False"
    ):
        EarlyStopping(2, restore_best=False).start(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(patience=0), "patience: expected a whole number >= 1; got 0"),
        (dict(patience=2, min_delta=-1), "min_delta: expected one finite number >= 0; got -1"),
        (dict(patience=2, mode="up"), "mode: expected one of 'min', 'max'; got 'up'"),
    ],
)
def test_settings_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


def test_a_metric_that_there_is_not(task):
    options = dict(epochs=1, batch_size=10)
    rule = EarlyStopping(2, metric="f1")
    message = r"early_stopping: expected a metric among \['accuracy', 'loss'\]; got 'f1'"
    with pytest.raises(ValueError, match=message):
        training.fit(task.step, task.state, task.data, validation=task.data, early_stopping=rule, **options)
    with pytest.raises(ValueError, match=message):
        rule.value({"loss": 1.0, "accuracy": 2.0})
    with pytest.raises(ValueError, match=r"validation: expected data, since early_stopping follows a metric of them"):
        training.fit(task.step, task.state, task.data, early_stopping=rule, **options)
    with pytest.raises(ValueError, match=r"state: expected one that keeps its best parameters; got one that does not"):
        best(task.state)


@pytest.mark.parametrize("mode", ["vmap", "map"])
@pytest.mark.parametrize("restore_best", [True, False])
def test_members_stop_each_for_itself(task, mode, restore_best):
    """Every member is the single run, those that stop early and those that do not."""
    step = training.make_train_step(task.objective, optax.sgd(20.0))
    rule = EarlyStopping(3, restore_best=restore_best)
    options = dict(epochs=6, batch_size=10, validation=task.data, early_stopping=rule)
    states, history = runs = training.run_many(step, task.init, task.data, seeds=range(5), mode=mode, **options)
    ends = []
    for i in range(5):
        alone = training.fit(step, task.init(jax.random.key(i)), task.data, **options)
        state, found, steps = training.member(states, i), alone.history, len(alone.history.train["loss"])
        ends.append(found.ended)
        assert int(state.step) == int(alone.state.step)
        for name in ("params", "opt_state", "stopping"):
            pairs = zip(jax.tree.leaves(getattr(state, name)), jax.tree.leaves(getattr(alone.state, name)), strict=True)
            for ours, theirs in pairs:
                np.testing.assert_allclose(
                    ours, theirs, rtol=2e-4 if mode == "vmap" else 0, atol=1e-5 * (mode == "vmap")
                )
        np.testing.assert_allclose(history.train["loss"][i, :steps], found.train["loss"], rtol=1e-4 * (mode == "vmap"))
        assert np.isnan(history.train["loss"][i, steps:]).all()
        done = len(found.validation["loss"])
        np.testing.assert_allclose(history.validation["loss"][i, :done], found.validation["loss"], rtol=1e-4)
        returned = training.evaluate(step.objective, state, task.data)["loss"]
        np.testing.assert_allclose(runs.values("validation_loss")[i], returned, rtol=1e-4)
        np.testing.assert_allclose(runs.values("train_loss")[i], found.train["loss"][-12:].mean(), rtol=1e-4)
    assert set(ends) == {"done", "stopped early"}, "the test needs members of both kinds"


def test_when_all_members_have_stopped_the_run_is_over(task):
    step = training.make_train_step(task.objective, optax.sgd(30.0))
    options = dict(epochs=100, batch_size=10, validation=task.data, early_stopping=EarlyStopping(2))
    _, history = training.run_many(step, task.init, task.data, seeds=range(3), mode="vmap", **options)
    assert history.validation["loss"].shape[1] < 100


def test_members_that_bring_their_own(task):
    init = lambda key: EarlyStopping(2).start(task.init(key))  # noqa: E731
    with pytest.raises(ValueError, match=r"init: expected states without early stopping, which run_many begins itself"):
        training.run_many(task.step, init, task.data, seeds=[0], epochs=1, batch_size=10)
    with pytest.raises(ValueError, match=r"validation: expected data, since early_stopping follows a metric of them"):
        training.run_many(
            task.step, task.init, task.data, seeds=[0], epochs=1, batch_size=10, early_stopping=EarlyStopping(2)
        )
