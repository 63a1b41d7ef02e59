"""The measurement itself: batch gradients against back-propagation by hand, and a bias that it must notice."""

import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.training import mini_batches
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)


@pytest.fixture
def run():
    examples = Examples(DRAWS.rand(500, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 500).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, {})


def test_gradients_of_a_batch_are_means_and_sums_of_its_examples(run):
    gradients = mini_batches.gradients_of_batches(run)
    rows = np.array([[3, 5, 5, 9]])
    singles = gradients(rows.T, "mean")
    np.testing.assert_allclose(gradients(rows, "mean")[0], singles.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients(rows, "sum")[0], singles.sum(0), rtol=1e-4, atol=1e-6)
    # Softmax with cross-entropy: the gradient by the biases is p - y, which sums to 0 and has one negative entry.
    _, y = run.splits.train
    biases = singles[:, :10]
    np.testing.assert_allclose(biases.sum(1), 0, atol=1e-6)
    np.testing.assert_array_equal(biases.argmin(1), y[rows[0]])


def test_samples_with_and_without_replacement():
    without = mini_batches.sample(np.random.RandomState(1), replace=False, size=20, count=50)
    assert all(len(set(row)) == 20 for row in without.tolist())
    assert without.min() >= 0
    assert without.max() < mini_batches.NUM_EXAMPLES
    # 50 batches of 100 of 500 without a repetition have probability below 1e-200.
    repeated = mini_batches.sample(np.random.RandomState(1), replace=True, size=100, count=50)
    assert any(len(set(row)) < 100 for row in repeated.tolist())


def test_along_and_across_are_those_of_the_mean():
    whole = np.array([3.0, 4.0, 0.0])
    batches = 2 * whole + np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    # The examples differ in the plane of the first two entries, whose direction across (3, 4) is (4, -3) / 5.
    direction = mini_batches.direction_across(np.array([[1.0, 1, 0], [-1, -1, 0]]), whole)
    np.testing.assert_allclose(np.abs(direction), [0.8, 0.6, 0], atol=1e-12)
    found = mini_batches.compare(batches, whole, direction)
    assert found.along == pytest.approx(2.0)
    assert found.across == pytest.approx(0.0, abs=1e-12)
    biased = np.tile(whole, (2, 1)) + np.array([[0.8, -0.6, 7], [0.8, -0.6, 7]])
    assert abs(mini_batches.compare(biased, whole, direction).across) == pytest.approx(1 / 5)


def test_a_bias_across_the_gradient_is_noticed(run, monkeypatch):
    """Whatever lies along the gradient is as it should be."""
    monkeypatch.setattr(mini_batches, "DRAWS", 300)
    gradients_of_batches = mini_batches.gradients_of_batches

    def biased(run):
        fair = gradients_of_batches(run)
        whole = fair(np.arange(500)[None], "mean")[0]
        bias = np.random.RandomState(4).randn(len(whole)) * np.linalg.norm(whole)
        bias -= bias @ whole / (whole @ whole) * whole
        size = {"mean": 1, "sum": mini_batches.BATCH}
        return lambda rows, cost: fair(rows, cost) + (bias * size[cost] if len(rows) == 300 else 0)

    monkeypatch.setattr(mini_batches, "gradients_of_batches", biased)
    mini_batches.judge_unbiasedness(run)
    assert [finding.verdict for finding in run.findings[-3:]] == ["PASS", "FAIL", "PASS"]
    assert "across it" in run.findings[-2].result.detail


def test_the_claims_hold_and_a_biased_sampler_is_noticed(run, monkeypatch):
    monkeypatch.setattr(mini_batches, "DRAWS", 300)
    mini_batches.judge_unbiasedness(run)
    # The middle rule errs in one of twenty runs by construction; the seeds are fixed, so this run is always the same.
    assert [finding.verdict for finding in run.findings] == ["PASS"] * 3
    assert len(run.figures) == 1
    fair, low = mini_batches.sample, np.flatnonzero(run.splits.train.y < 5)
    monkeypatch.setattr(mini_batches, "sample", lambda *a, **k: low[fair(*a, **k) % len(low)])
    run.findings.clear()
    mini_batches.judge_unbiasedness(run)
    assert run.findings[1].verdict == "FAIL"
