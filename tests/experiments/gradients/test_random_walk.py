"""The walk against NumPy with the same draws, the formulas against samples, and rules that can fail."""

import jax
import numpy as np
import pytest

from experiments.gradients import random_walk
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

NONE = Splits(*(Examples([0], [0]) for _ in range(3)))


@pytest.mark.parametrize("units", ["linear", "ReLU"])
def test_the_walk_is_numpys_with_the_same_draws(units):
    width, depth = 7, 4
    found = random_walk.walk(units, width, depth, seeds=1, draws=1)
    key = jax.random.split(jax.random.key(0), 1)[0]
    x_key, end_key, kernels_key = jax.random.split(key, 3)
    omega = np.exp(1 / 14) if units == "linear" else np.sqrt(2) * np.exp(1.2 / (7 - 2.4))
    normals = [jax.random.normal(k, (width, width)) for k in jax.random.split(kernels_key, depth)]
    kernels = [omega / np.sqrt(7) * np.asarray(each, np.float64) for each in normals]
    a, slopes = np.asarray(jax.random.normal(x_key, (width,)), np.float64), []
    for kernel in kernels:
        z = a @ kernel
        slopes.append(np.ones(width) if units == "linear" else (z > 0) * 1.0)
        a = z * slopes[-1]
    error = np.asarray(jax.random.normal(end_key, (width,)), np.float64)
    logs = [np.log(np.linalg.norm(error))]
    for kernel, slope in zip(kernels[::-1], slopes[::-1], strict=True):
        error = kernel @ (slope * error)
        logs.append(np.log(np.linalg.norm(error)))
    np.testing.assert_allclose(found[0, 0], np.array(logs) - logs[0], rtol=1e-3, atol=1e-5)


def test_deviations_and_moments_are_those_of_the_table():
    assert random_walk.deviation("linear", 50, 1000) == pytest.approx(np.sqrt(10))
    assert random_walk.deviation("ReLU", 54, 1000) == pytest.approx(5.0)
    assert random_walk.moments("linear", 50) == (-0.02, 0.04)
    assert random_walk.moments("ReLU", 54) == pytest.approx((-0.693147 - 2.4 / 51.6, 0.1), rel=1e-5)


def test_linear_steps_have_the_moments_of_a_chi_square():
    """ln(chi2_N / N): mean digamma(N/2) - ln(N/2), variance trigamma(N/2); 4 standard errors, false alarm 1e-4."""
    from scipy.special import polygamma, psi

    logs = np.concatenate([random_walk._steps(jax.random.key(i), "linear", 20) for i in range(400)])
    mean, variance = psi(10) - np.log(10), float(polygamma(1, 10))
    assert abs(logs.mean() - mean) < 4 * np.sqrt(variance / len(logs)) * 2  # those of one matrix are dependent
    assert logs.var() == pytest.approx(variance, rel=0.1)


def verdicts(scale, shift):
    run = Run("digits", NONE, 5, {})
    expected = random_walk.deviation("linear", 50, 100)
    draws = np.random.default_rng(0).standard_normal((5, 100))
    draws = expected * (draws - draws.mean()) / draws.std()
    random_walk.judge_walk(run, "linear", 50, 100, (scale * draws + shift)[..., None])
    assert {finding.row for finding in run.findings} == {"X25"}
    return [finding.verdict for finding in run.findings]


def test_the_rules_pass_and_fail():
    error = random_walk.deviation("linear", 50, 100) / np.sqrt(500)
    assert verdicts(1.0, 2.9 * error) == ["PASS", "PASS"]
    assert verdicts(1.0, 3.2 * error) == ["FAIL", "PASS"]
    assert verdicts(1.5, 0.0) == ["PASS", "FAIL"]
    assert verdicts(0.7, 0.0) == ["PASS", "FAIL"]
