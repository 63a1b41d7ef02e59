"""Closed forms against NumPy in float64, scikit-learn, integration over a grid, and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import BayesianRidge, Ridge

from jaxdl.procedures import (
    linear_log_evidence,
    linear_log_likelihood,
    linear_maximum_likelihood,
    linear_posterior,
    posterior_predictive,
    ridge_regression,
)

ALPHA, BETA = 0.5, 4.0


def problem(num_examples=12, num_weights=4, seed=0):
    draws = np.random.RandomState(seed)
    design = draws.randn(num_examples, num_weights)
    targets = design @ draws.randn(num_weights) + BETA**-0.5 * draws.randn(num_examples)
    return design.astype(np.float32), targets.astype(np.float32)


def in_double(design, targets, alpha=ALPHA, beta=BETA):
    """Mean and covariance as the book prints them."""
    design, targets = design.astype(np.float64), targets.astype(np.float64)
    covariance = np.linalg.inv(alpha * np.eye(design.shape[1]) + beta * design.T @ design)
    return beta * covariance @ design.T @ targets, covariance


def vandermonde(num_examples, degree):
    return np.vander(np.linspace(-1, 1, num_examples), degree + 1, increasing=True).astype(np.float32)


def test_most_likely_weights_and_precision_are_those_of_least_squares():
    design, targets = problem()
    found = linear_maximum_likelihood(design, targets)
    weights, squares, *_ = np.linalg.lstsq(design.astype(np.float64), targets.astype(np.float64), rcond=None)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-5)
    assert float(found.precision) == pytest.approx(len(targets) / squares[0], rel=1e-5)


def test_no_other_weights_or_precision_are_as_likely():
    design, targets = problem()
    weights, precision = linear_maximum_likelihood(design, targets)

    def log_likelihood(weights, precision):
        sigma = float(precision) ** -0.5
        return stats.norm.logpdf(targets.astype(np.float64), design.astype(np.float64) @ weights, sigma).sum()

    best = log_likelihood(weights, precision)
    ours = linear_log_likelihood(weights, design, targets, precision=precision)
    assert float(ours) == pytest.approx(best, rel=1e-5)
    for direction in np.random.RandomState(1).randn(20, 4):
        assert log_likelihood(weights + 0.05 * direction, precision) < best
    assert log_likelihood(weights, 1.1 * precision) < best
    assert log_likelihood(weights, 0.9 * precision) < best


def test_the_most_probable_weights_are_those_of_ridge_with_alpha_over_beta():
    design, targets = problem()
    ridge = Ridge(alpha=ALPHA / BETA, fit_intercept=False).fit(design.astype(np.float64), targets).coef_
    np.testing.assert_allclose(ridge_regression(design, targets, strength=ALPHA / BETA), ridge, rtol=1e-5)
    found = linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA)
    np.testing.assert_allclose(found.mean, ridge, rtol=1e-5)
    likeliest = linear_maximum_likelihood(design, targets).weights
    np.testing.assert_allclose(ridge_regression(design, targets, strength=0.0), likeliest, rtol=1e-5)
    assert np.linalg.norm(ridge) < np.linalg.norm(likeliest)


@pytest.mark.parametrize("shape", [(12, 4), (4, 4), (2, 5), (1, 1), (0, 3)])
def test_mean_and_covariance_are_those_of_the_book(shape):
    design, targets = problem(*shape)
    found = linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA)
    mean, covariance = in_double(design, targets)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-4, atol=1e-6)


def test_without_examples_the_posterior_is_the_prior():
    found = linear_posterior(np.zeros((0, 3)), np.zeros(0), prior_precision=ALPHA, noise_precision=BETA)
    np.testing.assert_array_equal(found.mean, 0)
    np.testing.assert_allclose(found.covariance, np.eye(3) / ALPHA, rtol=1e-6)
    evidence = linear_log_evidence(np.zeros((0, 3)), np.zeros(0), prior_precision=ALPHA, noise_precision=BETA)
    assert float(evidence) == pytest.approx(0, abs=1e-6)


def test_the_posterior_is_likelihood_times_prior_integrated_on_a_grid():
    """Two weights: moments, evidence and predictive by brute force."""
    design, targets = problem(3, 2)
    steps = np.linspace(-6, 6, 601)
    first, second = np.meshgrid(steps, steps, indexing="ij")
    log_joint = stats.norm.logpdf(first, scale=ALPHA**-0.5) + stats.norm.logpdf(second, scale=ALPHA**-0.5)
    for row, target in zip(design.astype(float), targets, strict=True):
        log_joint += stats.norm.logpdf(target, row[0] * first + row[1] * second, BETA**-0.5)
    joint = np.exp(log_joint)
    cell = (steps[1] - steps[0]) ** 2
    evidence = joint.sum() * cell
    share = joint * cell / evidence
    mean = np.array([(share * first).sum(), (share * second).sum()])
    offsets = np.stack([first - mean[0], second - mean[1]])
    covariance = np.einsum("kl,ikl,jkl->ij", share, offsets, offsets)

    found = linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-4)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3, atol=1e-6)
    ours = linear_log_evidence(design, targets, prior_precision=ALPHA, noise_precision=BETA)
    assert float(ours) == pytest.approx(np.log(evidence), rel=1e-4)

    new = np.array([[0.3, -1.2]], np.float32)
    outputs = new[0, 0] * first + new[0, 1] * second
    grid = np.linspace(-12, 12, 241)
    density = np.array([(share * stats.norm.pdf(t, outputs, BETA**-0.5)).sum() for t in grid])
    density /= density.sum()
    centre = (density * grid).sum()
    predicted = posterior_predictive(found, new)
    assert float(predicted.mean[0]) == pytest.approx(centre, rel=1e-3)
    assert float(predicted.variance[0]) == pytest.approx((density * (grid - centre) ** 2).sum(), rel=1e-3)


def test_against_bayesian_ridge_at_the_precisions_it_finds():
    """With flat hyper-priors it climbs to a maximum of the evidence, where its own derivative is 0."""
    design, targets = (array.astype(np.float64) for array in problem(40, 4))
    flat = dict(alpha_1=0.0, alpha_2=0.0, lambda_1=0.0, lambda_2=0.0)
    theirs = BayesianRidge(fit_intercept=False, compute_score=True, tol=1e-10, max_iter=2000, **flat)
    theirs.fit(design, targets)

    def evidence(log_precisions):
        alpha, beta = jnp.exp(log_precisions)
        return linear_log_evidence(design, targets, prior_precision=alpha, noise_precision=beta)

    found = linear_posterior(design, targets, prior_precision=theirs.lambda_, noise_precision=theirs.alpha_)
    np.testing.assert_allclose(found.mean, theirs.coef_, rtol=1e-4)
    np.testing.assert_allclose(found.covariance, theirs.sigma_, rtol=1e-3, atol=1e-6)
    mean, deviation = theirs.predict(design[:5], return_std=True)
    predicted = posterior_predictive(found, design[:5])
    np.testing.assert_allclose(predicted.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(predicted.variance), deviation, rtol=1e-4)
    top = jnp.log(jnp.array([theirs.lambda_, theirs.alpha_]))
    value, slope = jax.value_and_grad(evidence)(top)
    assert float(value) == pytest.approx(theirs.scores_[-1], rel=1e-4)
    np.testing.assert_allclose(slope, 0, atol=2e-3)
    away = jax.grad(evidence)(top + 0.5)
    assert np.linalg.norm(away) > 1


def test_examples_one_by_one_or_together():
    """Bishop 2006, section 3.3.1: the posterior after some examples is the prior of the next."""
    design, targets = problem(6, 3)
    together = linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA)
    mean, precision = np.zeros(3), ALPHA * np.eye(3)
    for row, target in zip(design.astype(np.float64), targets, strict=True):
        updated = precision + BETA * np.outer(row, row)
        mean = np.linalg.solve(updated, precision @ mean + BETA * row * target)
        precision = updated
    np.testing.assert_allclose(together.mean, mean, rtol=1e-4)
    np.testing.assert_allclose(together.factor.T @ together.factor, precision, rtol=1e-4, atol=1e-5)


def test_predictive_intervals_cover_what_they_say():
    """Weights from the prior, so that 95 % is exact: 4,000 targets, 5 binomial errors; false alarm 6e-7.

    The control leaves the uncertainty of the weights out and must cover too little.
    """
    num_problems, num_weights = 4000, 6
    keys = jax.random.split(jax.random.key(0), num_problems)

    def covered(key):
        draws = [jax.random.normal(k, shape) for k, shape in zip(
            jax.random.split(key, 4), [(num_weights,), (8, num_weights), (8,), ()], strict=True)]  # fmt: skip
        weights, design, noise, last = ALPHA**-0.5 * draws[0], draws[1], BETA**-0.5 * draws[2], BETA**-0.5 * draws[3]
        targets = design @ weights + noise
        posterior = linear_posterior(design[:7], targets[:7], prior_precision=ALPHA, noise_precision=BETA)
        mean, variance = posterior_predictive(posterior, design[7:])
        error = jnp.abs(design[7] @ weights + last - mean[0])
        return error < 1.959964 * jnp.sqrt(variance[0]), error < 1.959964 * BETA**-0.5

    inside, without_weights = (np.mean(flags) for flags in jax.jit(jax.vmap(covered))(keys))
    error = np.sqrt(0.95 * 0.05 / num_problems)
    assert abs(inside - 0.95) < 5 * error
    assert without_weights < 0.95 - 10 * error


def test_a_badly_conditioned_design_in_single_precision():
    """Polynomials of degree 9: the normal equations in float32 lose what the factor keeps."""
    design = vandermonde(50, 9)
    targets = np.sin(3 * design[:, 1]).astype(np.float32)
    mean, covariance = in_double(design, targets, alpha=1e-4, beta=100.0)
    found = linear_posterior(design, targets, prior_precision=1e-4, noise_precision=100.0)
    ours = np.linalg.norm(found.mean - mean) / np.linalg.norm(mean)
    product = (100 * design.T @ design + np.float32(1e-4) * np.eye(10, dtype=np.float32)).astype(np.float32)
    normal = np.linalg.solve(product, 100 * design.T @ targets)
    assert ours < 1e-4
    assert np.linalg.norm(normal - mean) / np.linalg.norm(mean) > 5 * ours
    new = vandermonde(7, 9)
    exact = 0.01 + np.einsum("ni,ij,nj->n", new.astype(np.float64), covariance, new.astype(np.float64))
    variance = posterior_predictive(found, new).variance
    np.testing.assert_allclose(variance, exact, rtol=1e-3)
    assert np.all(variance >= 0.01)


def test_fewer_examples_than_weights_and_an_exact_fit():
    design, targets = problem(3, 5)
    found = linear_maximum_likelihood(design, targets)
    np.testing.assert_allclose(found.weights, np.linalg.pinv(design) @ targets, rtol=1e-4, atol=1e-6)
    assert float(found.precision) > 1e6
    assert np.isposinf(linear_maximum_likelihood(np.ones((2, 1)), np.zeros(2)).precision)


def test_compiled_mapped_and_in_any_precision():
    design, targets = problem()
    many = jnp.stack([targets, 2 * targets], axis=1)
    fit = lambda t, alpha: linear_posterior(design, t, prior_precision=alpha, noise_precision=BETA)  # noqa: E731
    mapped = jax.jit(jax.vmap(fit, in_axes=(1, 0)))(many, jnp.array([ALPHA, 2.0]))
    for i, alpha in enumerate((ALPHA, 2.0)):
        expected, covariance = in_double(design, np.asarray(many[:, i]), alpha=alpha)
        np.testing.assert_allclose(mapped.mean[i], expected, rtol=1e-4)
        np.testing.assert_allclose(jax.tree.map(lambda leaf, i=i: leaf[i], mapped).covariance, covariance, rtol=1e-4)
    likeliest = jax.vmap(linear_maximum_likelihood, in_axes=(None, 1))(design, many)
    np.testing.assert_allclose(likeliest.weights[1], 2 * likeliest.weights[0], rtol=1e-5)
    coarse = linear_posterior(jnp.asarray(design, jnp.bfloat16), jnp.asarray(targets, jnp.bfloat16),
                              prior_precision=ALPHA, noise_precision=BETA)  # fmt: skip
    assert coarse.mean.dtype == jnp.float32
    np.testing.assert_allclose(coarse.mean, in_double(design, targets)[0], rtol=0.1, atol=0.05)
    counts = linear_maximum_likelihood(np.array([[1], [2], [3]]), np.array([2, 4, 7]))
    np.testing.assert_allclose(counts.weights, [31 / 14], rtol=1e-6)


def test_double_precision_is_kept():
    from experiments.building_blocks.propagation import double_precision

    with double_precision():
        design, targets = (jnp.asarray(array, jnp.float64) for array in problem())
        found = linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA)
        assert found.mean.dtype == jnp.float64
        mean, covariance = in_double(np.asarray(design), np.asarray(targets))
        np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(found.covariance, covariance, rtol=1e-11)


def test_a_target_that_is_not_a_number_is_seen():
    design, targets = problem()
    targets[3] = np.nan
    assert np.isnan(linear_posterior(design, targets, prior_precision=ALPHA, noise_precision=BETA).mean).all()
    assert np.isnan(linear_log_evidence(design, targets, prior_precision=ALPHA, noise_precision=BETA))
    assert np.isnan(linear_maximum_likelihood(design, targets).precision)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, t: linear_maximum_likelihood(x[0], t),
            r"design: expected shape \(examples, weights\), at least \(1, 1\); got \(4,\)\. Make a column",
        ),
        (lambda x, t: linear_maximum_likelihood(x[:0], t[:0]), r"at least \(1, 1\); got \(0, 4\)"),
        (lambda x, t: ridge_regression(x[:, :0], t, strength=1.0), r"at least \(0, 1\); got \(12, 0\)"),
        (
            lambda x, t: ridge_regression(x, t[:, None], strength=1.0),
            r"targets: expected one for each row of design, \(12,\); got \(12, 1\)\. Pass t\[:, 0\]",
        ),
        (lambda x, t: ridge_regression(x, t, strength=-1.0), r"strength: expected one finite number >= 0; got -1.0"),
        (
            lambda x, t: linear_posterior(x, t, prior_precision=0, noise_precision=1.0),
            r"prior_precision: expected one finite number > 0; got 0. It is 1 / variance of the weights",
        ),
        (
            lambda x, t: linear_log_evidence(x, t, prior_precision=1.0, noise_precision=np.inf),
            r"noise_precision: expected one finite number > 0; got inf. It is 1 / variance of the noise",
        ),
        (
            lambda x, t: linear_log_likelihood(t, x, t, precision=1.0),
            r"weights: expected one for each column of design, \(4,\); got \(12,\)\. Give a column of ones",
        ),
        (
            lambda x, t: linear_log_likelihood(x[0], x, t, precision=-1),
            r"precision: expected one finite number > 0; got -1",
        ),
        (
            lambda x, t: posterior_predictive(
                linear_posterior(x, t, prior_precision=1.0, noise_precision=1.0), x[:, :2]
            ),
            r"design: expected \(examples, 4\), as the posterior was made with; got \(12, 2\)\. Apply the same basis",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(*problem())
