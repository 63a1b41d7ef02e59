"""Images moved by some pixels, and a small convolutional network that is not lost at once."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn


class SmallCNN(nn.Module):
    """Convolutions 3 x 3 with ReLU and max-pooling 2 x 2 each, and one linear layer.

    Input `(batch, H, W, C)`, output logits `(batch, num_classes)`; layers `Conv_0`, ..., `Dense_0`.

    Attributes:
      channels: of each convolution.
      num_classes: of the output.
    """

    channels: Sequence[int] = (8, 16)
    num_classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images."""
        for count in self.channels:
            x = nn.relu(nn.Conv(count, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(self.num_classes)(x.reshape(x.shape[0], -1))


def shifted(x: jax.Array, pixels: int, *, axis: int = 2, edge: Literal["zeros", "circular"] = "zeros") -> jax.Array:
    """Images `(batch, H, W, C)` moved by some pixels, to the right for positive ones along axis 2.

    Args:
      x: images.
      pixels: by how many; at most the length of the axis either way.
      axis: 1 for rows, 2 for columns.
      edge: what comes in at the edge: zeros, or what went out at the other.
    """
    moved = jnp.roll(x, pixels, axis)
    if edge == "circular":
        return moved
    length = x.shape[axis]
    places = jnp.arange(length)
    inside = places >= pixels if pixels >= 0 else places < length + pixels
    return moved * jnp.expand_dims(inside, [i for i in range(x.ndim) if i != axis]).astype(x.dtype)
