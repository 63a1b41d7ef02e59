"""The patches of images that a convolution multiplies by its kernel, for any stride, dilation, padding and grouping."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp


def conv_patches(images: jax.Array, eqn: Any) -> jax.Array:
    """`(N, positions, groups, kernel places * channels of a group)` of images `(N, *spatial, channels)`.

    Args:
      images: operands of the convolution, spatial axes in its own order.
      eqn: a `conv_general_dilated` without groups of batches.
    """
    params = eqn.params
    numbers, num_groups = params["dimension_numbers"], params["feature_group_count"]
    kernel = [eqn.invars[1].aval.shape[axis] for axis in numbers.rhs_spec[2:]]
    out = [eqn.outvars[0].aval.shape[axis] for axis in numbers.out_spec[2:]]
    edges = [
        (low, high, every - 1) for (low, high), every in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    zero = jnp.zeros((), images.dtype)
    padded = jax.lax.pad(images, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    places = []
    for offsets in itertools.product(*map(range, kernel)):
        starts = [offset * apart for offset, apart in zip(offsets, params["rhs_dilation"], strict=True)]
        limits = [s + (n - 1) * stride + 1 for s, n, stride in zip(starts, out, params["window_strides"], strict=True)]
        limits = [max(s, limit) for s, limit in zip(starts, limits, strict=True)]
        channels = padded.shape[-1]
        strides = (1, *params["window_strides"], 1)
        places.append(jax.lax.slice(padded, (0, *starts, 0), (len(images), *limits, channels), strides))
    taken = jnp.stack(places, -2)
    size = math.prod(out)
    grouped = jnp.reshape(taken, (len(images), size, len(places), num_groups, -1))
    return jnp.reshape(jnp.swapaxes(grouped, 2, 3), (len(images), size, num_groups, -1))


def kernel_cotangent(images: jax.Array, cotangent: jax.Array, eqn: Any) -> jax.Array:
    """The cotangent of the kernel for some images: a product with patches, since XLA is slow at many small kernels.

    Args:
      images, cotangent: operand and cotangent of the output, axes as in the equation.
      eqn: a `conv_general_dilated` without groups of batches.
    """
    numbers, num_groups = eqn.params["dimension_numbers"], eqn.params["feature_group_count"]
    kernel = eqn.invars[1].aval.shape
    channels_last = lambda spec: (spec[0], *spec[2:], spec[1])  # noqa: E731
    patches = conv_patches(jnp.transpose(images, channels_last(numbers.lhs_spec)), eqn)
    outs = jnp.transpose(cotangent, channels_last(numbers.out_spec))
    outs = jnp.reshape(outs, (*patches.shape[:2], num_groups, -1))
    dtype = eqn.invars[1].aval.dtype
    product = jnp.einsum("npgm,npgo->mgo", patches, outs, precision=jax.lax.Precision.HIGHEST)
    out_channel, in_channel, *spatial = numbers.rhs_spec
    sizes = [kernel[axis] for axis in (*spatial, in_channel, out_channel)]
    order = [(*spatial, in_channel, out_channel).index(axis) for axis in range(len(kernel))]
    return jnp.transpose(jnp.reshape(product, sizes), order).astype(dtype)
