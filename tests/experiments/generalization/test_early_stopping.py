import numpy as np
import pytest

from experiments.generalization import early_stopping
from experiments.generalization.early_stopping import Networks, Stopped
from tests.experiments.generalization.planted import images, judged, labels, of_dataset, ticks
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.002, -0.001, 0.0, 0.001, 0.002])
# Noisy on its way down to 1.0 at the 7th of 12 epochs, then rising.
CURVE = np.tile([2.0, 1.6, 1.7, 1.4, 1.2, 1.3, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5], (5, 1))


def small_run(epochs=12):
    return Drawn("digits", images(), 5, of_dataset("digits", images=40, epochs=epochs))


def way(cost, epochs, validation=1.0):
    return Stopped(cost + SPREAD, 80 + SPREAD, np.full(5, validation), np.full(5, epochs))


def verdicts(last, at_once, patient, as_it_was, curve=CURVE):
    run, names = small_run(), ("last epoch", "at once", "patient", "patient, not restored")
    early_stopping.judge(run, dict(zip(names, (last, at_once, patient, as_it_was), strict=True)), curve)
    return [finding.verdict for finding in run.findings]


def test_what_the_lectures_say_passes_and_its_reverse_fails():
    patient = way(1.0, 11)
    assert verdicts(way(1.5, 12), way(1.6, 3), patient, way(1.4, 11)) == ["PASS"] * 6
    reverse = verdicts(way(0.9, 12), way(0.95, 3), patient, way(0.97, 11))
    assert reverse == ["PASS", "FAIL", "FAIL", "FAIL", "PASS", "FAIL"]


def test_other_parameters_than_the_best_are_found():
    assert verdicts(way(1.5, 12), way(1.6, 3), way(1.0, 11, validation=1.1), way(1.4, 11))[0] == "FAIL"
    # What the curve reaches after the stop does not count.
    assert verdicts(way(1.5, 12), way(1.6, 3), way(1.2, 6, validation=1.2), way(1.4, 6))[0] == "PASS"


def test_a_smooth_curve_needs_no_patience():
    smooth = np.tile([2.0, 1.5, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8], (5, 1))
    found = verdicts(way(1.5, 12), way(1.0, 4), way(1.0, 11), way(1.4, 11), smooth)
    assert found[3] != "PASS"
    assert found[4] == "FAIL", "it stopped right after the minimum"


def test_upturns_and_smallest():
    np.testing.assert_array_equal(early_stopping.upturns(CURVE), [2] * 5)
    np.testing.assert_array_equal(early_stopping.smallest(CURVE, [1, 3, 6, 7, 12]), [2.0, 1.6, 1.2, 1.0, 1.0])


CLAIMS = ("has a lower test cost than training", "keeping those of the epoch", "stopping at the first epoch",
          "without patience training", "negative control")  # fmt: skip


@pytest.mark.parametrize(
    ("costs", "verdict"),
    [((1.5, 1.6, 1.0, 1.4), "PASS"), ((0.9, 0.95, 1.0, 0.97), "FAIL")],
    ids=["as told", "opposite"],
)
def test_planted_runs_are_judged_told_and_drawn(monkeypatch, costs, verdict):
    first = 3 if verdict == "PASS" else 8
    ways = [way(cost, epochs) for cost, epochs in zip(costs, (12, first, 11, 11), strict=True)]
    asked = {(None, True): ways[0], (1, True): ways[1], (20, True): ways[2], (20, False): ways[3]}

    def stopped(networks, patience, *, restore=True):
        return asked.pop((patience, restore)), CURVE

    monkeypatch.setattr(Networks, "stopped", stopped)
    run = small_run()
    early_stopping.EXPERIMENT.run(run)
    assert not asked
    judged(run, {"returns the parameters of the lowest": "PASS"} | dict.fromkeys(CLAIMS, verdict))
    names = ["last epoch", "at once", "patient", "patient, not restored"]
    assert [row[0] for row in run.tables[0].rows] == names
    assert run.tables[0].rows[1] == ["at once", f"{first}.0", f"{costs[1]:.3f}", "80.00"]
    assert run.records[-1]["validation_cost"] == CURVE[0].tolist()
    left, right = run.drawn["early_stopping"].axes
    np.testing.assert_array_equal([each.get_ydata() for each in left.lines[:5]], CURVE)
    assert labels(left) == ["at once: parameters of", "patient: parameters of"]
    np.testing.assert_array_equal(heights(left, "patient: parameters of"), [1.0] * 5)
    np.testing.assert_array_equal(heights(left, "at once: parameters of"), [1.6 if first == 3 else 1.0] * 5)
    assert left.get_xscale() == "log"
    assert [bar.get_width() for bar in right.patches] == pytest.approx(costs)
    assert ticks(right.yaxis) == names


@pytest.fixture(scope="module")
def networks():
    return Networks(small_run())


@pytest.fixture(scope="module")
def at_once(networks):
    return networks.stopped(early_stopping.AT_ONCE)


def test_all_ways_follow_one_curve(networks, at_once):
    _, curve = networks.stopped(None)
    stopped_at_once, first = at_once
    assert curve.shape == (5, 12)
    for row, stopped, count in zip(curve, first, stopped_at_once.epochs, strict=True):
        np.testing.assert_allclose(stopped[:count], row[:count], rtol=1e-5)
        ends = np.flatnonzero(row[1:] >= np.minimum.accumulate(row)[:-1])
        # An epoch that is no better than the best before; without one the run goes to its end.
        assert count == (ends[0] + 2 if len(ends) else 12)
    best = early_stopping.smallest(curve, stopped_at_once.epochs)
    np.testing.assert_allclose(stopped_at_once.validation, best, rtol=1e-5)


def test_parameters_are_kept_or_not(networks, at_once):
    restored, curve = at_once
    kept, _ = networks.stopped(early_stopping.AT_ONCE, restore=False)
    np.testing.assert_array_equal(restored.epochs, kept.epochs)
    assert (kept.epochs < 12).any()
    at_stop = curve[np.arange(5), restored.epochs - 1]
    np.testing.assert_allclose(kept.validation, at_stop, rtol=1e-5)
    np.testing.assert_allclose(restored.validation, early_stopping.smallest(curve, restored.epochs), rtol=1e-5)
