"""The variance of every entry of the gradient over examples, part by part."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.gradients.chunks import over_chunks
from jaxdl.diagnostics.gradients.directional import Losses, widened
from jaxdl.diagnostics.gradients.gradient_statistics import part_size, several_examples
from jaxdl.diagnostics.per_example import per_example_gradients
from jaxdl.diagnostics.per_example.norms import MicrobatchSize
from jaxdl.tree import num_examples

PyTree = Any


def gradient_variance(
    losses_fn: Losses, params: PyTree, batch: PyTree, *, microbatch_size: MicrobatchSize = None
) -> PyTree:
    """Unbiased variance of every entry of the gradient, `1 / (B - 1) sum_i (g_i - g)^2`, over the examples of a batch.

    Parts of `microbatch_size` examples follow one another; means and sums of squares about them are merged, so that
    no difference of large sums is taken.

    Args:
      losses_fn: `losses_fn(params, batch) -> (batch,)`, pure; see `per_example_gradient_norms`.
      params: pytree of parameters.
      batch: pytree of arrays with a leading example axis of two or more.
      microbatch_size: how many gradients are in memory at a time; None: all; "auto": as many as 1 GiB holds.

    Returns:
      A pytree like `params`, float32 at least. Its sum over a layer is `gradient_statistics(...).variance`.

    Raises:
      ValueError: fewer than two examples; else as `per_example_gradients`.
      TypeError: as there.

    Example:
      >>> gradient_variance(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0], [3.0, 2.0]]))
      Array([0., 2.], dtype=float32)

    References:
      Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983,
      eq. (1.5).
    """
    params, batch = jax.tree.map(jnp.asarray, (params, batch))
    several_examples(batch, argument="batch")
    formed = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    size = part_size(losses_fn, params, batch, microbatch_size, own_bytes=formed)
    return _measure(params, batch, losses_fn=losses_fn, size=size)


@partial(jax.jit, static_argnames=("losses_fn", "size"))
def _measure(params: PyTree, batch: PyTree, *, losses_fn: Losses, size: int | None) -> PyTree:
    def merge(carry: PyTree, part: PyTree) -> tuple[PyTree, tuple[()]]:
        seen, means, squares = carry
        new = num_examples(part)
        share = new / (seen + new)
        gradients = jax.tree.map(widened, per_example_gradients(losses_fn, params, part))
        part_means = jax.tree.map(lambda g: jnp.mean(g, 0), gradients)
        within = jax.tree.map(lambda g, mean: jnp.sum(jnp.square(g - mean[None]), 0), gradients, part_means)
        shifts = jax.tree.map(jnp.subtract, part_means, means)
        squares = jax.tree.map(lambda old, w, d: old + w + jnp.square(d) * seen * share, squares, within, shifts)
        means = jax.tree.map(lambda old, d: old + d * share, means, shifts)
        return (seen + new, means, squares), ()

    zeros = jax.tree.map(lambda p: jnp.zeros_like(widened(p)), params)
    (_, _, squares), _ = over_chunks(merge, (jnp.zeros(()), zeros, zeros), batch, size=size)
    return jax.tree.map(lambda total: total / (num_examples(batch) - 1), squares)
