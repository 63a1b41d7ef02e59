import jax
import numpy as np
import pytest

from experiments.gradients import row_by_row as rows
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

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
