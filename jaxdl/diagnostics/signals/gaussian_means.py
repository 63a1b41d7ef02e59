"""Means over one normal and over two that are correlated, exact but for rounding in spite of a kink at 0.

Gauss's rule on either side of the kink: the rule for a normal weight (Gauss and Hermite) converges slowly on ReLU.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Scalar = float | jax.Array
Activation = Callable[[jax.Array], jax.Array]
NUM_NODES = 64
REACH = 10.0  # beyond it lies 1e-23 of a standard normal


def default_dtype() -> Any:
    """The float type that jax computes in."""
    return jnp.result_type(float)


def positive(length: Scalar) -> jax.Array:
    """A length whose root has a derivative."""
    return jnp.maximum(jnp.asarray(length, default_dtype()), jnp.finfo(default_dtype()).tiny)


def _half_line() -> tuple[np.ndarray, np.ndarray]:
    """Gauss's nodes and weights for [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    return (nodes + 1) / 2, weights / 2


def standard_normal() -> tuple[jax.Array, jax.Array]:
    """Nodes and weights for the mean over a standard normal, each side of 0 by itself: a kink there does no harm."""
    nodes, weights = _half_line()
    both = np.concatenate([-REACH * nodes[::-1], REACH * nodes])
    density = np.exp(-np.square(both) / 2) / np.sqrt(2 * np.pi)
    joined = np.concatenate([weights[::-1], weights]) * REACH * density
    return jnp.asarray(both, default_dtype()), jnp.asarray(joined / joined.sum(), default_dtype())


def pair_mean(fn: Activation, correlation: Scalar, length: Scalar) -> jax.Array:
    """`E[fn(u1) fn(u2)]` for normals of variance q and correlation c; the inner mean is split where u2 is 0, too."""
    z, outer = standard_normal()
    root = jnp.sqrt(positive(length))
    c = jnp.asarray(correlation, default_dtype())
    rest = jnp.sqrt(jnp.maximum(1 - jnp.square(c), 0))
    tiny = jnp.finfo(default_dtype()).eps
    kink = jnp.clip(-c * z / jnp.maximum(rest, tiny), -REACH, REACH)[:, None]
    nodes, weights = (jnp.asarray(values, default_dtype())[None, :] for values in _half_line())
    # Towards the kink from the left, away from it to the right.
    left, right = -REACH + (kink + REACH) * nodes, kink + (REACH - kink) * nodes
    points = jnp.concatenate([left, right], 1)
    steps = jnp.concatenate([(kink + REACH) * weights, (REACH - kink) * weights], 1)
    inner = steps * jnp.exp(-jnp.square(points) / 2) / jnp.sqrt(2 * jnp.pi)
    second = fn((root * (c * z[:, None] + rest * points)).ravel()).reshape(points.shape)
    return jnp.sum(outer * fn(root * z) * jnp.sum(inner * second, 1))
