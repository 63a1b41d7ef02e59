from types import SimpleNamespace

import numpy as np
import pytest

from experiments.gradients import depth
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits
from tests.experiments.planted import SPREAD, heights, labels, planted_run


@pytest.fixture
def small_run():
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    return Run("mnist", Splits(examples, examples, examples), 5, {"epochs": {"mnist": 30}, "depths": (0, 1)})


def verdicts(run, last, epochs=30):
    run.findings.clear()
    depth.judge_published(run, last, epochs)
    return {finding.claim.split(":")[0]: finding.verdict for finding in run.findings}


def test_the_published_table_passes_and_another_fails(small_run, monkeypatch):
    monkeypatch.setattr(depth.ladder, "closed_forms", lambda splits: {"least squares": 86.09})
    spread = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])
    last = {0: 91.9 + spread} | {d: published + spread for d, published in depth.PUBLISHED.items()}
    found = verdicts(small_run, last)
    assert found["1 hidden layer"] == found["4 hidden layers"] == "PASS"
    assert found["no hidden layer"] == "FAIL", "the lecture's 88 % is not what this set-up gives"
    assert set(verdicts(small_run, {d: accuracy - 2 for d, accuracy in last.items()}).values()) == {"FAIL", "PASS"}
    claims = [finding for finding in small_run.findings if finding.verdict == "PASS"]
    assert [finding.claim.split(" by ")[0] for finding in claims] == ["a linear classifier"]


def test_a_shorter_run_is_not_judged_by_the_published_figures(small_run, monkeypatch):
    monkeypatch.setattr(depth.ladder, "closed_forms", lambda splits: {"least squares": 86.09})
    last = {d: np.full(5, 96.5) for d in range(5)}
    found = verdicts(small_run, last, epochs=3)
    assert {found[name] for name in found if "hidden" in name} == {"INCONCLUSIVE"}


def test_a_gain_from_depth_would_be_seen(small_run, monkeypatch):
    def accuracies(run, num_hidden, epochs):
        return np.tile([[80.0 + 3 * num_hidden]], (5, 1)) + 0.01 * np.arange(5)[:, None]

    monkeypatch.setattr(depth, "accuracy_curves", accuracies)
    run = Run("digits", small_run.splits, 5, {"epochs": {"digits": 30}, "depths": (0, 1, 2, 3, 4)})
    depth.run(run)
    assert [finding.verdict for finding in run.findings] == ["FAIL", "FAIL", "PASS"]


def test_two_comparisons_share_the_error_rate(small_run, monkeypatch):
    """With 95 % each the upper limit would lie below +0.2; jointly it does not."""
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    difference = 0.2 - 1.02 * 2.776 * spread.std(ddof=1) / np.sqrt(5) + spread

    def accuracies(run, num_hidden, epochs):
        return (90.0 + (difference if num_hidden > 2 else 0.0) + num_hidden * 0.0 + np.zeros(5))[:, None]

    monkeypatch.setattr(depth, "accuracy_curves", accuracies)
    run = Run("digits", small_run.splits, 5, {"epochs": {"digits": 30}, "depths": (0, 1, 2, 3, 4)})
    depth.run(run)
    assert [finding.verdict for finding in run.findings][:2] == ["INCONCLUSIVE"] * 2


def test_the_set_up_is_the_books():
    import jax

    from experiments.building_blocks import book

    model, tx = book.network(1), book.descent(200)
    params = {"Dense_0": {"kernel": np.full((2, 2), 3.0, np.float32), "bias": np.full(2, 3.0, np.float32)}}
    grads = jax.tree.map(np.ones_like, params)
    updates, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates["Dense_0"]["bias"], -0.1)
    np.testing.assert_allclose(updates["Dense_0"]["kernel"], -0.1 - 0.1 * 5.0 / 200 * 3.0, rtol=1e-6)
    assert tuple(model.sizes) == (30, 10)


DEPTHS = (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("last", "verdicts"),
    [
        ({0: 91.9, **depth.PUBLISHED}, ["PASS"] * 11 + ["FAIL", "PASS"]),
        ({0: 96.5, 1: 90.0, 2: 90.0, 3: 97.5, 4: 97.5}, ["FAIL"] * 12 + ["PASS"]),
    ],
)
def test_the_whole_on_planted_trainings(monkeypatch, last, verdicts):
    """The row without a hidden layer is the lecture's mistake: it fails where all others pass."""

    def train(model, objective, tx, train, validation, *, seeds, epochs):
        hidden = len(model.sizes) - 1
        accuracy = np.linspace(50.0, last[hidden], epochs) + SPREAD[:, None]
        return SimpleNamespace(watched={"accuracy": accuracy}, seconds=0.0)

    monkeypatch.setattr(depth.book, "train", train)
    monkeypatch.setattr(depth.ladder, "closed_forms", lambda splits: {"least squares": 86.09})
    run = planted_run("mnist", {"epochs": {"mnist": 30}, "depths": DEPTHS})
    depth.run(run)
    assert [finding.verdict for finding in run.findings] == verdicts
    curves, ends = run.drawn["accuracy_by_depth"].axes
    assert labels(curves) == [f"{d} hidden" for d in DEPTHS]
    assert labels(ends) == ["mean", "Nielsen 2015", "lecture, no hidden layer"]
    np.testing.assert_allclose(heights(curves, "3 hidden"), np.linspace(50.0, last[3], 30))
    np.testing.assert_allclose(heights(ends, "mean"), list(last.values()))
    np.testing.assert_array_equal(heights(ends, "Nielsen 2015"), list(depth.PUBLISHED.values()))
