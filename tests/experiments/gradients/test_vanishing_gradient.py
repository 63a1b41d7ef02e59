"""The experiment's measurements against the NumPy transcription, and its claims on data that must break them."""

import jax
import numpy as np
import pytest

import jaxdl
from experiments.building_blocks import book
from experiments.gradients import vanishing_gradient
from experiments.harness.claims import Run
from tests.reference import backprop


@pytest.fixture(scope="module")
def images():
    draws = np.random.RandomState(0)
    return draws.rand(40, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 40).astype(np.int32)


def numpy_layers(params):
    names = [f"Dense_{i}" for i in range(len(params))]
    weights = [np.asarray(params[name]["kernel"], np.float64).T for name in names]
    return weights, [np.asarray(params[name]["bias"], np.float64) for name in names]


def test_the_initializer_is_nielsens():
    params = book.starter(book.network(2), book.descent(10), np.ones((1, 400), np.float32))(jax.random.key(0)).params
    kernel = np.asarray(params["Dense_0"]["kernel"])
    # Variance 1/400 over 12,000 draws: 3.3 standard errors are 4.3 %. An untruncated Gaussian has its tails.
    assert kernel.var() * 400 == pytest.approx(1.0, abs=0.043)
    assert np.abs(kernel).max() * 20 > 3.0
    assert 0.5 < np.asarray(params["Dense_1"]["bias"]).std() < 1.6


def test_curves_are_those_of_the_numpy_network(images):
    curves = vanishing_gradient.learning_curves(book.network(2), images, seeds=2, epochs=25)
    for seed in range(2):
        state = book.starter(book.network(2), book.descent(40), images[0])(jax.random.key(seed))
        weights, biases = numpy_layers(state.params)
        flat, targets = images[0].reshape(40, 9).astype(np.float64), np.eye(10)[images[1]]
        for epoch in range(25):
            grads_w, grads_b = backprop.mean_backprop(weights, biases, flat, targets)
            expected = [np.linalg.norm(g) for g in grads_b[:2]]
            np.testing.assert_allclose(curves[seed, epoch], expected, rtol=2e-3)
            weights = [(1 - 0.1 * 5.0 / 40) * w - 0.1 * g for w, g in zip(weights, grads_w, strict=True)]
            biases = [b - 0.1 * g for b, g in zip(biases, grads_b, strict=True)]


def test_start_norms_are_those_of_each_seed(images):
    norms = vanishing_gradient.start_norms(book.network(3), images, 3)
    for seed in range(3):
        params = book.starter(book.network(3), book.descent(40), images[0])(jax.random.key(seed)).params
        weights, biases = numpy_layers(params)
        _, grads = backprop.mean_backprop(
            weights, biases, images[0].reshape(40, 9).astype(np.float64), np.eye(10)[images[1]]
        )
        np.testing.assert_allclose(norms[seed], [np.linalg.norm(g) for g in grads[:3]], rtol=1e-4)


def make_run(dataset="digits"):
    return Run(dataset, jaxdl.data.load("digits"), 20, {"starts": 20, "epochs": 500})


def test_the_order_claims_can_fail():
    run = make_run()
    rising = np.tile([1.0, 5.0, 25.0, 125.0], (20, 1)) * np.exp(0.01 * np.random.RandomState(0).randn(20, 4))
    vanishing_gradient.judge_order(run, {d: rising[:, :d] for d in (2, 3, 4)})
    assert {finding.verdict for finding in run.findings} == {"PASS"}
    run.findings.clear()
    vanishing_gradient.judge_order(run, {d: rising[:, :d][:, ::-1] for d in (2, 3, 4)})
    assert {finding.verdict for finding in run.findings} == {"FAIL"}


def test_the_control_is_caught_when_it_vanishes():
    run = make_run()
    norms = np.tile([1.0, 5.0, 25.0, 125.0], (20, 1))
    vanishing_gradient.judge_control(run, norms, np.repeat(norms[:, None], 7, axis=1))
    assert [finding.verdict for finding in run.findings] == ["FAIL"] * 3
    assert {finding.remark for finding in run.findings} == {"the rule should have failed here"}


def test_the_factor_per_layer():
    np.testing.assert_allclose(vanishing_gradient.factor_per_layer(np.array([[1.0, 5.0, 25.0, 125.0]])), [5.0])


def test_published_curves_pass_and_flat_ones_do_not():
    run = make_run("mnist")
    epochs = np.arange(500)
    noise = np.exp(0.05 * np.random.RandomState(0).randn(20, 1))
    # Shaped like the published curves: ratios 1.6, 11 and 88 on average, and the fall and rebound of two layers.
    fall = 0.06 * np.where(epochs < 60, np.exp(-epochs / 13), np.exp(-60 / 13) * (1 + (epochs - 60) / 200))
    curves = {
        2: np.stack([noise * fall, noise * fall * 1.6], -1),
        3: np.stack([noise * fall, noise * fall * 5, noise * fall * 11], -1),
        4: np.stack([noise**2 * fall, noise * fall * 5, noise * fall * 30, noise * fall * (60 + epochs / 7.5)], -1),
    }
    vanishing_gradient.judge_curves(run, curves)
    assert [finding.verdict for finding in run.findings] == ["PASS"] * 7
    run.findings.clear()
    vanishing_gradient.judge_curves(run, {d: np.ones_like(curve) for d, curve in curves.items()})
    assert "PASS" not in {finding.verdict for finding in run.findings}


def test_too_few_seeds_for_the_published_rules():
    run = make_run("mnist")
    run.seeds = 9
    curve = np.ones((9, 500, 4)) * [1, 5, 20, 90]
    vanishing_gradient.judge_curves(run, {2: curve[..., :2], 3: curve[..., :3], 4: curve})
    ratios = [finding for finding in run.findings if "geometric" in finding.claim or "499" in finding.claim]
    assert {finding.verdict for finding in ratios} == {"INCONCLUSIVE"}
    assert "the rule needs 10 seeds, got 9" in ratios[0].result.detail


def test_the_chain_formula_holds_and_a_wrong_one_would_not(monkeypatch):
    assert vanishing_gradient.chain_error(0) < 1e-5
    monkeypatch.setattr(jax.nn, "sigmoid", lambda z: 1 / (1 + jax.numpy.exp(-1.01 * z)))
    assert vanishing_gradient.chain_error(0) > 1e-3
