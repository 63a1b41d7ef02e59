"""The convolutional networks of other libraries' examples for MNIST, with their optimizers."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxdl import initializers, models, optimizers


class EquinoxCNN(nn.Module):
    """A convolution 4x4 of 3 maps, max-pooling 2x2 with stride 1, ReLU, dense 512 sigmoid, dense 64 ReLU, ten logits.

    Weights and biases start from U(+-1/sqrt(fan_in)). Pixels in [0, 1] are taken to [-1, 1] first.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, 10)` of images `(batch, height, width, 1)`."""
        x = 2 * x - 1
        conv = nn.Conv(3, (4, 4), padding="VALID", **started(16))
        x = nn.relu(nn.max_pool(conv(x), (2, 2), strides=(1, 1)))
        x = x.reshape(x.shape[0], -1)
        x = nn.sigmoid(nn.Dense(512, **started(x.shape[-1]))(x))
        x = nn.relu(nn.Dense(64, **started(512))(x))
        return nn.Dense(10, **started(64))(x)


def started(fan_in: int) -> dict[str, Any]:
    """Initializers U(+-1/sqrt(fan_in)) of kernel and bias."""
    bound = 1 / math.sqrt(fan_in)
    uniform = lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)  # noqa: E731
    return {"kernel_init": initializers.standard_uniform(), "bias_init": uniform}


class Example(NamedTuple):
    """A network, its optimizer, how long it is trained (updates, or epochs where they are 0), and what it reached."""

    model: nn.Module
    tx: optax.GradientTransformation
    batch_size: int
    steps: int
    epochs: int
    published: float


EQUINOX, KERAS, FLAX = "Equinox's example", "Keras's example", "Flax's example"


def examples() -> dict[str, Example]:
    """All of them."""
    averaged = models.SmallCNN(
        padding="SAME", pool="average", pool_after="each", hidden=(256,), conv_dropout_rate=0.0, dropout_rate=0.0
    )
    keras = models.SmallCNN(kernel_init=initializers.glorot_uniform())
    return {
        EQUINOX: Example(EquinoxCNN(), optax.adamw(3e-4), 64, 300, 0, 90.4),
        KERAS: Example(keras, optimizers.adadelta(1.0, rho=0.95), 128, 0, 12, 99.25),
        FLAX: Example(averaged, optimizers.momentum(0.1, momentum=0.9), 128, 0, 10, 99.14),
    }
