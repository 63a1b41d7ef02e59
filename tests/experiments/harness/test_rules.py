"""Each rule at each verdict; the statistics against formulas and known error rates."""

import numpy as np
import pytest
from scipy import stats

from experiments.harness import rules
from experiments.harness.claims import Finding, Result

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_mean_interval_is_students():
    mean, low, high = rules.mean_interval(FIVE)
    assert mean == 3.0
    assert (low, high) == pytest.approx(stats.ttest_1samp(FIVE, 0).confidence_interval(0.95))


def test_the_median_interval_covers_as_often_as_it_says():
    # Coverage of at least 95 % over 4,000 samples of 25; three standard errors below it is 94 %.
    draws = np.random.RandomState(0).exponential(size=(4000, 25))
    ends = np.array([rules.median_interval(row)[1:] for row in draws])
    covered = np.mean((ends[:, 0] <= np.log(2)) & (np.log(2) <= ends[:, 1]))
    assert 0.94 <= covered < 0.985


def test_too_few_values_for_a_median_interval():
    assert rules.median_interval([1.0, 2.0])[1:] == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(2.5, 3.5, "PASS"), (10, 11, "FAIL"), (4.0, 4.5, "INCONCLUSIVE"), (-1, 0, "FAIL")]
)
def test_mean_within(low, high, verdict):
    result = rules.mean_within(FIVE, low, high)
    assert result.verdict == verdict
    assert result.interval == pytest.approx(rules.mean_interval(FIVE)[1:])


def test_median_within():
    values = np.arange(21.0)
    assert rules.median_within(values, 9, 11).verdict == "PASS"
    assert rules.median_within(values, 30, 40).verdict == "FAIL"
    assert rules.median_within(values, 11, 12).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(("bound", "verdict"), [(0.5, "PASS"), (2.5, "INCONCLUSIVE"), (6.0, "FAIL")])
def test_exceeds_and_at_most(bound, verdict):
    assert rules.exceeds(FIVE, bound).verdict == verdict
    assert rules.at_most([-v for v in FIVE], -bound).verdict == verdict


def test_more_comparisons_widen_the_interval():
    single, joint = rules.at_most(FIVE, 5.0), rules.at_most(FIVE, 5.0, confidence=0.975)
    assert joint.interval[1] > single.interval[1]
    assert (single.verdict, joint.verdict) == ("PASS", "INCONCLUSIVE")


def test_matches_shares_the_error_rate_and_widens_both_sides_by_the_tolerance():
    half = lambda share: stats.t.ppf(1 - 0.025 / share, 4) * np.std(FIVE, ddof=1) / np.sqrt(5)  # noqa: E731
    between = (half(1) + half(3)) / 2
    columns = np.tile(np.array(FIVE)[:, None], 3)
    for sign in (1, -1):
        expected = np.array([3 + sign * between, 3.0, 3.0])
        assert rules.matches(columns[:, :1], expected[:1], ["a"], tolerance=0).verdict == "FAIL"
        assert rules.matches(columns, expected, ["a", "b", "c"], tolerance=0).verdict == "PASS"
        for tolerance, verdict in ((0.51, "PASS"), (0.49, "FAIL")):
            target = np.array([3 + sign * (half(1) + 0.5)])
            assert rules.matches(columns[:, :1], target, ["a"], tolerance=tolerance).verdict == verdict
    assert rules.matches(np.full((5, 1), np.nan), np.zeros(1), ["a"], tolerance=1).verdict == "FAIL"


@pytest.mark.parametrize("sign", [1, -1])
def test_equivalent_is_two_tests_at_five_percent_each(sign):
    values = sign * np.array(FIVE)
    end = 3 + stats.t.ppf(0.95, 4) * np.std(FIVE, ddof=1) / np.sqrt(5)
    assert rules.equivalent(values, end + 0.01).verdict == "PASS"
    assert rules.equivalent(values, end - 0.01).verdict == "INCONCLUSIVE"
    assert rules.equivalent(values, 6 - end - 0.01).verdict == "FAIL"
    assert rules.equivalent(values, 6 - end + 0.01).verdict == "INCONCLUSIVE"


