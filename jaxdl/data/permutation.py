"""One fixed permutation of the pixels of every example."""

import math

import jax
import jax.numpy as jnp

from jaxdl import checks


def permute_pixels(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x' = R x for one random permutation matrix R of the pixels, the same for all examples.

    A first layer with W' = W R^T gives the same outputs, so a perceptron cannot tell x' from x; the kernels (in, out)
    of this library are W^T, and `kernel[permutation]` is the permuted one. R is orthogonal; it is a rotation only
    where the permutation is even. The permutation depends on the key and on the shape of an example alone: the same
    key permutes another split alike.

    Args:
        key: one typed PRNG key.
        x: examples, shape (N, D), (N, H, W), or (N, H, W, C), where the channels of a pixel stay together.

    Returns:
        x': the shape and dtype of x.
        permutation: of the flattened features, int32, shape (D,) with D = H W C:
            `x'.reshape(N, D) == x.reshape(N, D)[:, permutation]`, and R is `jnp.eye(D)[permutation]`.

    Raises:
        TypeError: `key` is not one typed key.
        ValueError: x of another number of axes.

    References:
        Goodfellow et al., "An empirical investigation of catastrophic forgetting in gradient-based neural networks",
        2013 (permuted MNIST).
    """
    checks.one_key(key)
    shape = jnp.shape(x)
    if len(shape) not in (2, 3, 4):
        raise ValueError(
            f"x: expected shape (N, features), (N, H, W) or (N, H, W, C); got {shape}. Add the axis of examples."
        )
    num_channels = shape[3] if len(shape) == 4 else 1
    num_features = math.prod(shape[1:])
    pixels = jax.random.permutation(key, num_features // max(num_channels, 1))
    permutation = (pixels[:, None] * num_channels + jnp.arange(num_channels)[None, :]).ravel().astype(jnp.int32)
    return jnp.reshape(jnp.asarray(x).reshape(shape[0], num_features)[:, permutation], shape), permutation
