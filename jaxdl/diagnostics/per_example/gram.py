"""The Gram matrix of per-example gradients: all their inner products."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.per_example.chunks import checked_size
from jaxdl.diagnostics.per_example.evaluation import formed_gradients, met_by_sites
from jaxdl.diagnostics.per_example.norms import twice
from jaxdl.diagnostics.per_example.plan import LossesFn, make_plan

PyTree = Any
_HIGHEST = jax.lax.Precision.HIGHEST


def gradient_gram(losses_fn: LossesFn, params: PyTree, batch: PyTree) -> jax.Array:
    """`<g_i, g_j>` for all examples i and j of a batch, with g_i the gradient of the i-th loss.

    For a dense layer that sees one position an example it is `(x_i . x_j) (d_i . d_j)`, with x its inputs and d the
    cotangents of its outputs, and no gradient is formed. Those of other parameters are, one parameter after the other.

    Args:
      losses_fn, params, batch: as for `per_example_gradient_norms`.

    Returns:
      `(B, B)`, symmetric, float32 at least; its diagonal holds the squared norms.

    Raises:
      ValueError, TypeError: as there.

    Example:
      >>> gradient_gram(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0], [0.0, 1.0]]))
      Array([[25.,  4.],
             [ 4.,  1.]], dtype=float32)
    """
    checked_size(losses_fn, params, batch)
    return _gram(jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, batch), losses_fn=losses_fn)


@partial(jax.jit, static_argnames="losses_fn")
def _gram(params: PyTree, batch: PyTree, *, losses_fn: LossesFn) -> jax.Array:
    size = len(jax.tree.leaves(batch)[0])
    if size == 1:
        batch = twice(batch)
    plan = make_plan(losses_fn, params, batch, alone=size == 1)
    leaves, data = jax.tree.leaves(params), jax.tree.leaves(batch)
    losses, met = met_by_sites(plan, leaves, data)
    total = jnp.zeros((len(losses), len(losses)), jnp.promote_types(losses.dtype, jnp.float32))
    others = []
    for leaf, method in enumerate(plan.methods.values()):
        if method.name == "outer":
            ((number, form),) = plan.forms[leaf]
            left, right = (jnp.swapaxes(factor[:, :, 0], 0, 1) for factor in form.build(met[number]))
            total = total + jnp.sum(_products(left) * _products(right), 0)
        elif method.name != "unused":
            others.append(leaf)
    for leaf in others:
        (rows,) = formed_gradients(plan, losses_fn, params, batch, met, (leaf,)).values()
        total = total + _products(jnp.reshape(rows, (1, len(losses), -1)))[0]
    return total[:size, :size]


def _products(rows: jax.Array) -> jax.Array:
    """`(groups, B, B)` inner products of `(groups, B, n)`."""
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    return jnp.matmul(rows, jnp.swapaxes(rows, 1, 2), precision=_HIGHEST)
