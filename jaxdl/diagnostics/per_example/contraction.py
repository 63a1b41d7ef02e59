"""Norms of per-example gradients from their factors, by whichever product the shapes make cheaper.

For `g = sum_t left_t right_t^T` with T positions, m rows and n columns, |g|^2 is `|left|^2 |right|^2` for T = 1, and
else either the sum of all `(left_t . left_s)(right_t . right_s)`, T^2 (m + n) multiplications, or that of the squares
of g itself, T m n. The first needs T^2 numbers an example, the second m n; the cheaper one never needs more than the
factors do, T (m + n).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxdl import tree
from jaxdl.diagnostics.per_example.forms import Factors, largest_of

_HIGHEST = jax.lax.Precision.HIGHEST


def prefers_gram(positions: int, m: int, n: int) -> bool:
    """Whether the products of positions are cheaper than the gradient itself."""
    return positions * (m + n) <= m * n


def outer_norms(factors: Sequence[Factors]) -> jax.Array:
    """`(B,)` norms of the sum of what several sites give one parameter."""
    left_unit = tree.divisor(jnp.max(jnp.stack([f.largest for f in factors]), 0))
    lefts = [_over(jnp.concatenate(pieces, 2), left_unit) for pieces in zip(*(f.left for f in factors), strict=True)]
    right, right_unit = _scaled(jnp.concatenate([f.right for f in factors], 2))
    positions, m = right.shape[2], sum(left.shape[-1] for left in lefts)
    if positions == 1:
        squares = sum(jnp.sum(jnp.square(left), (2, 3)) for left in lefts) * jnp.sum(jnp.square(right), (2, 3))
    elif prefers_gram(positions, m, right.shape[-1]):
        squares = jnp.sum(sum(_gram(left) for left in lefts) * _gram(right), (2, 3))
    else:
        rows = [jnp.einsum("bgtm,bgtn->bgmn", left, right, precision=_HIGHEST) for left in lefts]
        squares = sum(jnp.sum(jnp.square(each), (2, 3)) for each in rows)
    return left_unit * right_unit * jnp.sqrt(jnp.maximum(jnp.sum(squares, 1), 0))


def row_norms(factors: Sequence[Factors], num_rows: int) -> jax.Array:
    """`(B,)` norms where every position adds to one row of a table: rows met twice are added up before squaring."""
    index = jnp.concatenate([f.left[0] for f in factors], 2)[:, 0]
    right, unit = _scaled(jnp.concatenate([f.right for f in factors], 2)[:, 0])
    if index.shape[1] == 1:
        return unit * jnp.sqrt(jnp.sum(jnp.square(right), (1, 2)))
    if num_rows <= index.shape[1]:
        chosen = jax.nn.one_hot(index, num_rows, dtype=right.dtype, axis=1)
        return unit * jnp.sqrt(jnp.sum(jnp.square(jnp.matmul(chosen, right, precision=_HIGHEST)), (1, 2)))
    same = index[:, :, None] == index[:, None, :]
    rows = jnp.matmul(same.astype(right.dtype), right, precision=_HIGHEST)
    earlier = jnp.tril(same, -1).any(2)
    return unit * jnp.sqrt(jnp.sum(jnp.where(earlier, 0, jnp.sum(jnp.square(rows), 2)), 1))


def tied_norms(rows: Sequence[Factors], outers: Sequence[Factors], num_rows: int) -> jax.Array:
    """`(B,)` norms of a table whose rows are taken at some sites, and which multiplies at others.

    Args:
      rows: factors with indices of rows.
      outers: factors whose `left` goes over the rows, in one group.
      num_rows: of the table.
    """
    index = jnp.concatenate([f.left[0] for f in rows], 2)[:, 0]
    left, left_unit = _scaled(jnp.concatenate([f.left[0] for f in outers], 2)[:, 0])
    taken = jnp.concatenate([f.right for f in rows], 2)[:, 0].astype(left.dtype)
    right = jnp.concatenate([f.right for f in outers], 2)[:, 0] * left_unit[:, None, None]
    right, unit = _scaled(jnp.concatenate([taken, right], 1))
    if not prefers_gram(right.shape[1], num_rows, right.shape[2]):
        one_hot = jax.nn.one_hot(index, num_rows, dtype=left.dtype)
        whole = jnp.concatenate([one_hot, left], 1)[:, None]
        return unit * outer_norms([Factors((whole,), right[:, None], largest_of(whole))])
    equal = (index[:, :, None] == index[:, None, :]).astype(left.dtype)
    across = jnp.take_along_axis(left, index[:, None, :], axis=2)
    of_left = jnp.concatenate(
        [jnp.concatenate([equal, jnp.swapaxes(across, 1, 2)], 2), jnp.concatenate([across, _gram(left)], 2)], 1
    )
    return unit * jnp.sqrt(jnp.maximum(jnp.sum(of_left * _gram(right), (1, 2)), 0))


def sum_norms(gradients: Sequence[jax.Array]) -> jax.Array:
    """`(B,)` norms of the sum of gradients `(B, ...)` that were formed."""
    total = sum(gradients[1:], start=gradients[0])
    return tree.norm(total, axis=tuple(range(1, total.ndim)))


def _gram(factor: jax.Array) -> jax.Array:
    return jnp.matmul(factor, jnp.swapaxes(factor, -1, -2), precision=_HIGHEST)


def _scaled(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The array over its examples' units `(B,)`, and these: no square over- or underflows."""
    unit = tree.divisor(largest_of(array))
    return _over(array, unit), unit


def _over(array: jax.Array, unit: jax.Array) -> jax.Array:
    array = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return array / jnp.reshape(unit, (-1, *(1 for _ in array.shape[1:])))
