"""Images moved by some pixels, and the small convolutional network that is tried on them."""

from typing import Literal

import jax
import jax.numpy as jnp

import jaxdl


def small_cnn(*features: int) -> jaxdl.models.SmallCNN:
    """Convolutions 3 x 3 with ReLU and max-pooling 2 x 2 each, and one linear layer."""
    return jaxdl.models.SmallCNN(
        features=features, padding="SAME", pool_after="each", hidden=(), conv_dropout_rate=0.0, dropout_rate=0.0
    )


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
