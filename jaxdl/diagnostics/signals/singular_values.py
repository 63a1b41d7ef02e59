"""Singular values of the derivative of a function: all of them, or estimates by Krylov subspaces."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl.optimizers.curvature import lanczos

Function = Callable[[jax.Array], jax.Array]


def singular_values(
    fn: Callable[[Any], jax.Array],
    at: Any,
    key: jax.Array,
    *,
    exact_up_to: int,
    num_probes: int,
    num_lanczos: int,
) -> tuple[jax.Array, bool]:
    """Mean, largest and smallest singular value of J = fn'(at) and |J|_F / sqrt(rows), `(4,)`; whether exact.

    Args:
      fn: a function of a pytree; J has a column for each number in it, and a row for each number of the result.
      at: where; arrays of floating point.
      key: for the probes.
      exact_up_to: the smaller side of J up to which it is formed.
      num_probes, num_lanczos: vectors, and products for each, of an estimate.
    """
    # In float32 at least, whatever the function computes in: the basis has to be orthogonal.
    wide = lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))  # noqa: E731
    flat, unravel = ravel_pytree(jax.tree.map(wide, at))

    def flattened(vector: jax.Array) -> jax.Array:
        parts = jax.tree.map(lambda part, leaf: part.astype(leaf.dtype), unravel(vector), at)
        return wide(jnp.ravel(fn(parts)))

    # Forward mode by transposing the reverse one, which functions with a derivative rule of their own have as well.
    value, pull_back = jax.vjp(flattened, flat)
    pull: Function = lambda cotangent: pull_back(cotangent)[0]  # noqa: E731
    columns, rows = flat.size, value.size
    side = min(columns, rows)
    if side == 0:
        return jnp.full(4, jnp.nan, jnp.float32), True
    transposed = jax.linear_transpose(pull, value)
    push: Function = lambda tangent: transposed(tangent)[0]  # noqa: E731
    if side > exact_up_to:
        product = (lambda v: push(pull(v))) if rows <= columns else (lambda v: pull(push(v)))
        return _estimated(product, flat.dtype, side, rows, key, num_probes, num_lanczos), False
    whole = jnp.eye(side, dtype=flat.dtype)
    return _exact(jax.vmap(pull if rows <= columns else push)(whole), rows), True


def _exact(jacobian: jax.Array, rows: int) -> jax.Array:
    finite = jnp.isfinite(jacobian).all()  # LAPACK promises nothing for what is not
    values = jnp.linalg.svd(jnp.where(finite, jacobian, 0), compute_uv=False)
    gain = jnp.sqrt(jnp.square(values).sum() / rows)
    found = jnp.stack([values.mean(), values[0], values[-1], gain])
    return jnp.where(finite, found, jnp.nan).astype(jnp.float32)


def _estimated(
    product: Function, dtype: Any, side: int, rows: int, key: jax.Array, num_probes: int, num_lanczos: int
) -> jax.Array:
    """By Lanczos quadrature: a probe's Ritz values, weighed, stand for the spectrum of the smaller of J J^T, J^T J."""

    def probe(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = lanczos(product, start, num_vectors=min(num_lanczos, side))
        # Where the subspace is smaller, some number inside the spectrum in place of none: its weight is 0.
        alive = (found.basis != 0).any(1)
        diagonal = jnp.where(alive, found.diagonal, found.diagonal[0])
        inside = jnp.diag(diagonal) + jnp.diag(found.off_diagonal, 1) + jnp.diag(found.off_diagonal, -1)
        values, vectors = jnp.linalg.eigh(jnp.where(jnp.isfinite(inside).all(), inside, 0))
        squares = jnp.where(jnp.isfinite(inside).all(), jnp.maximum(values, 0), jnp.nan)
        return squares, jnp.square(vectors[0])

    squares, weights = jax.vmap(probe)(jax.random.normal(key, (num_probes, side), dtype))
    mean = (weights * jnp.sqrt(squares)).sum(1).mean()
    # |J|_F^2 as Hutchinson has it: the first moment of the quadrature is exactly |J v|^2 of the unit probe v.
    gain = jnp.sqrt((weights * squares).sum(1).mean() * (side / rows))
    ends = jnp.sqrt(jnp.stack([squares.max(), squares.min()]))
    return jnp.stack([mean, ends[0], ends[1], gain]).astype(jnp.float32)
