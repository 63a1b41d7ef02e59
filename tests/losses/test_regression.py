import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses

Y = np.random.RandomState(0).randn(5, 3, 2).astype(np.float32)
T = np.random.RandomState(1).randn(5, 3, 2).astype(np.float32)
ERRORS = {
    losses.squared_error: lambda f, t: (f - t) ** 2,
    losses.absolute_error: lambda f, t: np.abs(f - t),
    losses.quadratic_cost: lambda f, t: (f - t) ** 2 / 2,
    losses.mean_squared_error: lambda f, t: (f - t) ** 2 / 6,
}
each_error = pytest.mark.parametrize("loss", ERRORS, ids=lambda loss: loss.__name__)


def test_regression_losses_sum_over_all_axes_but_the_first():
    f, t = np.arange(12.0).reshape(2, 3, 2), np.ones((2, 3, 2))
    np.testing.assert_allclose(losses.squared_error(f, t), [((f[i] - 1) ** 2).sum() for i in range(2)])
    np.testing.assert_allclose(losses.absolute_error(f, t), [np.abs(f[i] - 1).sum() for i in range(2)])
    np.testing.assert_allclose(losses.squared_error(f[:, 0, 0], t[:, 0, 0]), [1.0, 25.0])


@pytest.mark.parametrize("loss", [losses.squared_error, losses.absolute_error])
def test_regression_targets_that_would_broadcast(loss):
    with pytest.raises(ValueError, match=r"targets: expected the shape of outputs, \(6, 1\).*got \(6,\)"):
        loss(np.zeros((6, 1)), np.zeros(6))


@each_error
def test_against_the_formula(loss):
    each = ERRORS[loss](Y.astype(np.float64), T)
    np.testing.assert_allclose(loss(Y, T), each.sum((1, 2)), rtol=1e-5)
    weights = np.abs(T[:, :, 0])
    np.testing.assert_allclose(loss(Y, T, weights=weights), (each * weights[..., None]).sum((1, 2)), rtol=1e-5)
    mask = T > 0
    spoiled = np.where(mask, T, np.nan)
    values, grads = jax.value_and_grad(lambda y: loss(y, spoiled, mask=mask).sum())(jnp.asarray(Y))
    assert float(values) == pytest.approx(float(each[mask].sum()), rel=1e-5)
    np.testing.assert_array_equal(np.asarray(grads)[~mask], 0)
    assert np.all(np.isfinite(grads))


@pytest.mark.parametrize(
    "loss", [*ERRORS, losses.cosine_proximity, losses.gaussian_nll], ids=lambda loss: loss.__name__
)
def test_whole_numbers_no_example_and_bfloat16(loss):
    y, t = np.array([[1, 0, 2], [3, 1, 1]]), np.array([[0, 5, 2], [1, 1, 4]])
    expected = loss(y.astype(np.float32), t.astype(np.float32))
    for kind in (np.int32, np.uint8):
        np.testing.assert_allclose(loss(y.astype(kind), t.astype(kind)), expected, rtol=1e-6)
    assert loss(jnp.zeros((0, 3)), jnp.zeros((0, 3))).shape == (0,)
    np.testing.assert_array_equal(loss(jnp.zeros((2, 0)), jnp.zeros((2, 0))), 0)
    assert loss(jnp.asarray(y, jnp.bfloat16), jnp.asarray(t, jnp.bfloat16)).dtype == jnp.bfloat16


def test_a_precision_beside_whole_numbers_is_not_rounded():
    ours = losses.gaussian_nll(np.array([[1, 2]]), np.array([[1, 0]]), log_precision=0.5)
    assert float(ours[0]) == pytest.approx(2 * np.exp(0.5) - 0.5 + np.log(2 * np.pi), rel=1e-6)


@each_error
def test_finite_with_finite_gradients_at_extreme_outputs(loss):
    values, grads = jax.value_and_grad(lambda y: loss(y, jnp.zeros((2, 1))).sum())(jnp.array([[1e4], [-1e4]]))
    assert np.isfinite(values)
    assert np.all(np.isfinite(grads))


def test_the_mean_over_outputs_has_a_smaller_gradient_than_the_quadratic_cost():
    ours, quadratic = (
        jax.grad(lambda y, loss=loss: loss(y, T).sum())(jnp.asarray(Y))
        for loss in (losses.mean_squared_error, losses.quadratic_cost)
    )
    np.testing.assert_allclose(ours, np.asarray(quadratic) * 2 / 6, rtol=1e-5)


def test_the_derivative_of_the_absolute_error_at_a_tie_is_0():
    assert float(jax.grad(lambda y: losses.absolute_error(y, jnp.ones(1)).sum())(jnp.ones(1))[0]) == 0


