"""Per-example gradients formed one by one, and their clipped mean without forming any."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.per_example.chunks import checked_size, chunk_size, in_chunks
from jaxdl.diagnostics.per_example.evaluation import gradients_of_examples
from jaxdl.diagnostics.per_example.norms import (
    MEMORY_LIMIT,
    MicrobatchSize,
    per_example_gradient_norms,
    per_example_plan,
    twice,
)
from jaxdl.diagnostics.per_example.plan import LossesFn, make_plan

PyTree = Any


def per_example_gradients(
    losses_fn: LossesFn,
    params: PyTree,
    batch: PyTree,
    *,
    microbatch_size: MicrobatchSize = None,
    memory_limit: int = MEMORY_LIMIT,
) -> PyTree:
    """`d losses_i / d params` for every example i; their mean is the gradient of the mean loss.

    They take B times the memory of the parameters. For their norms alone see `per_example_gradient_norms`, which takes
    next to none.

    Args:
      losses_fn, params, batch, microbatch_size, memory_limit: as for `per_example_gradient_norms`.

    Returns:
      A pytree like `params` with leaves `(B, ...)` of the parameters' dtypes.

    Raises:
      ValueError, TypeError: as there.

    Example:
      >>> per_example_gradients(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0], [0.0, 1.0]]))
      Array([[3., 4.],
             [0., 1.]], dtype=float32)
    """
    size = checked_size(losses_fn, params, batch)
    params, batch = jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, batch)
    chunk = size
    if microbatch_size is not None:
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        if microbatch_size == "auto":
            needed += per_example_plan(losses_fn, params, batch).bytes
        chunk = chunk_size(microbatch_size, size, needed, memory_limit)
    return _gradients(params, batch, losses_fn=losses_fn, chunk=chunk)


@partial(jax.jit, static_argnames=("losses_fn", "chunk"))
def _gradients(params: PyTree, batch: PyTree, *, losses_fn: LossesFn, chunk: int) -> PyTree:
    def of_part(part: PyTree, whole: bool) -> list[jax.Array]:
        size = len(jax.tree.leaves(part)[0])
        doubled = part if size > 1 else twice(part)
        plan = make_plan(losses_fn, params, doubled, alone=not whole or size == 1)
        return [leaf[:size] for leaf in gradients_of_examples(plan, losses_fn, params, doubled)]

    return jax.tree.unflatten(jax.tree.structure(params), in_chunks(of_part, batch, chunk))


def per_example_clipped_mean(
    losses_fn: LossesFn,
    params: PyTree,
    batch: PyTree,
    *,
    max_norm: float | jax.Array,
    microbatch_size: MicrobatchSize = None,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[PyTree, jax.Array]:
    """`mean_i g_i min(1, c / |g_i|)`, the gradient of DP-SGD before its noise, without forming any g_i.

    The norms come from one backward pass, and the mean from a second one of the losses weighted by the factors: about
    two batch gradients in all. `jaxdl.optimizers.clip_examples` does the same with gradients that were formed.

    Args:
      losses_fn, params, batch, microbatch_size, memory_limit: as for `per_example_gradient_norms`; microbatches bound
        the memory of the norms.
      max_norm: the bound c > 0, a number or a traced scalar.

    Returns:
      A pytree like `params`, and the share of the examples that were clipped, a scalar. With losses in bfloat16 the
      factors are rounded to it, too, and the bound is kept to 2^-8 of it only: compute losses in float32.

    Raises:
      ValueError: a `max_norm` that is not positive; else as there.
      TypeError: as there.

    References:
      Abadi et al., "Deep learning with differential privacy", 2016, algorithm 1; Lee and Kifer, "Scaling up
      differentially private deep learning with fast per-example gradient clipping", 2021 (the second pass).
    """
    checks.number(max_norm=max_norm, minimum=0, exclusive=True, remedy="It bounds a norm; 1.0 is usual.")
    checked_size(losses_fn, params, batch)
    params, batch = jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, batch)
    norms = partial(per_example_gradient_norms, microbatch_size=microbatch_size, memory_limit=memory_limit)
    if microbatch_size is None:
        return _clipped_mean(params, batch, max_norm, losses_fn=losses_fn)
    return _weighted_mean(params, batch, max_norm, norms(losses_fn, params, batch), losses_fn=losses_fn)


@partial(jax.jit, static_argnames="losses_fn")
def _clipped_mean(
    params: PyTree, batch: PyTree, max_norm: jax.Array, *, losses_fn: LossesFn
) -> tuple[PyTree, jax.Array]:
    # One program, in which the two forward passes are one.
    norms = per_example_gradient_norms(losses_fn, params, batch)
    return _weighted_mean(params, batch, max_norm, norms, losses_fn=losses_fn)


@partial(jax.jit, static_argnames="losses_fn")
def _weighted_mean(
    params: PyTree, batch: PyTree, max_norm: jax.Array, norms: jax.Array, *, losses_fn: LossesFn
) -> tuple[PyTree, jax.Array]:
    factors = clip_factors(norms, max_norm)

    def loss(params: PyTree) -> jax.Array:
        losses = losses_fn(params, batch)
        return jnp.mean(losses * factors.astype(losses.dtype))

    return jax.grad(loss)(params), jnp.mean(norms > max_norm)


def clip_factors(norms: jax.Array, max_norm: float | jax.Array) -> jax.Array:
    """`min(1, c / |g_i|)` of norms `(B,)`; NaN where the norm is."""
    factors = jnp.where(norms > max_norm, max_norm / jnp.where(norms > 0, norms, 1), 1)
    return jnp.where(jnp.isnan(norms), jnp.nan, factors)
