"""Stages of unfreezing against the same stages run by hand; which one is kept; members that go on."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from jaxdl import losses
from jaxdl.models import MLP
from jaxdl.optimizers import carry_over, staged_unfreezing
from jaxdl.procedures import starting_from, train_stages, unfreezing_steps
from jaxdl.training import (
    EarlyStopping,
    ema,
    evaluate,
    fit,
    init_state,
    make_state,
    make_train_step,
    member,
    run_many,
    supervised,
)
from tests.procedures.networks import X, Y

KEY = jax.random.key(0)
MODEL = MLP((6, 5, 3))
OBJECTIVE = supervised(MODEL, losses.softmax_cross_entropy, metrics={"accuracy": losses.correct})
STAGES = ["Dense_2/*", "Dense_1/*", "Dense_0/*"]
TX = optax.adam(0.02)


def stages(steps=None, **options):
    steps = unfreezing_steps(OBJECTIVE, TX, stages=STAGES) if steps is None else steps
    given = {"epochs": 2, "batch_size": 8, "validation": (X, Y), "key": KEY, **options}
    return train_stages(steps, MODEL.init(KEY, X), (X, Y), **given)


def test_the_stages_are_those_run_by_hand(same_bytes):
    found = stages()
    params, opt_state, scores = MODEL.init(KEY, X)["params"], None, []
    for k, tx in enumerate(staged_unfreezing(TX, stages=STAGES)):
        before, state = params, make_state(params, tx, key=jax.random.fold_in(KEY, k))
        if k:
            state = replace(state, opt_state=carry_over(opt_state, tx, params))
        state = fit(make_train_step(OBJECTIVE, tx), state, (X, Y), epochs=2, batch_size=8).state
        params, opt_state = state.params, state.opt_state
        for i in range(2 - k):  # what is not thawed yet
            same_bytes(params[f"Dense_{i}"], before[f"Dense_{i}"])
        scores.append(evaluate(OBJECTIVE, state, (X, Y))["loss"])
    np.testing.assert_array_equal(found.scores, scores)
    assert found.best == 2
    assert [len(history.train["loss"]) for history in found.histories] == [6, 6, 6]
    same_bytes(found.state.params, params)


@pytest.mark.parametrize(("rates", "mode", "best"), [
    ((0.01, 0.01, 3.0), "min", 1), ((0.01, 0.01, 3.0), "max", 2), ((3.0, 0.01), "max", 0), ((0.0, 0.0), "min", 0),
])  # fmt: skip
def test_the_stage_of_the_best_validation_is_kept(rates, mode, best):
    """The third stage gets worse on purpose; of stages that are level the first is kept."""
    steps = [make_train_step(OBJECTIVE, optax.sgd(rate)) for rate in rates]
    found = stages(steps, mode=mode, epochs=4)
    assert found.best == best
    assert found.scores[best] == (found.scores.min() if mode == "min" else found.scores.max())
    assert evaluate(OBJECTIVE, found.state, (X, Y))["loss"] == found.scores[best]


def test_epochs_of_each_stage_options_of_fit_and_folders(tmp_path, same_bytes):
    steps = unfreezing_steps(OBJECTIVE, TX, stages=STAGES[:2], average=ema(0.5))
    found = stages(
        steps, epochs=[1, 3], metric="accuracy", mode="max", folder=tmp_path, early_stopping=EarlyStopping(patience=9)
    )
    assert [len(history.train["loss"]) for history in found.histories] == [3, 9]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage_0", "stage_1"]
    again = stages(
        steps, epochs=[1, 3], metric="accuracy", mode="max", folder=tmp_path, early_stopping=EarlyStopping(patience=9)
    )
    same_bytes(again.state.params, found.state.params)


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"steps, epochs: expected at least one stage.*got 0 stages and 0 numbers"):
        stages([])
    with pytest.raises(ValueError, match=r"steps, epochs: .* got 3 stages and 2 numbers"):
        stages(epochs=[1, 2])
    with pytest.raises(TypeError, match="steps: expected training steps; got function"):
        stages([lambda state, batch: state])
    with pytest.raises(ValueError, match=r"metric: expected one of 'accuracy', 'loss'; got 'error'"):
        stages(metric="error", epochs=1)
    with pytest.raises(ValueError, match="metric: expected 'loss' to be a number after some stage; got NaN after all"):
        stages(validation=(np.full_like(X, np.nan), Y), epochs=1)
    with pytest.raises(ValueError, match="mode: expected one of 'min', 'max'; got 'least'"):
        stages(mode="least")
    with pytest.raises(TypeError, match="key: expected one typed key"):
        stages(key=3)
    with pytest.raises(TypeError, match="objective: expected a function"):
        unfreezing_steps(3, TX, stages=STAGES)  # pyright: ignore


def test_members_go_on_from_where_they_ended(same_bytes):
    step = make_train_step(OBJECTIVE, TX)
    first = run_many(
        step,
        lambda key: init_state(MODEL, TX, X[:1], key=key),
        (X, Y),
        seeds=[3, 5],
        epochs=1,
        batch_size=8,
        mode="map",
    )
    init = starting_from(first, lambda key, state: make_state(state.params, TX, key=key))
    second = run_many(step, init, (X, Y), seeds=[5], epochs=2, batch_size=8, mode="map")
    alone = make_state(member(first.states, 1).params, TX, key=jax.random.key(5))
    same_bytes(member(second.states, 0).params, fit(step, alone, (X, Y), epochs=2, batch_size=8).state.params)
    with pytest.raises(ValueError, match=r"key: expected that of one of the seeds \[3, 5\]; got another"):
        init(jax.random.key(4))
    grid = run_many(
        lambda rate: make_train_step(OBJECTIVE, optax.sgd(rate)),
        lambda key, rate: init_state(MODEL, optax.sgd(rate), X[:1], key=key),
        (X, Y), seeds=[3], hyperparameters={"rate": [0.1, 0.2]}, epochs=1, batch_size=8, mode="map",
    )  # fmt: skip
    with pytest.raises(ValueError, match="runs: expected one member a seed; got 2 members of 1 seeds"):
        starting_from(grid, lambda key, state: state)
