import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.generalization import dropout_curves, dropout_identity
from experiments.generalization.dropout_curve_networks import Activity, Curves
from tests.experiments.generalization.planted import images, judged, labels, of_dataset
from tests.experiments.planted import Drawn, heights

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", *, count=60, **settings):
    given = {"images": 40, "batch": 10, "updates": 8, "code_epochs": 2, **settings}
    return Drawn(dataset, images(count), 5, of_dataset(dataset, **given))


def verdicts(run, judge, *arguments):
    run.findings.clear()
    judge(run, *arguments)
    return [finding.verdict for finding in run.findings]


def by_retained(*errors):
    return {p: error + SPREAD for p, error in zip(dropout_curves.RETAINED, errors, strict=True)}


def test_the_published_curve_passes_and_others_fail():
    judge, run = dropout_curves.judge_retained, small_run("mnist")
    product = by_retained(1.7, 1.2, 1.2, 1.2, 1.6)
    good = by_retained(2.7, 1.2, 1.1, 1.2, 1.6)
    assert verdicts(run, judge, good, product) == ["PASS"] * 4
    assert all(finding.row == "X17" for finding in run.findings)
    tilted = verdicts(run, judge, by_retained(2.7, 1.5, 1.1, 1.2, 1.0), product)
    assert tilted == ["FAIL", "PASS", "PASS", "FAIL"]
    near = verdicts(run, judge, by_retained(1.6, 1.2, 1.1, 1.2, 1.6), product)
    assert near == ["PASS", "FAIL", "FAIL", "PASS"]
    one = good | {0.6: good[0.6] - np.array([0, 0, 0, 0, 0.3])}
    assert verdicts(run, judge, one, product)[0] == "FAIL", "a shape has to be there in every seed"
    digits = small_run()
    assert verdicts(digits, judge, good, product) == ["PASS"] * 3
    assert not any(finding.published for finding in digits.findings)


def run_planted(monkeypatch, run, width, product, by_images, codes, penalty):
    """Errors by the network that is asked for; the identity misses its penalty or has it."""

    def errors(curves, networks, cells):
        *hidden, classes = networks.sizes
        assert classes == 10
        if hidden == [7, 5]:
            assert cells == [dict(hidden=0.0, inputs=0.0), dict(hidden=0.5, inputs=0.2)]
            assert networks.updates == 30
            return by_images[len(networks.train.y)]
        retained = [round(1 - cell["hidden"], 9) for cell in cells]
        assert not any(cell["inputs"] for cell in cells)
        if hidden == [6] * 3:
            return np.stack([width[p] for p in retained])
        assert hidden == [round(2 / p) for p in retained] * 3
        return np.stack([product[p] for p in retained])

    monkeypatch.setattr(Curves, "_errors", errors)
    monkeypatch.setattr(Curves, "code", lambda curves, rate: codes[rate])
    sampled = dropout_identity.Identity(12.0 + penalty, 0.1, 12.0, 4.0)
    monkeypatch.setattr(dropout_identity, "identity", lambda key, masks: sampled)
    dropout_curves.EXPERIMENT.run(run)


def planted_run(dataset):
    wide = dict(width=6, units=2, product_at=(0.1, 0.4), hidden=(7, 5), counts=(100, 120))
    return small_run(dataset, count=120, batch=20, updates=30, **wide)


def code(mean):
    return Activity(mean + SPREAD, 0.5 + SPREAD, np.abs(np.random.RandomState(0).randn(120, 8)) * mean)


CLAIMS = ("ridge penalty", "negative control", "retaining a tenth", "times the width held fixed", "probability of 1",
          "on 100 training images", "on 120 training images", "auto-encoder")  # fmt: skip


def test_planted_curves_are_judged_told_and_drawn(monkeypatch):
    width, product = by_retained(2.7, 1.2, 1.1, 1.2, 1.6), {0.1: 1.7 + SPREAD, 0.4: 1.3 + SPREAD}
    by_images = {100: np.stack([20 + SPREAD, 20 - SPREAD]), 120: np.stack([8 + SPREAD, 7 + 0 * SPREAD])}
    run, codes = planted_run("mnist"), {0.0: code(2.0), 0.5: code(0.7)}
    run_planted(monkeypatch, run, width, product, by_images, codes, penalty=4.0)
    judged(run, dict.fromkeys(("is flat", *CLAIMS), "PASS"), rows=("", "X17", "X04"))
    assert run.tables[0].rows[:3] == [["0.1", "2.70", "1.70"], ["0.4", "1.20", "1.30"], ["0.6", "1.10", "-"]]
    assert run.tables[1].rows == [["100", "20.00", "20.00"], ["120", "8.00", "7.00"]]
    assert "three of 6 and (7, 5), trained for 30 updates" in run.notes[1]
    assert run.records[0]["penalty"] == 4.0
    assert run.records[1]["by_images"]["120"] == pytest.approx([7.98, 7.0])
    left, middle, right = run.drawn["dropout_curves"].axes
    np.testing.assert_allclose(heights(left, "width n fixed"), [2.7, 1.2, 1.1, 1.2, 1.6])
    np.testing.assert_allclose(heights(left, "p n fixed"), [1.7, 1.3])
    assert "flat in the paper" in labels(left)
    np.testing.assert_allclose(heights(middle, "no dropout"), [20, 8])
    np.testing.assert_allclose(heights(middle, "dropout"), [20, 7])
    assert (left.get_yscale(), middle.get_xscale(), right.get_yscale()) == ("log",) * 3
    means = [each.first.mean() for each in codes.values()]
    assert labels(right) == [f"no dropout: mean {means[0]:.2f}", f"dropout 0.5: mean {means[1]:.2f}"]
    assert len(run.figures) == 1


