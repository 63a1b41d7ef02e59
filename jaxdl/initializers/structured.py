"""Initializers of a given structure: identity, sparse, and one kernel a position."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks

Initializer = Any


def identity(scale: float | jax.Array = 1.0) -> Initializer:
    """`scale` times the identity: input j goes to unit j.

    A kernel (in, out) that is not square is padded with zeros; a convolution kernel (..., in, out) has the identity at
    its middle tap (index (size - 1) // 2 of each window axis) and zeros elsewhere. Meant for the recurrent matrix of a
    ReLU network, whose other weights are small Gaussians; the key is not used.

    Args:
      scale: a number or a traced scalar.

    Returns:
      `init(key, shape, dtype) -> array`.

    Raises:
      ValueError: on use, a shape of fewer than two axes.

    References:
      Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", 2015.
    """

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        _check_kernel(shape)
        eye = scale * jnp.eye(*shape[-2:], dtype=dtype)
        middle = tuple((size - 1) // 2 for size in shape[:-2])
        return jnp.zeros(shape, dtype).at[middle].set(eye.astype(dtype))

    return init


def sparse(num_nonzero: int = 15, *, stddev: float | jax.Array = 1.0) -> Initializer:
    """Exactly `num_nonzero` incoming weights of every unit are N(0, stddev^2), the others 0; biases stay 0.

    The connections are drawn without replacement, for each unit by itself, so that units stay distinct and the size of
    a unit's input does not grow with the layer.

    Args:
      num_nonzero: k, a whole number >= 1; at most fan_in.
      stddev: of the values, > 0.

    Returns:
      `init(key, shape, dtype) -> array`.

    Raises:
      ValueError: `num_nonzero` or `stddev` out of range; on use, a kernel with fewer than k incoming weights a unit.

    References:
      Martens, "Deep learning via Hessian-free optimization", 2010, section 5.
    """
    checks.whole_number(num_nonzero=num_nonzero, minimum=1, remedy="Martens takes 15.")
    checks.number(stddev=stddev, minimum=0, exclusive=True, remedy="1 is the default.")

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        _check_kernel(shape)
        fan_in, units = math.prod(shape[:-1]), shape[-1]
        if fan_in < num_nonzero:
            raise ValueError(
                f"num_nonzero: expected at most the {fan_in} incoming weights of a unit of the kernel {tuple(shape)}; "
                f"got {num_nonzero}. Lower it for this layer."
            )
        place_key, value_key = jax.random.split(key)
        # The k largest of so many uniforms stand at k distinct places, each set of places as likely as any other.
        _, places = jax.lax.top_k(jax.random.uniform(place_key, (units, fan_in)), num_nonzero)
        values = stddev * jax.random.normal(value_key, (units, num_nonzero), dtype)
        kernel = jnp.zeros((units, fan_in), dtype).at[jnp.arange(units)[:, None], places].set(values)
        return kernel.T.reshape(shape)

    return init


def per_position(kernel_init: Initializer) -> Initializer:
    """`kernel_init` for every position of a locally connected layer by itself.

    `flax.linen.ConvLocal` has a kernel (*positions, window * in, out). An initializer that looks at fan_in takes the
    positions for a window: `he_normal` then gives weights too small by the root of their number, at 55 x 55 positions
    by 55. Here each position draws a kernel (window * in, out) of its own.

    Args:
      kernel_init: the initializer of one position's kernel.

    Returns:
      `init(key, shape, dtype) -> array`.

    Example:
      >>> init = per_position(jax.nn.initializers.orthogonal())
      >>> init(jax.random.key(0), (5, 5, 27, 8)).shape
      (5, 5, 27, 8)

    Raises:
      ValueError: on use, a shape of fewer than two axes.
    """

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        _check_kernel(shape)
        keys = jax.random.split(key, math.prod(shape[:-2]))
        return jax.vmap(lambda key: kernel_init(key, shape[-2:], dtype))(keys).reshape(shape)

    return init


def _check_kernel(shape: Any) -> None:
    if len(shape) < 2:
        raise ValueError(
            f"shape: expected that of a kernel, (..., in, out); got {tuple(shape)}. "
            "Use zeros or normal for vectors such as biases."
        )
