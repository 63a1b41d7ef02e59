"""The fixed point of SELU networks (catalogue T45, references X04)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import activations, layers


def moments(rate, activation=activations.selu):
    """Mean and variance after each of 32 layers of 512 units, LeCun's untruncated normal, standard inputs."""
    kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    layer = nn.Sequential(
        [nn.Dense(512, kernel_init=kernel_init), activation, layers.AlphaDropout(rate, deterministic=False)]
    )

    def one(x, key):
        init_key, dropout_key = jax.random.split(key)
        x = layer.apply(layer.init(init_key, x), x, rngs={"dropout": dropout_key})
        return x, (jnp.mean(x), jnp.var(x))

    x = jax.random.normal(jax.random.key(0), (256, 512))
    _, values = jax.lax.scan(one, x, jax.random.split(jax.random.key(1), 32))
    return np.asarray(values)


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_moments_stay_at_zero_and_one(rate):
    means, variances = moments(rate)
    assert np.all(np.abs(means) < 0.1)
    assert np.all(np.abs(variances - 1) < 0.2)


def test_those_of_relu_do_not():
    means, variances = moments(0.0, activations.relu)
    assert variances[-1] < 1e-6  # halved 32 times
    assert means[0] > 0.1
