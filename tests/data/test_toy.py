"""Toy problems: moments and separability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxdl.data import one_hot
from jaxdl.data.toy import noisy_curve, random_regression, two_dots, xor

KEY = jax.random.key(0)


def test_xor_is_exclusive_or_and_not_linear():
    x, y = xor()
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert [int(a) ^ int(b) for a, b in x] == y.tolist()
    # The best linear fit of y is the constant 1/2; with the product as a feature it is exact.
    linear = np.column_stack([x, np.ones(4)])
    np.testing.assert_allclose(linear @ np.linalg.lstsq(linear, y, rcond=None)[0], 0.5)
    product = np.column_stack([linear, x.prod(1)])
    np.testing.assert_allclose(product @ np.linalg.lstsq(product, y, rcond=None)[0], y, atol=1e-12)


def test_two_dots_have_the_centres_deviation_and_error_they_state():
    n = 20_000
    x, y = two_dots(KEY, num_examples=n, distance=3.0, deviation=1.5)
    assert x.dtype == jnp.float32
    assert y.dtype == jnp.int32
    assert y.sum() == n // 2
    # Means of n / 2 = 10,000 draws, deviation 1.5: five standard errors of 0.015; missed once in 400,000 times.
    for label, centre in ((0, -1.5), (1, 1.5)):
        cloud = np.asarray(x[y == label])
        np.testing.assert_allclose(cloud.mean(0), [centre, 0], atol=5 * 0.015)
        np.testing.assert_allclose(np.cov(cloud.T), 2.25 * np.eye(2), atol=5 * 2.25 * np.sqrt(2 / 10_000))
    error = np.mean((np.asarray(x[:, 0]) > 0) != np.asarray(y))
    share = norm.cdf(-1.0)
    assert abs(error - share) < 5 * np.sqrt(share * (1 - share) / n)


def test_two_dots_without_deviation_and_of_odd_number():
    x, y = two_dots(KEY, num_examples=5, distance=4.0, deviation=0.0)
    np.testing.assert_array_equal(x, [[-2, 0], [2, 0], [-2, 0], [2, 0], [-2, 0]])
    assert y.tolist() == [0, 1, 0, 1, 0]


def test_noise_has_the_precision():
    n = 20_000
    x, y = noisy_curve(KEY, num_examples=n, precision=25.0, function=jnp.cos, interval=(1.0, 3.0))
    assert x.shape == y.shape == (n, 1)
    assert x.dtype == y.dtype == jnp.float32
    noise = np.asarray(y - np.cos(x))
    # The variance is 1 / 25, its relative standard error sqrt(2 / n); five of them are missed once in 2 million times.
    assert np.var(noise) == pytest.approx(1 / 25, rel=5 * np.sqrt(2 / n))
    assert abs(noise.mean()) < 5 * 0.2 / np.sqrt(n)
    ordered = np.sort(np.asarray(x).ravel())
    assert ordered[0] >= 1
    assert ordered[-1] <= 3
    # Kolmogorov: a uniform sample departs by more than 2.3 / sqrt(n) once in 20,000 times.
    assert np.abs((ordered - 1) / 2 - np.arange(n) / n).max() < 2.3 / np.sqrt(n)
    assert abs(np.corrcoef(np.asarray(x).ravel(), noise.ravel())[0, 1]) < 5 / np.sqrt(n)


def test_infinite_precision_is_the_curve():
    x, y = noisy_curve(KEY, num_examples=9, precision=np.inf)
    np.testing.assert_allclose(y, np.sin(x), atol=1e-6)


def test_random_regression_is_the_listing_and_white():
    x, y = random_regression(KEY)
    assert x.shape == (64, 1000)
    assert y.shape == (64, 10)
    assert x.dtype == y.dtype == jnp.float32
    # 64,000 standard normal entries: standard errors 1 / sqrt(n) of the mean and sqrt(2 / n) of the variance.
    assert abs(float(x.mean())) < 5 / np.sqrt(64_000)
    assert abs(float(x.var()) - 1) < 5 * np.sqrt(2 / 64_000)
    assert abs(float(y.var()) - 1) < 5 * np.sqrt(2 / 640)
    assert np.isin(np.asarray(y), np.asarray(x)).mean() < 0.1  # keys of their own; 24 bits coincide now and then
    small = random_regression(KEY, num_examples=2, num_inputs=3, num_outputs=4)
    assert [part.shape for part in small] == [(2, 3), (2, 4)]


@pytest.mark.parametrize(
    "make",
    [
        lambda key: two_dots(key, num_examples=6),
        lambda key: noisy_curve(key, num_examples=6, precision=4.0),
        lambda key: random_regression(key, num_examples=3, num_inputs=2, num_outputs=1),
    ],
    ids=["two_dots", "noisy_curve", "random_regression"],
)
def test_the_key_decides(make, same_bytes):
    same_bytes(make(KEY), make(KEY))
    assert not np.array_equal(make(KEY)[0], make(jax.random.key(1))[0])
    np.testing.assert_allclose(jax.jit(make)(KEY)[0], make(KEY)[0], rtol=1e-6)
    with pytest.raises(TypeError, match="key: expected one typed key"):
        make(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_dots(KEY, num_examples=1), "num_examples: expected a whole number >= 2; got 1"),
        (
            lambda: two_dots(KEY, num_examples=4, distance=-1.0),
            "distance: expected one finite number >= 0; got -1.0. Use 4",
        ),
        (
            lambda: two_dots(KEY, num_examples=4, deviation=np.nan),
            "deviation: expected one finite number >= 0; got nan. Use 1",
        ),
        (lambda: noisy_curve(KEY, num_examples=0, precision=1.0), "num_examples: expected a whole number >= 1; got 0"),
        (lambda: noisy_curve(KEY, num_examples=4, precision=0.0), "precision: expected one number > 0; got 0.0. It is"),
        (
            lambda: noisy_curve(KEY, num_examples=4, precision=1.0, interval=(1.0, 1.0)),
            r"interval: expected \(low, high\) with low < high; got \(1.0, 1.0\)",
        ),
        (lambda: random_regression(KEY, num_inputs=0), "num_inputs: expected a whole number >= 1; got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_hot_is_that_of_jax():
    assert one_hot is jax.nn.one_hot
    np.testing.assert_array_equal(one_hot(jnp.array([2, 0]), 3), np.eye(3)[[2, 0]])
