from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from experiments.gradients import row_by_row as rows
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits
from tests.experiments.planted import heights, labels, planted_run

SETTINGS = {"epochs": {"digits": 1}, "rates": (1e-3,), "examples": {"digits": 40}}


@pytest.fixture
def small_run():
    draws = np.random.RandomState(0)
    splits = Splits(
        *(Examples(draws.rand(n, 3, 3, 1).astype(np.float32), draws.randint(0, 10, n)) for n in (60, 20, 20))
    )
    return Run("digits", splits, 5, SETTINGS)


def judged(run, monkeypatch, accuracies, growth):
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])

    def train_arm(run, data, arm):
        return rows.Trained(1e-3, (accuracies[arm] + spread)[:, None], accuracies[arm] + spread)

    monkeypatch.setattr(rows, "train_arm", train_arm)
    monkeypatch.setattr(
        rows, "start_growth", lambda train, arm, seeds: np.tile(growth[arm] * np.arange(27, -1, -1), (seeds, 1))
    )
    run.findings.clear()
    rows.run(run)
    return [finding.verdict for finding in run.findings]


ACCURACIES = {rows.IDENTITY: 75.0, rows.LSTM: 92.0, rows.RANDOM: 10.0, rows.SMALL: 10.0, rows.ORTHOGONAL: 96.0}
GROWTH = {rows.IDENTITY: -0.01, rows.LSTM: -0.1, rows.RANDOM: -1.1, rows.SMALL: -1.0, rows.ORTHOGONAL: -0.02}


def test_what_passes_and_what_would_not(small_run, monkeypatch):
    assert judged(small_run, monkeypatch, ACCURACIES, GROWTH) == ["PASS"] * 9
    learns = {**ACCURACIES, rows.RANDOM: 90.0}
    assert judged(small_run, monkeypatch, learns, GROWTH)[:4] == ["PASS", "PASS", "FAIL", "FAIL"]
    stuck = {**ACCURACIES, rows.IDENTITY: 30.0, rows.LSTM: 40.0}
    assert judged(small_run, monkeypatch, stuck, GROWTH)[:2] == ["FAIL", "FAIL"]
    best = {**ACCURACIES, rows.IDENTITY: 99.0, rows.ORTHOGONAL: 90.0}
    assert judged(small_run, monkeypatch, best, GROWTH)[4] == "FAIL", "the control"
    steep = {**GROWTH, rows.IDENTITY: -0.1, rows.RANDOM: -0.01}
    assert judged(small_run, monkeypatch, ACCURACIES, steep)[5:] == ["FAIL", "FAIL", "PASS", "FAIL"]


def test_pictures_become_28_rows_and_only_training_is_cut(small_run):
    train, test = (rows._rows(part, small_run) for part in (small_run.splits.train, small_run.splits.test))
    assert (train.x.shape, train.y.shape, test.x.shape) == ((40, 28, 3), (40,), (20, 28, 3))
    np.testing.assert_array_equal(train.x[:, :3], small_run.splits.train.x[:40, ..., 0])
    np.testing.assert_array_equal(train.x[:, 3:], 0)


def test_the_starts_are_those_declared():
    x = np.ones((2, 28, 8), np.float32)
    starts = {arm: rows.model(arm).init(jax.random.key(0), x)["params"]["layer_1"]["cell"] for arm in rows.CELLS}
    np.testing.assert_array_equal(starts[rows.IDENTITY]["h"]["kernel"], np.eye(100))
    np.testing.assert_array_equal(starts[rows.LSTM]["hf"]["bias"], 1)
    for arm in (rows.RANDOM, rows.SMALL):
        # 10,000 draws: the deviation is off by more than 5 % once in 10^12.
        assert float(starts[arm]["h"]["kernel"].std()) == pytest.approx(0.01, rel=0.05)
    gram = starts[rows.ORTHOGONAL]["h"]["kernel"]
    np.testing.assert_allclose(gram.T @ gram, np.eye(100), atol=1e-5)


def test_growth_at_the_start_of_a_blank_stretch(small_run):
    """Over blank steps a fresh IRNN hands a gradient back unchanged, or not at all where a unit is off."""
    train = rows._rows(small_run.splits.train, small_run)
    identity = rows.start_growth(train, rows.IDENTITY, 1)[0]
    assert identity[-1] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(identity[3:-1], identity[3], atol=1e-4)
    random = rows.start_growth(train, rows.RANDOM, 1)[0]
    # Random matrices of this size shrink by about 0.01 sqrt(100 / 2) a step.
    per_step = np.diff(random[3:20])
    assert np.mean(per_step) == pytest.approx(-np.log10(0.01 * np.sqrt(50)), abs=0.3)


class Many(NamedTuple):
    states: Any
    history: Any


def test_the_rate_is_tuned_on_another_seed_and_a_run_that_broke_is_not_chosen(small_run, monkeypatch):
    calls = []

    def run_many(make_step, init, examples, *, seeds, hyperparameters, epochs, batch_size, validation, **options):
        rates = hyperparameters["learning_rate"]
        calls.append((list(seeds), list(rates), epochs, batch_size, len(validation.y)))
        ends = [0.3, 0.6, np.nan] if len(rates) > 1 else np.linspace(0.5, 0.9, len(seeds))
        accuracy = np.stack([np.full(len(ends), 0.95), ends], 1)
        return Many("states", SimpleNamespace(validation={"accuracy": accuracy}, run_seconds=0.0))

    monkeypatch.setattr(rows.jaxdl.training, "run_many", run_many)
    monkeypatch.setattr(rows.jaxdl.training, "member", lambda states, seed: seed)
    monkeypatch.setattr(
        rows.jaxdl.training, "evaluate", lambda goal, state, part: {"accuracy": (state + len(part.y)) / 100}
    )
    small_run.settings = {**SETTINGS, "rates": (1e-3, 3e-3, 1.0)}
    found = rows.train_arm(small_run, small_run.splits, rows.SMALL)
    assert calls == [([rows.TUNING_SEED], [1e-3, 3e-3, 1.0], 1, 32, 20), ([0, 1, 2, 3, 4], [3e-3], 1, 32, 20)]
    assert found.rate == 3e-3
    np.testing.assert_allclose(found.validation[:, 1], [50, 60, 70, 80, 90])
    np.testing.assert_allclose(found.test, [20, 21, 22, 23, 24])


def test_accuracies_and_growth_are_told_and_drawn(small_run, monkeypatch):
    run = planted_run("digits", SETTINGS, splits=small_run.splits)
    assert judged(run, monkeypatch, ACCURACIES, GROWTH) == ["PASS"] * 9
    assert [row[:3] for row in run.tables[0].rows] == [(arm, "0.001", f"{ACCURACIES[arm]:.2f}") for arm in rows.CELLS]
    (accuracy,) = run.drawn["accuracy"].axes
    whole, close = run.drawn["gradients_through_time"].axes
    for axis in (accuracy, whole):
        assert labels(axis) == list(rows.CELLS)
    np.testing.assert_allclose(heights(accuracy, rows.LSTM), [92.0])
    lags = np.arange(27, -1, -1)
    for axis in (whole, close):
        np.testing.assert_allclose(heights(axis, rows.RANDOM), -1.1 * lags)
    np.testing.assert_array_equal(whole.get_lines()[0].get_xdata(), lags)
