import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import gradient_statistics, noise_scale
from tests.reference import example_gradients as reference

# y = <w*, x> + sigma e with x of N(0, I): g = (<delta, x> - sigma e) x, delta = w - w*.
DIM, SIGMA = 5, 0.7
DELTA = jnp.array([0.3, -0.2, 0.1, 0.4, 0.0])
SQUARED = float(DELTA @ DELTA)  # |G|^2
TRACE = (DIM + 1) * SQUARED + SIGMA**2 * DIM  # tr(Sigma)


def regression(delta, batch):
    x, noise = batch
    return 0.5 * jnp.square(x @ delta - noise)


def sample(key, size):
    x_key, noise_key = jax.random.split(key)
    return jax.random.normal(x_key, (size, DIM)), SIGMA * jax.random.normal(noise_key, (size,))


def linear(w, x):
    return x @ w


@pytest.fixture(scope="module")
def regressions():
    """1000 independent measurements with 300 examples each."""
    keys = jax.random.split(jax.random.key(1), 1000)
    return jax.jit(jax.vmap(lambda key: noise_scale(regression, DELTA, sample(key, 300), batch_size=128)))(keys)


def test_unbiased_in_linear_regression(regressions):
    """Two z-tests at 4 standard errors: a false alarm in 1 of 8000 runs with other keys."""
    for values, expected in ((regressions.gradient_squared, SQUARED), (regressions.variance, TRACE)):
        values = np.asarray(values, np.float64)
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected) < 4 * error
        assert error < 0.01 * expected, "the test sees a bias of 4 %"


def test_the_interval_covers_in_linear_regression(regressions):
    """Of 1000 intervals at 95 %: 922 to 972 is beyond 4 standard deviations only below; a false alarm in 1e4."""
    scale = TRACE / SQUARED
    covered = np.mean((regressions.low <= scale) & (scale <= regressions.high))
    assert 0.922 <= covered <= 0.972
    assert np.all(regressions.low < regressions.scale)
    assert np.all(regressions.scale < regressions.high)


def test_unbiased_over_all_samples_of_a_population():
    """Every ordered triple with replacement of four gradients, and their exact mean and covariance."""
    population = np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, 4.0], [2.0, 2.0]], np.float32)
    triples = population[np.array(list(itertools.product(range(4), repeat=3)))]
    found = jax.vmap(lambda x: noise_scale(linear, jnp.ones(2), x, batch_size=2))(triples)
    assert float(jnp.mean(found.variance)) == pytest.approx(population.var(0).sum(), rel=1e-5)
    assert float(jnp.mean(found.gradient_squared)) == pytest.approx((population.mean(0) ** 2).sum(), rel=1e-4)


def moments(flat):
    """S and Q as in the paper's appendix A.1, with batches of 1 and of N."""
    count = len(flat)
    small, large = (flat**2).sum(1).mean(), (flat.mean(0) ** 2).sum()
    signal = (count * large - 1 * small) / (count - 1)
    return (small - large) / (1 / 1 - 1 / count), signal


def test_estimates_and_interval_from_their_definitions(small_net):
    """The jackknife is done by leaving examples out, and the ends of the interval are put into Fieller's inequality."""
    _, params, batch = small_net
    flat = reference.flat(reference.gradients(params, batch)) + 1
    found = noise_scale(linear, jnp.ones(flat.shape[1]), jnp.asarray(flat, jnp.float32), batch_size=4, confidence=0.9)
    noise, signal = moments(flat)
    np.testing.assert_allclose([found.variance, found.gradient_squared], [noise, signal], rtol=1e-4)
    assert float(found.scale) == pytest.approx(noise / signal, rel=1e-4)
    without = np.array([moments(np.delete(flat, i, 0)) for i in range(len(flat))])
    covariance = (len(flat) - 1) * np.cov(without.T, ddof=0)
    for end in (float(found.low), float(found.high)):
        spread = np.array([1, -end]) @ covariance @ np.array([1, -end])
        assert (noise - end * signal) ** 2 == pytest.approx(1.6448536**2 * spread, rel=1e-2)