def test_planted_opposites_fail_on_digits(monkeypatch):
    level, worse = by_retained(1.2, 1.2, 1.1, 1.2, 1.0), {0.1: 2.7 + SPREAD, 0.4: 1.3 + SPREAD}
    by_images = {100: np.stack([20 + SPREAD, 24 - SPREAD]), 120: np.stack([7 + SPREAD, 8 + 0 * SPREAD])}
    run = planted_run("digits")
    run_planted(monkeypatch, run, level, worse, by_images, {0.0: code(2.0), 0.5: code(2.1)}, penalty=0.0)
    judged(run, dict.fromkeys(CLAIMS, "FAIL"), rows=("", "X17", "X04"))
    assert len(run.notes) == 1


def test_gains_on_few_images_are_bounded_on_both_sides():
    judge, run = dropout_curves.judge_images, small_run()
    wide = 10 * SPREAD
    for gain, expected in ((0.3, "PASS"), (2.0, "FAIL"), (-2.0, "FAIL"), (1.45, "INCONCLUSIVE")):
        errors = {100: np.stack([20 + gain + wide, 20 + 0 * wide]), 1000: np.stack([8 + SPREAD, 7 + 0 * SPREAD])}
        assert verdicts(run, judge, errors) == [expected, "PASS"]
    assert len(verdicts(run, judge, {100: errors[100]})) == 1


def test_a_code_is_sparser_below_six_tenths():
    active, first = 0.5 + SPREAD, np.zeros((2, 2))
    plain = Activity(2.0 + SPREAD, active, first)
    for mean, expected in ((0.7, "PASS"), (1.4, "FAIL"), (1.2, "INCONCLUSIVE")):
        dropped = Activity(mean + SPREAD[::-1], active, first)
        assert verdicts(small_run(), dropout_curves.judge_code, plain, dropped) == [expected]


def test_the_identity_holds_over_all_masks_counted_out():
    """One example, three inputs: the eight masks with their probabilities give the closed form exactly."""
    x, w, y, p = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.3, -0.7]), 0.4, dropout_identity.RETAIN
    total = 0.0
    for mask in itertools.product((0, 1), repeat=3):
        chance = np.prod([p if m else 1 - p for m in mask])
        total += chance * (y - (np.array(mask) * x) @ w) ** 2
    closed = (y - p * x @ w) ** 2 + p * (1 - p) * np.sum((np.abs(x) * w) ** 2)
    assert total == pytest.approx(closed, rel=1e-12)
    keys = jax.random.split(jax.random.key(0), 20_000)
    costs = np.asarray(dropout_identity._costs(keys, *(jnp.asarray(v, jnp.float32) for v in (x[None], [y], w))))
    # Four standard errors: 6e-5 of all keys.
    assert abs(costs.mean() - closed) < 4 * costs.std() / np.sqrt(len(costs))


def test_a_sampled_identity_passes_and_its_control_is_far_off():
    run = small_run()
    found = dropout_identity.judge_identity(run)
    assert [finding.verdict for finding in run.findings] == ["PASS", "PASS"]
    assert {finding.row for finding in run.findings} == {"X04"}
    assert all(each.penalty > 10 * each.error for each in found)


def test_widths_follow_the_retained_units(monkeypatch):
    curves, seen = Curves(small_run()), []
    monkeypatch.setattr(curves, "of_width", lambda width, retained: seen.append((width, retained)) or {retained[0]: 0})
    assert list(curves.fixed_product(51, (0.1, 0.4, 1.0))) == [0.1, 0.4, 1.0]
    assert seen == [(510, [0.1]), (128, [0.4]), (51, [1.0])]


def test_a_sweep_of_rates_holds_the_network_without_dropout(monkeypatch):
    curves = Curves(small_run())
    both = curves.of_width(6, (0.5, 1.0))
    np.testing.assert_allclose(both[1.0], curves.of_width(6, (1.0,))[1.0], atol=1e-4)
    assert both[0.5].shape == (5,)


def test_codes_are_those_of_the_first_layer(monkeypatch):
    models, make = [], jaxdl.models.MLP
    monkeypatch.setattr(jaxdl.models, "MLP", lambda *a, **k: models.append(make(*a, **k)) or models[-1])
    found = Curves(small_run()).code(0.5)
    assert [(model.sizes, model.dropout_rate) for model in models] == [((256, 9), 0.5)]
    assert found.mean.shape == found.active.shape == (5,)
    assert found.first.shape == (60, 256)
    assert found.first.mean() == pytest.approx(found.mean[0])
    assert (found.first > 0).mean() == pytest.approx(found.active[0])
    assert len(set(found.mean)) == 5
