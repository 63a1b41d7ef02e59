"""Directions in the space of the parameters to look along, and paths projected on them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.curvature.streaming import flat
from jaxdl.optimizers.curvature import HIGHEST
from jaxdl.tree import Where, leaf_paths, norm, resolve

PyTree = Any


def random_direction(key: jax.Array, params: PyTree, *, filter_normalization: bool = True, where: Where) -> PyTree:
    """A Gaussian direction like `params`: `d_f <- d_f |theta_f| / |d_f|` for each filter f, or of length 1 as a whole.

    A filter is what makes one output: a slice along the last axis of a kernel; of a leaf with fewer than two axes all
    of it. Where a filter is zero, so is the direction.

    Args:
      key: for the draw.
      params: pytree of floating-point arrays.
      filter_normalization: Li et al.'s, which makes the direction as long as the parameters, filter by filter, so
        that functions that differ by a scaling of their layers look alike.
      where: which leaves are moved; the direction is zero in the others.
    """
    chosen = resolve(where, params)
    keys = jax.tree.unflatten(jax.tree.structure(params), list(jax.random.split(key, len(jax.tree.leaves(params)))))

    def draw(key: jax.Array, leaf: jax.Array, moved: bool) -> jax.Array:
        noise = jax.random.normal(key, leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))
        if not moved:
            return jnp.zeros_like(noise)
        if not filter_normalization:
            return noise
        axes = tuple(range(leaf.ndim - 1)) if leaf.ndim >= 2 else None
        return noise * (norm(leaf, axis=axes, keepdims=True) / norm(noise, axis=axes, keepdims=True))

    drawn = jax.tree.map(draw, keys, params, chosen)
    if filter_normalization:
        return drawn
    length = norm(jnp.stack([norm(leaf) for leaf in jax.tree.leaves(drawn)]))
    return jax.tree.map(lambda leaf: leaf / length, drawn)


def flat_path(trajectory: PyTree, params: PyTree) -> jax.Array:
    """Stacked parameters as `(steps, n)`.

    Raises:
      ValueError: leaves that are not those of the parameters with one leading axis.
    """
    trajectory = jax.tree.map(jnp.asarray, trajectory)
    found = {path: leaf.shape for path, leaf in leaf_paths(trajectory).items()}
    expected = {path: leaf.shape for path, leaf in leaf_paths(params).items()}
    steps = {shape[0] if shape else None for shape in found.values()}
    alike = len(steps) == 1 and {path: shape[1:] for path, shape in found.items()} == expected
    if not alike or steps & {None, 0}:
        raise ValueError(
            f"trajectory: expected the parameters at several steps, each leaf with one leading axis of steps; got "
            f"shapes {found} for parameters of {expected}. Stack them: jax.tree.map(lambda *p: jnp.stack(p), *visited)."
        )
    return jax.vmap(lambda tree: flat(tree, argument="trajectory").point)(trajectory)


def principal_directions(displacements: jax.Array, num: int) -> jax.Array:
    """The `num` orthonormal directions `(num, n)` that hold most of the squared lengths of displacements `(T, n)`."""
    # Longer lists of directions than there are displacements need rows that are zero.
    padded = jnp.pad(displacements, ((0, max(0, num - len(displacements))), (0, 0)))
    return jnp.linalg.svd(padded, full_matrices=False)[2][:num]


def coordinates(displacements: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Least-squares coordinates `(T, d)` in the span of directions `(d, n)`, and the share of squared length in it."""
    gram = jnp.matmul(directions, directions.T, precision=HIGHEST)
    inside = jnp.matmul(displacements, directions.T, precision=HIGHEST)
    found = jnp.matmul(inside, jnp.linalg.pinv(gram, hermitian=True), precision=HIGHEST)
    seen = norm(jnp.matmul(found, directions, precision=HIGHEST)) / jnp.maximum(norm(displacements), 1e-30)
    return found, seen**2
