"""Small networks on which the procedures are tried."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxdl.layers import Dropout

DRAWS = np.random.RandomState(0)
X = DRAWS.randn(24, 4, 4, 1).astype(np.float32)
Y = DRAWS.randint(0, 3, 24).astype(np.int32)


class Net(nn.Module):
    """Convolution, batch norm, ReLU, flattening, dropout, two dense layers."""

    classes: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits of images."""
        x = nn.Conv(2, (3, 3), name="conv")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(x))
        x = Dropout(0.5, deterministic=not train)(x.reshape(x.shape[0], -1))
        x = nn.relu(nn.Dense(5, name="hidden")(x))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="upper")(x)
        return nn.Dense(self.classes, name="head")(x)


class Block(nn.Module):
    """Two dense layers in a module of their own."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Features of features."""
        return nn.Dense(3, name="second")(jnp.tanh(nn.Dense(4, name="first")(x)))


class Nested(nn.Module):
    """A block made in `setup`, a kernel of the root's own, and a head that shares nothing."""

    def setup(self) -> None:
        """Declares the layers."""
        self.block = Block()
        self.head = nn.Dense(2)
        self.scale = self.param("scale", nn.initializers.ones, (4,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Two outputs."""
        return self.head(self.block(x * self.scale[None]))
