import numpy as np
import pytest

from experiments.generalization import penalized_networks, weight_decay
from experiments.generalization.penalized_networks import Arm
from tests.experiments.generalization.planted import images, judged, labels, ticks
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])


def a_run(dataset="mnist", epochs=2, *, blank=True):
    return Drawn(dataset, images(blank=blank), 5, {"epochs": {dataset: epochs}})


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


BEFORE = np.random.RandomState(0).randn(5, 9, 30).astype(np.float32)


def four_arms(*, sparse=0.5, subgradient=0.0, scale=1.0, none=(95, 97), decayed=(96, 97)):
    """Shares of zeros, what L2 left relative to what theory has, and test and training accuracies."""

    def thinned(share):
        return np.where(np.random.RandomState(1).rand(5, 9, 30) < share, 0, BEFORE).astype(np.float32)

    decay = (1 - 0.5 * 1e-4) ** 1000
    return {
        "none": arm(*none, kernels=BEFORE),
        "L2": arm(*decayed, kernels=BEFORE * np.float32(decay * scale)),
        "L1, subgradient": arm(96, 97, kernels=thinned(subgradient)),
        "L1, proximal": arm(96, 97, kernels=thinned(sparse)),
    }


def weights_verdicts(**shares):
    run = a_run()
    blank = penalized_networks.blank_pixels(run)
    assert blank.tolist() == [True] + [False] * 8
    weight_decay.judge_weights(run, four_arms(**shares), BEFORE, blank)
    return [finding.verdict for finding in run.findings]


def run_planted(monkeypatch, run, arms, wide=None):
    monkeypatch.setattr(weight_decay, "penalized", lambda run, name: arms[name])
    monkeypatch.setattr(weight_decay, "starts", lambda run: BEFORE)
    monkeypatch.setattr(weight_decay, "wide", wide)
    weight_decay.EXPERIMENT.run(run)


def test_planted_arms_are_judged_told_and_drawn(monkeypatch):
    arms = four_arms(none=(95.21, 97.86), decayed=(96.49, 97.12))
    run = a_run(epochs=30)
    run_planted(monkeypatch, run, arms, lambda run, *, eta, epochs: np.full((5, epochs), 98.0) + SPREAD[:, None])
    claims = ("raises the mean test accuracy", "narrows the gap", "no decay", "30 hidden units, lambda 5", "rate 0.5",
              "rate 0.1", "L1 by proximal", "negative control", "L2 makes", "blank in every")  # fmt: skip
    judged(run, dict.fromkeys(claims, "PASS"), rows=("", "X10"))
    zeros = 100 * np.mean(arms["L1, proximal"].kernels == 0)
    assert run.tables[0].rows[1][:5] == ["L2", "97.12", "96.49", "0.63", "96.49"]
    assert run.tables[0].rows[3][5] == f"{zeros:.1f}"
    assert not run.notes
    left, right = run.drawn["weight_decay"].axes
    assert labels(left) == ticks(right.xaxis) == list(arms)
    np.testing.assert_allclose(heights(left, "L2"), np.full(30, 96.49))
    np.testing.assert_allclose(right.lines[5].get_ydata(), 97.12 + SPREAD)
    axes = run.drawn["weights"].axes
    assert len(axes) == 5 * 7
    assert [axis.get_ylabel() for axis in axes[::7]] == ["before training", *arms]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), BEFORE[0, :, 1].reshape(3, 3))
    np.testing.assert_array_equal(axes[16].images[0].get_array(), arms["L2"].kernels[0, :, 2].reshape(3, 3))
    assert [axis.texts[0].get_text() for axis in axes[6::7]] == [*["exactly 0: 0.0%"] * 4, f"exactly 0: {zeros:.1f}%"]
    assert {axis.get_yscale() for axis in axes[6::7]} == {"log"}
    assert len(run.figures) == 2


def test_planted_opposites_fail_on_digits(monkeypatch):
    arms = four_arms(sparse=0.05, subgradient=0.5, scale=1.2, none=(96, 97), decayed=(95, 97))
    claims = ("raises the mean test accuracy", "narrows the gap", "L1 by proximal", "negative control", "L2 makes")
    for blank, last in ((True, {"blank in every": "FAIL"}), (False, {})):
        run = a_run("digits", blank=blank)
        run_planted(monkeypatch, run, arms)
        judged(run, dict.fromkeys(claims, "FAIL") | last, rows=("", "X10"))
        assert "only orderings are tested" in run.notes[0]


def test_the_wide_networks_are_those_of_the_book(monkeypatch):
    asked = []

    def train(model, objective, tx, data, watched, **options):
        params = {"Dense_0": {"kernel": np.ones((1, 1), np.float32)}}
        decay, _ = tx.update({"Dense_0": {"kernel": np.zeros((1, 1), np.float32)}}, tx.init(params), params)
        asked.append((model.sizes, float(decay["Dense_0"]["kernel"][0, 0]), watched, options))
        return penalized_networks.book.Trained(None, {"accuracy": np.full((5, 4), 97.0)}, 0.0)

    monkeypatch.setattr(penalized_networks.book, "train", train)
    run = a_run()
    run.splits = run.splits._replace(validation="held out")
    assert penalized_networks.wide(run, eta=0.1, epochs=4).tolist() == [[97.0] * 4] * 5
    ((sizes, decay, watched, options),) = asked
    assert sizes == (100, 10)
    assert decay == pytest.approx(-0.1 * 5 / 50_000)
    assert watched == "held out"
    assert options == {"seeds": range(5), "epochs": 4}


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