def test_every_seed():
    assert rules.every_seed([True] * 5).verdict == "PASS"
    assert rules.every_seed([True] * 4 + [False]).verdict == "FAIL"
    assert rules.every_seed([True] * 5).interval == (pytest.approx(0.025 ** (1 / 5)), 1.0)
    assert rules.every_seed([False] * 5).interval == (0.0, pytest.approx(1 - 0.025 ** (1 / 5)))


def test_in_bands():
    reference = np.array([[0.0, 1.0, -1.645, 1.645], [10.0, 1.0, 8.355, 11.645]])
    draws = np.random.RandomState(0).randn(50, 2) + [0.0, 10.0]
    assert rules.in_bands(draws, reference, ["a", "b"]).verdict == "PASS"
    assert rules.in_bands(draws + [0.0, 1.0], reference, ["a", "b"]).verdict == "FAIL"
    # A mean 3.5 standard errors off, while the seeds stay inside.
    off = np.tile(np.linspace(-1, 1, 50)[:, None], 2) + [3.5 / np.sqrt(50), 10.0]
    assert rules.in_bands(off, reference, ["a", "b"]).verdict == "FAIL"
    assert rules.in_bands(off - [2 / np.sqrt(50), 0.0], reference, ["a", "b"]).verdict == "PASS"
    assert "(b)" in rules.in_bands(draws + [0.0, 1.0], reference, ["a", "b"]).detail
    assert rules.in_bands(draws * 3 - [0, 20], reference, ["a", "b"]).verdict == "FAIL"


def test_the_prediction_interval_holds_one_more_value_as_often_as_it_says():
    # 4,000 times five values predict a sixth at 95 %; three standard errors are one point.
    draws = np.random.RandomState(0).randn(4000, 6)
    hits = [rules.predicts(row[:5], row[5], floor=0.0).verdict == "PASS" for row in draws]
    assert abs(np.mean(hits) - 0.95) < 0.0105


def test_the_spread_of_a_prediction_is_floored():
    _, high = rules.predicts([96.5] * 5, 96.5).interval
    assert high - 96.5 == pytest.approx(stats.t.ppf(0.975, 4) * 0.1 * np.sqrt(1.2))
    assert rules.predicts([96.5] * 5, 96.9).verdict == "FAIL"


def test_exact_needs_no_seeds():
    assert rules.exact(86.05, 86.09, 0.05).verdict == "PASS"
    assert rules.exact(86.0, 86.09, 0.05).verdict == "FAIL"


@pytest.mark.parametrize(
    "result",
    [
        rules.mean_within(FIVE[:4], 0, 5),
        rules.median_within(FIVE[:4], 0, 5),
        rules.exceeds([5.0, 5.1], 0),
        rules.at_most([5.0, 5.1], 9),
        rules.every_seed([True] * 4),
        rules.every_seed([False] * 4),
        rules.predicts(FIVE[:4], 2.0),
        rules.equivalent([0.0, 0.1], 9),
        rules.matches(np.zeros((4, 1)), np.zeros(1), ["a"], tolerance=1),
        rules.in_bands(np.zeros((4, 1)), np.array([[0.0, 1.0, -1.0, 1.0]]), ["a"]),
    ],
)
def test_no_verdict_on_fewer_than_five_seeds(result):
    assert result.verdict == "INCONCLUSIVE"
    assert "needs 5 seeds" in result.detail


@pytest.mark.parametrize(("inner", "outer"), [("PASS", "FAIL"), ("FAIL", "PASS"), ("INCONCLUSIVE", "INCONCLUSIVE")])
def test_a_control_is_confirmed_by_failing(inner, outer):
    result = Result(inner, "", (0.0, 1.0), "")
    assert Finding("c", "r", result, control=True).verdict == outer
    assert Finding("c", "r", result).verdict == inner
