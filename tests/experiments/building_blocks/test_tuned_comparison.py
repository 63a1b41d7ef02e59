import numpy as np

from experiments.building_blocks import tuned_comparison
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits
from jaxdl.procedures import best_cell


def test_four_comparisons_share_the_error_rate():
    """A mean log ratio of 1.02 times the 95 % half-width is enough for one comparison and not for one of four."""
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    ratio = 1.02 * 2.776 * spread.std(ddof=1) / np.sqrt(5) + spread
    losses = {"relu": np.exp(-ratio), "sigmoid": np.ones(5)}
    nothing = Examples(np.zeros((0, 1), np.float32), np.zeros(0, np.int32))
    run = Run("digits", Splits(nothing, nothing, nothing), 5, {})
    for share in (1, 4):
        tuned_comparison.judge_faster(run, "relu", "sigmoid", losses, (), share=share)
    assert [finding.verdict for finding in run.findings] == ["PASS", "INCONCLUSIVE"]
    assert "jointly over 4" in run.findings[1].rule


def test_the_rate_is_chosen_by_validation_and_one_that_diverges_is_out():
    validation = np.array([[3.0, 3.0], [2.0, 2.2], [0.1, np.nan], [0.1, np.inf], [2.0, 2.3]])
    assert best_cell(validation) == 1


def test_a_judged_run_that_diverges_is_the_slowest():
    ours, others = np.array([0.1, 0.1, 0.1, 0.1, 0.1]), np.array([1.0, 1.0, np.nan, 1.0, np.inf])
    assert tuned_comparison.faster(ours, others).verdict != "FAIL"
    assert tuned_comparison.faster(np.full(5, np.nan), np.array([1.0, 1.1, 1.2, 1.0, 0.9])).verdict == "FAIL"
