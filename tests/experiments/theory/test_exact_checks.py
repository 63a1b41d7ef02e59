import numpy as np
import pytest
from scipy import stats

from experiments.harness.claims import Run
from experiments.theory import exact_checks, exact_gradients, exact_layers, exact_starts
from experiments.theory.exact_table import Check, each, errors_off, relative
from jaxdl.data import Examples, Splits
from tests.experiments import planted


def verdict(deviations, tolerance, *, control=False):
    run = Run("digits", Splits(*(Examples([0], [0]) for _ in range(3))), len(deviations), {})
    check = Check("claim", each(lambda seed: 0.0), tolerance, "unit", control=control)
    exact_checks.judge(run, check, np.array(deviations))
    assert run.findings[0].row == ("" if control else "X04")
    return run.findings[0].verdict


@pytest.mark.parametrize(
    ("deviations", "tolerance", "control", "expected"),
    [
        ([0.0, 0.5, 1.0], 1.0, False, "PASS"),
        ([0.0, 0.5, 1.1], 1.0, False, "FAIL"),  # the worst seed decides
        ([0.0, np.nan], 1.0, False, "FAIL"),
        ([0.0, 0.0], 0.0, False, "PASS"),
        ([2.0, 3.0], 1.0, True, "PASS"),
        ([0.5, 3.0], 1.0, True, "FAIL"),  # one seed that the rule lets pass spoils a control
    ],
)
def test_verdicts_of_known_deviations(deviations, tolerance, control, expected):
    assert verdict(deviations, tolerance, control=control) == expected


def test_relative_and_standard_errors_of_known_numbers():
    assert relative([1.0, 2.0], [1.0, 4.0]) == 0.5
    samples = np.array([-1.0, 1.0] * 50)  # mean 0, sd sqrt(100 / 99), standard error a tenth of it
    assert errors_off(samples, 0.3) == pytest.approx(3 * np.sqrt(0.99))
    np.testing.assert_array_equal(each(lambda seed: 2 * seed)(3), [0, 2, 4])


def test_the_exact_log_moments_against_a_simulation():
    draws = np.random.RandomState(0)
    normal = draws.randn(100_000, 20)
    on = draws.rand(100_000, 20) < 0.5
    for relu in (False, True):
        total = (normal**2 * (on if relu else 1)).sum(1)
        z = np.log(total[total > 0] / 20)
        mean, variance = exact_starts.log_moments(20, relu=relu)
        assert abs(z.mean() - mean) < 4 * np.sqrt(variance / len(z))  # false alarm: 6e-5
        assert z.var() == pytest.approx(variance, rel=0.03)  # its standard error is some 0.5 %


def test_the_truncation_is_that_of_a_standard_normal_rescaled():
    assert exact_starts.BOUND == pytest.approx(2 / stats.truncnorm(-2, 2).std(), rel=1e-6)
    assert exact_starts.BOUND == pytest.approx(2.274, abs=5e-4)


def test_the_table_has_every_line_once_and_controls_in_every_part():
    lines = exact_checks.table()
    claims = [line.claim for line in lines]
    assert len(set(claims)) == len(claims) >= 50
    for part in (exact_gradients, exact_starts, exact_layers):
        controls = [line for line in part.checks() if line.control]
        assert len(controls) >= 3
        assert all(line.claim.startswith("negative control, the rule must fail: ") for line in controls)


@pytest.mark.parametrize(
    ("measure", "low", "high"),
    [
        # A weight of 1.02 adds 2 ln 1.02 to ln z, of deviation sqrt(2/50), over 2,000 walks.
        (lambda: exact_starts.walk_sample(0, relu=False, gain=1.02), 5, 13),
        (lambda: exact_gradients.all_batches(0, factor=1.0), 0.49, 0.51),  # half of every gradient is missing
        (lambda: exact_layers.minima(0), 0, 3),
        (lambda: exact_layers.regression(0, what="map", strength=2.0), 1e-3, 1),
    ],
)
def test_what_a_break_measures(measure, low, high):
    assert low <= measure() <= high


PLANTED = ("what holds", "negative control, the rule must fail: a break", "what is exact")


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.0, ["PASS", "PASS"]), (3.0, ["FAIL", "PASS"]), (0.1, ["PASS", "FAIL"])]
)
def test_the_run_on_a_planted_table(monkeypatch, factor, expected):
    deviations = {PLANTED[0]: lambda seed: 0.1 * factor * (1 + seed), PLANTED[1]: lambda seed: factor * (2 + seed)}
    lines = [
        Check(claim, each(deviations.get(claim, lambda seed: 0.0)), float("exact" not in claim), "unit", "a formula",
              control="control" in claim)
        for claim in PLANTED
    ]  # fmt: skip
    monkeypatch.setattr(exact_checks, "table", lambda: lines)
    run = planted.planted_run("digits", {})
    exact_checks.run(run)
    assert planted.verdicts(run, exact_checks.EXPERIMENT, PLANTED) == [*expected, "PASS"]
    assert run.records[4] == {
        "quantity": "deviations", "seed": 4, PLANTED[0]: pytest.approx(0.5 * factor), PLANTED[2]: 0.0,
    }  # fmt: skip
    (axis,) = run.drawn["exact_checks"].axes
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_yticklabels()] == [PLANTED[0], "control: a break", PLANTED[2]]
    first, second, third, _ = axis.get_lines()
    np.testing.assert_allclose(first.get_xdata(), 0.1 * factor * np.arange(1, 6))
    np.testing.assert_allclose(second.get_xdata(), factor * np.arange(2, 7))
    assert set(third.get_xdata()) == {exact_checks.FLOOR}
    assert [line.get_marker() for line in (first, second, third)] == ["o", "x", "o"]