def test_cosine_proximity_is_minus_the_cosine():
    cosine = (Y * T).sum(-1) / (np.linalg.norm(Y, axis=-1) * np.linalg.norm(T, axis=-1))
    np.testing.assert_allclose(losses.cosine_proximity(Y, T), -cosine.sum(1), rtol=1e-5)
    for scale in (1e4, 1e-4):
        np.testing.assert_allclose(losses.cosine_proximity(scale * Y, T), -cosine.sum(1), rtol=1e-5)
    np.testing.assert_allclose(losses.cosine_proximity(Y[:, 0], Y[:, 0]), -1, rtol=1e-6)
    mask = cosine > 0
    np.testing.assert_allclose(losses.cosine_proximity(Y, T, mask=mask), -(mask * cosine).sum(1), rtol=1e-5)


def test_cosine_proximity_of_a_zero_vector_is_0_with_a_finite_gradient():
    values, grads = jax.value_and_grad(lambda y: losses.cosine_proximity(y, jnp.ones((1, 3))).sum())(jnp.zeros((1, 3)))
    assert float(values) == 0
    assert np.all(np.isfinite(grads))


def test_cosine_proximity_needs_an_axis_of_features():
    with pytest.raises(ValueError, match=r"targets: expected the shape of outputs, \(5,\), \(batch, ..., features\)"):
        losses.cosine_proximity(np.ones(5), np.ones(5))


@pytest.mark.parametrize("log_beta", [0.0, 1.5, -2.0])
def test_gaussian_nll_is_minus_the_log_density(log_beta):
    """E03b; the oracle is SciPy's density."""
    from scipy import stats

    expected = -stats.norm.logpdf(T, Y, np.exp(-log_beta / 2)).sum((1, 2))
    np.testing.assert_allclose(losses.gaussian_nll(Y, T, log_precision=log_beta), expected, rtol=1e-5)
    pair = (Y, np.full(Y.shape, log_beta, np.float32))
    np.testing.assert_allclose(losses.gaussian_nll(pair, T), expected, rtol=1e-5)


def test_the_best_precision_is_one_over_the_mean_squared_residual():
    """E03f: at beta = 1 / mean (t - y)^2 the derivative by ln beta is 0, and changes sign there."""
    best = -np.log(np.mean((T - Y) ** 2))
    slope = jax.grad(lambda b: losses.gaussian_nll(jnp.asarray(Y), jnp.asarray(T), log_precision=b).sum())
    assert abs(float(slope(best))) < 1e-4
    assert float(slope(best - 0.1)) < 0 < float(slope(best + 0.1))


def test_gaussian_nll_with_masked_positions():
    mask = T > 0
    spoiled = np.where(mask, T, np.nan)
    full = losses.gaussian_nll(Y, T, log_precision=0.5, weights=mask.astype(np.float32))
    np.testing.assert_allclose(losses.gaussian_nll(Y, spoiled, log_precision=0.5, mask=mask), full, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "mask"), [(losses.cosine_proximity, T[..., 0] > 0), (losses.gaussian_nll, T > 0)], ids=["cosine", "nll"]
)
def test_masked_positions_that_are_nan_leave_no_trace_in_the_gradient(loss, mask):
    spread = mask[..., None] if mask.ndim < T.ndim else mask
    spoiled_y, spoiled_t = (np.where(spread, array, np.nan) for array in (Y, T))
    values, grads = jax.value_and_grad(lambda y: loss(y, spoiled_t, mask=mask).sum())(jnp.asarray(spoiled_y))
    expected, clean = jax.value_and_grad(lambda y: loss(y, T, mask=mask).sum())(jnp.asarray(Y))
    assert float(values) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(grads, clean, rtol=1e-5)


def test_gaussian_nll_with_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"log_precision: expected a scalar or the shape of the means, \(5, 3, 2\)"):
        losses.gaussian_nll(Y, T, log_precision=np.zeros(2))
    with pytest.raises(ValueError, match=r"outputs: expected the means, or a pair .*got 3 arrays"):
        losses.gaussian_nll((Y, Y, Y), T)
    with pytest.raises(ValueError, match=r"targets: expected the shape of outputs"):
        losses.gaussian_nll(Y, T[:, 0])


@pytest.mark.parametrize("log_beta", [1e4, -1e4])
@pytest.mark.parametrize("residual", [0.0, 1e4])
def test_gaussian_nll_is_finite_with_finite_gradients_at_extreme_outputs(log_beta, residual):
    """A network may put out any logarithm of the precision."""
    pair = (jnp.full((1, 2), residual), jnp.full((1, 2), log_beta))
    values, grads = jax.value_and_grad(lambda pair: losses.gaussian_nll(pair, jnp.zeros((1, 2))).sum())(pair)
    assert np.isfinite(values)
    assert all(np.all(np.isfinite(grad)) for grad in grads)
