"""Per-example gradient norms for less than a batch gradient costs, of any pure function."""

import logging
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import tree
from jaxdl.diagnostics.per_example.chunks import checked_size, chunk_size, in_chunks
from jaxdl.diagnostics.per_example.evaluation import leaf_norms_of_examples
from jaxdl.diagnostics.per_example.norms_report import PerExampleNorms
from jaxdl.diagnostics.per_example.plan import LossesFn, Plan, make_plan

PyTree = Any
MicrobatchSize = int | str | None

_LOGGER = logging.getLogger(__name__)
# What `microbatch_size="auto"` stays under, unless told otherwise.
MEMORY_LIMIT = 2**30


def per_example_gradient_norms(
    losses_fn: LossesFn,
    params: PyTree,
    batch: PyTree,
    *,
    microbatch_size: MicrobatchSize = None,
    memory_limit: int = MEMORY_LIMIT,
) -> jax.Array:
    """`|d losses_i / d params|` for every example i, exactly, without forming the gradients.

    The program is traced, and every place found where a parameter meets the examples: one forward and backward pass
    gives what each place met and the cotangent of its output, and the norm is a contraction of the two (Goodfellow
    2015; Rochette, Manoel and Tramel 2019; Li et al. 2022). That serves dense layers, convolutions, embeddings,
    biases, scales, attention, and weights used several times, tied, or in the turns of a scan, whether written in
    Linen, NNX or plain JAX. What it cannot prove goes through `vmap(grad)`, for that parameter alone;
    `per_example_plan` says which.

    Args:
      losses_fn: `losses_fn(params, batch) -> (B,)`, pure; keep the function, since programs are compiled by it.
      params: pytree of real floating-point arrays.
      batch: pytree of arrays with the examples first.
      microbatch_size: how many examples are taken at a time; None: all; "auto": as many as `memory_limit` allows by
        the shapes, which is logged before it runs (logger `jaxdl`, level INFO).
      memory_limit: bytes, for "auto".

    Returns:
      `(B,)`, float32 at least. Independent of `microbatch_size`.

    Raises:
      ValueError: losses that are not one per example, or that mix examples (batch normalization in training mode, a
        contrastive term): the message names the operation and its line. Random masks and other values that differ
        by position can be used, unless examples have to be taken apart (`microbatch_size`, `vmap(grad)`).
      TypeError: parameters that have no gradient.

    Example:
      >>> per_example_gradient_norms(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0], [0.0, 1.0]]))
      Array([5., 1.], dtype=float32)
    """
    return per_layer_gradient_norms(
        losses_fn, params, batch, microbatch_size=microbatch_size, memory_limit=memory_limit
    ).total


def per_layer_gradient_norms(
    losses_fn: LossesFn,
    params: PyTree,
    batch: PyTree,
    *,
    microbatch_size: MicrobatchSize = None,
    memory_limit: int = MEMORY_LIMIT,
) -> PerExampleNorms:
    """`per_example_gradient_norms` with the norms of every parameter, and how each was had.

    Args:
      losses_fn, params, batch, microbatch_size, memory_limit: as there.

    Returns:
      A `PerExampleNorms`.

    Raises:
      ValueError, TypeError: as there.
    """
    size = checked_size(losses_fn, params, batch)
    batch = jax.tree.map(jnp.asarray, batch)
    params = jax.tree.map(jnp.asarray, params)
    chunk = size
    if microbatch_size is not None:
        # To plan takes a trace, on every call: only where the size depends on it.
        plan = per_example_plan(losses_fn, params, batch) if microbatch_size == "auto" else None
        chunk = chunk_size(microbatch_size, size, plan.bytes if plan else 0, memory_limit)
        if plan:
            _LOGGER.info(plan.expectation(size, chunk))
    return _norms(params, batch, losses_fn=losses_fn, chunk=chunk)


def per_example_plan(losses_fn: LossesFn, params: PyTree, batch: PyTree) -> Plan:
    """How the norms of each parameter would be had, before anything runs; see `Plan`.

    Args:
      losses_fn, params, batch: as for `per_example_gradient_norms`; arrays may be `jax.ShapeDtypeStruct`.

    Returns:
      A `Plan` with `.table()`.

    Raises:
      ValueError, TypeError: as there.
    """
    size = checked_size(losses_fn, params, batch)
    return make_plan(losses_fn, params, batch if size > 1 else jax.eval_shape(twice, batch))


@partial(jax.jit, static_argnames=("losses_fn", "chunk"))
def _norms(params: PyTree, batch: PyTree, *, losses_fn: LossesFn, chunk: int) -> PerExampleNorms:
    return norms_inside(losses_fn, params, batch, chunk=chunk)


def norms_inside(
    losses_fn: LossesFn, params: PyTree, batch: PyTree, *, chunk: int, apart: bool = False
) -> PerExampleNorms:
    """`per_layer_gradient_norms` for use inside of a program: nothing is checked, and nothing kept by `losses_fn`.

    Args:
      losses_fn, params, batch: as there.
      chunk: how many examples are taken at a time.
      apart: see `make_plan`.
    """
    methods: tuple[tuple[str, Any], ...] = ()

    def of_part(part: PyTree, whole: bool) -> tuple[Any, jax.Array]:
        size = len(jax.tree.leaves(part)[0])
        doubled = part if size > 1 else twice(part)
        plan = make_plan(losses_fn, params, doubled, alone=not whole or size == 1, apart=apart)
        nonlocal methods
        methods = plan.in_forward_order
        norms, losses = leaf_norms_of_examples(plan, losses_fn, params, doubled)
        return jax.tree.map(lambda array: array[:size], (norms, losses))

    norms, losses = in_chunks(of_part, batch, chunk)
    total = tree.norm(jnp.stack(list(norms.values())), axis=0) if norms else jnp.zeros(losses.shape)
    return PerExampleNorms(total, losses, norms, methods)


def twice(batch: PyTree) -> PyTree:
    """Every example two times: with one alone, an axis of length 1 could be anything."""
    return jax.tree.map(lambda leaf: jnp.concatenate([jnp.asarray(leaf)] * 2), batch)
