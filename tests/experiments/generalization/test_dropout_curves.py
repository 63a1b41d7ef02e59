import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.generalization import dropout_curves, dropout_identity
from experiments.generalization.dropout_curve_networks import Activity, Curves
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def small_run(dataset="digits", **settings):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(60, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 60).astype(np.int32))
    given = {"images": 40, "batch": 10, "updates": 8, "code_epochs": 2, **settings}
    return Run(dataset, Splits(examples, examples, examples), 5, {k: {dataset: v} for k, v in given.items()})


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


def test_codes_are_those_of_the_first_layer():
    curves = Curves(small_run())
    plain, dropped = curves.code(0.0), curves.code(0.5)
    assert plain.mean.shape == dropped.mean.shape == (5,)
    assert plain.first.shape == (60, 256)
    assert plain.first.mean() == pytest.approx(plain.mean[0])
    assert not np.allclose(plain.mean, dropped.mean)
