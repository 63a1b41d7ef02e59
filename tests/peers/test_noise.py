"""Dropout and noise: on equal inputs the values that occur, otherwise the distributions of 200,000 draws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdl import activations, regularizers

pytestmark = pytest.mark.peers

NUMBER = 200_000
RATES = (0.1, 0.5, 0.8)


def occurring(noisy):
    return np.unique(np.asarray(noisy, np.float32))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ["dropout", "alpha_dropout"])
def test_the_two_values_of_dropout_and_how_often_they_occur(torch, agree, name, rate):
    ours = getattr(regularizers, name)(jax.random.key(0), jnp.full(NUMBER, 0.7), rate=rate)
    theirs = getattr(torch.nn.functional, name)(torch.full((NUMBER,), 0.7), rate, training=True).numpy()
    compared = "the values of kept and dropped units"
    agree(f"regularizers.{name}", "torch", compared, occurring(ours), occurring(theirs), remark="rate: to drop")
    shares = [np.mean(np.asarray(noisy, np.float32) == occurring(noisy).max()) for noisy in (ours, theirs)]
    interval = 5 * math.sqrt(2 * 0.25 / NUMBER)
    agree(f"regularizers.{name}", "torch", "share kept", *shares, rtol=interval, scale=1.0)


@pytest.mark.parametrize("rate", RATES)
def test_alpha_dropout_of_keras(keras, agree, rate):
    ours = regularizers.alpha_dropout(jax.random.key(0), jnp.full(NUMBER, 0.7), rate=rate)
    theirs = keras.layers.AlphaDropout(rate, seed=1)(np.full(NUMBER, 0.7, np.float32), training=True)
    compared = "the values of kept and dropped units"
    agree("regularizers.alpha_dropout", "keras", compared, occurring(ours), occurring(theirs))


@pytest.mark.parametrize("rate", RATES)
def test_gaussian_dropout_and_noise(keras, agree, rate):
    x = np.full(NUMBER, 2.0, np.float32)
    for name, ours, layer in (
        ("gaussian_dropout", regularizers.gaussian_dropout(jax.random.key(1), jnp.asarray(x), rate=rate),
         keras.layers.GaussianDropout(rate, seed=2)),
        ("gaussian_noise", regularizers.gaussian_noise(jax.random.key(2), jnp.asarray(x), stddev=rate),
         keras.layers.GaussianNoise(rate, seed=3)),
    ):  # fmt: skip
        ours, theirs = (np.asarray(noisy, np.float64) for noisy in (ours, layer(x, training=True)))
        compared = "distribution function"
        assert_same(agree, f"regularizers.{name}", "keras", compared, ours, theirs)
        interval = 5 / math.sqrt(NUMBER)  # five times the error of the difference of two deviations
        agree(f"regularizers.{name}", "keras", "standard deviation", ours.std(), theirs.std(), rtol=interval)


@pytest.mark.parametrize("bounds", [(1 / 8, 1 / 3), (0.0, 1.0)])
def test_the_slopes_of_rrelu_in_training(torch, agree, bounds):
    lower, upper = bounds
    ours = activations.rrelu(-jnp.ones(NUMBER), key=jax.random.key(3), lower=lower, upper=upper)
    theirs = torch.nn.functional.rrelu(-torch.ones(NUMBER), lower, upper, training=True)
    assert_same(agree, "activations.rrelu", "torch", "distribution function of the slopes", ours, theirs.numpy())
    compared = "greatest slope"
    agree("activations.rrelu", "torch", compared, -np.min(ours), -np.min(theirs.numpy()), rtol=30 / NUMBER)


def assert_same(agree, function, peer, compared, ours, theirs):
    """Kolmogorov and Smirnov's statistic of two samples, with a false alarm in a million."""
    statistic = stats.ks_2samp(np.asarray(ours), np.asarray(theirs), method="asymp").statistic
    allowed = math.sqrt(-math.log(1e-6 / 2) / 2) * math.sqrt(2 / NUMBER)
    agree(function, peer, compared, statistic, 0.0, rtol=allowed, scale=1.0)