@pytest.mark.parametrize("size", [1, 5, 11, 50])
def test_the_batch_size_changes_nothing(small_net, size):
    losses, params, batch = small_net
    found = noise_scale(losses, params, batch, batch_size=size)
    flat = reference.flat(reference.gradients(params, batch))
    np.testing.assert_allclose([found.variance, found.gradient_squared], moments(flat), rtol=1e-3)
    statistics = gradient_statistics(losses, params, batch)
    assert float(found.variance) == pytest.approx(float(statistics.variance.sum()), rel=1e-4)


def test_without_signal_the_scale_has_no_upper_end():
    x = np.random.RandomState(0).randn(200, 6).astype(np.float32)
    found = noise_scale(linear, jnp.ones(6), x - x.mean(0), batch_size=64)
    assert float(found.gradient_squared) < 0
    assert np.isinf(found.scale)
    assert np.isinf(found.high)
    k = 200 / float(found.low)
    assert k**2 == pytest.approx(1.959964**2 * (4 * k + 2), rel=1e-5)
    small = noise_scale(linear, jnp.ones(6), x - x.mean(0) + 0.08, batch_size=64)
    assert np.isfinite(small.scale)
    assert np.isinf(small.high)


def test_the_interval_covers_where_there_is_hardly_any_signal():
    """As many examples as the scale, 50 dimensions: at most 2.5 % wrong on a side; 4.5 % of 1000 is a 1e-4 alarm."""
    x = jnp.eye(50)[:1][None] / jnp.sqrt(2.0) + jax.random.normal(jax.random.key(3), (1000, 100, 50))
    found = jax.jit(jax.vmap(lambda x: noise_scale(linear, jnp.ones(50), x, batch_size=100)))(x)
    assert np.mean(found.low > 100) < 0.045
    assert np.mean(found.high < 100) < 0.045
    assert np.median(found.low) > 40, "and it says something"


def test_without_noise_the_scale_is_zero_and_without_gradient_there_is_none():
    same = noise_scale(linear, jnp.ones(2), np.ones((5, 2), np.float32), batch_size=2)
    np.testing.assert_allclose([same.scale, same.low, same.high], 0, atol=1e-5)
    assert np.isnan(noise_scale(linear, jnp.ones(2), np.zeros((5, 2), np.float32), batch_size=2).scale)
    x = np.ones((5, 2), np.float32)
    x[3, 0] = np.nan
    broken = noise_scale(linear, jnp.ones(2), x, batch_size=2)
    assert np.isnan([broken.scale, broken.low, broken.high]).all()


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_the_unit_of_the_loss_changes_nothing(size):
    x = np.random.RandomState(0).randn(50, 3).astype(np.float32) + 1
    plain = noise_scale(linear, jnp.ones(3), x, batch_size=16)
    scaled = noise_scale(lambda w, x: size * (x @ w), jnp.ones(3), x, batch_size=16)
    np.testing.assert_allclose([scaled.scale, scaled.low, scaled.high], [plain.scale, plain.low, plain.high], rtol=1e-4)


def test_steps_and_examples_at_the_scale_are_twice_the_fewest():
    x = np.random.RandomState(0).randn(50, 3).astype(np.float32) + 1
    found = noise_scale(linear, jnp.ones(3), x, batch_size=16)
    assert float(found.steps(found.scale)) == float(found.examples(found.scale)) == 2
    assert float(found.steps(1e9)) == pytest.approx(1, rel=1e-6)


def test_half_precision(small_net):
    losses, params, batch = small_net
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    whole = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    found = noise_scale(losses, half, batch, batch_size=4)
    assert found.scale.dtype == jnp.float32
    np.testing.assert_allclose(found.variance, noise_scale(losses, whole, batch, batch_size=4).variance, rtol=0.05)


def test_errors(small_net):
    losses, params, (x, y) = small_net
    with pytest.raises(ValueError, match=r"data: expected 3 or more examples to vary; got 2\. Pass more of them\."):
        noise_scale(losses, params, (x[:2], y[:2]), batch_size=1)
    with pytest.raises(ValueError, match=r"batch_size: expected a whole number >= 1; got 0"):
        noise_scale(losses, params, (x, y), batch_size=0)
    with pytest.raises(ValueError, match=r"confidence: expected one finite number > 0 and < 1; got 1\.0\. 0\.95 is"):
        noise_scale(losses, params, (x, y), batch_size=4, confidence=1.0)
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum"):
        noise_scale(lambda p, b: losses(p, b) - jnp.mean(losses(p, b)), params, (x, y), batch_size=4)
