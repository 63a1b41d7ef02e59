import numpy as np
import pytest

from experiments.generalization import penalized_networks, weight_decay
from experiments.generalization.penalized_networks import Arm
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

SPREAD = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])


def a_run(dataset="mnist", epochs=2):
    draws = np.random.RandomState(0)
    x = draws.rand(60, 3, 3, 1).astype(np.float32)
    x[:, 0, 0] = 0
    examples = Examples(x, draws.randint(0, 10, 60).astype(np.int32))
    return Run(dataset, Splits(examples, examples, examples), 5, {"epochs": {dataset: epochs}})


def arm(test, train, *, epochs=30, peak=None, kernels=None):
    curve = np.full((5, epochs), test) + SPREAD[:, None]
    if peak is not None:
        curve[:, 3] = peak + SPREAD
    kernels = np.ones((5, 9, 30), np.float32) if kernels is None else kernels
    return Arm(curve, train + SPREAD, kernels, 1000)


def verdicts(none, decayed, dataset="mnist"):
    run = a_run(dataset)
    weight_decay.judge_decay(run, {"none": none, "L2": decayed})
    assert {finding.row for finding in run.findings} == {"X10"}
    return [finding.verdict for finding in run.findings]


def test_the_published_figures_pass_and_others_fail():
    none, decayed = arm(95.21, 97.86), arm(95.97, 97.12, peak=96.49)
    assert verdicts(none, decayed) == ["PASS"] * 4
    assert verdicts(none, arm(95.3, 97.1, peak=96.49))[0] == "FAIL", "0.1 points are none of 0.3"
    assert verdicts(none, arm(95.97, 99.0, peak=96.49))[1] == "FAIL", "a wider gap"
    assert verdicts(arm(94.0, 97.86), arm(97.5, 97.9))[2:] == ["FAIL", "FAIL"]
    assert set(verdicts(arm(95.21, 97.86, epochs=12), arm(95.97, 97.12, epochs=12))) == {"INCONCLUSIVE"}
    assert len(verdicts(none, decayed, "digits")) == 2


@pytest.mark.parametrize(("level", "expected"), [(97.9, "PASS"), (96.0, "FAIL")])
def test_wide_networks_are_judged_by_their_best_epoch(monkeypatch, level, expected):
    asked = []

    def wide(run, *, eta, epochs):
        asked.append((eta, epochs))
        curve = np.full((5, epochs), level - 1) + SPREAD[:, None]
        curve[:, 4] += 1
        return curve

    monkeypatch.setattr(weight_decay, "wide", wide)
    run = a_run(epochs=30)
    weight_decay.judge_wide(run)
    assert asked == [(0.5, 30), (0.1, 60)]
    assert [finding.verdict for finding in run.findings] == [expected] * 2
    run = a_run(epochs=15)
    weight_decay.judge_wide(run)
    assert asked[2:] == [(0.5, 15), (0.1, 30)]
    assert [finding.verdict for finding in run.findings] == ["INCONCLUSIVE"] * 2


def weights_verdicts(*, sparse=0.5, subgradient=0.0, kept=0.25, scale=1.0):
    run = a_run()
    before = np.random.RandomState(0).randn(5, 9, 30).astype(np.float32)

    def thinned(share):
        return np.where(np.random.RandomState(1).rand(5, 9, 30) < share, 0, before).astype(np.float32)

    decay = (1 - 0.5 * 1e-4) ** 1000
    arms = {
        "none": arm(95, 97, kernels=before),
        "L2": arm(96, 97, kernels=before * np.float32(decay * scale)),
        "L1, subgradient": arm(96, 97, kernels=thinned(subgradient)),
        "L1, proximal": arm(96, 97, kernels=thinned(sparse)),
    }
    blank = penalized_networks.blank_pixels(run)
    assert blank.tolist() == [True] + [False] * 8
    weight_decay.judge_weights(run, arms, before, blank)
    return [finding.verdict for finding in run.findings]


def test_what_penalties_do_to_weights_can_fail():
    assert weights_verdicts() == ["PASS"] * 4
    assert weights_verdicts(sparse=0.05)[0] == "FAIL"
    assert weights_verdicts(subgradient=0.5)[1] == "FAIL", "the control has to fail"
    assert weights_verdicts(scale=1.2)[2:] == ["FAIL", "FAIL"], "neither smaller nor the right factor"
    assert weights_verdicts(scale=0.0)[2] == "FAIL", "zeros"


def test_arms_start_alike_and_blank_pixels_see_the_penalty_alone():
    """Without gradient: kept without penalty, `(1 - eta lambda/n)^t` under L2, soft-thresholded t times under L1."""
    run = a_run("digits")
    before = penalized_networks.starts(run)
    blank = penalized_networks.blank_pixels(run)
    rate = 0.5 * 5.0 / 50_000  # eta times lambda / n
    for name in penalized_networks.ARMS:
        found = penalized_networks.penalized(run, name)
        assert found.updates == 12
        assert found.test.shape == (5, 2)
        now, then = found.kernels[:, blank].astype(np.float64), before[:, blank].astype(np.float64)
        if name == "none":
            expected = then
        elif name == "L2":
            expected = then * (1 - rate) ** 12
        else:  # no weight is so small that it would come to 0 within 12 steps of 5e-5
            expected = then - np.sign(then) * 12 * rate
            assert np.abs(then).min() > 12 * rate
        np.testing.assert_allclose(now, expected, atol=2e-6)
        assert not np.allclose(found.kernels[:, ~blank], before[:, ~blank])
