"""The mean loss of a data set as a function of one vector, with its derivatives, taken batch by batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl import checks
from jaxdl.diagnostics.structure.preparation import as_objective
from jaxdl.losses import batch_mean
from jaxdl.optimizers.curvature import Function, hessian_product
from jaxdl.tree import leaf_paths, num_examples

PyTree = Any


class Flat(NamedTuple):
    """Parameters as one vector `(n,)` of their widest dtype, float32 at least, and the way back."""

    point: jax.Array
    unravel: Callable[[jax.Array], PyTree]


class Problem(NamedTuple):
    """A mean loss at a point.

    Attributes:
      point: `(n,)` parameters.
      unravel: from a vector to the tree of the parameters.
      loss: `x -> C(x)`.
      gradient: `x -> dC/dx (n,)`.
      product: `v -> H v` with the Hessian H at `point`.
    """

    point: jax.Array
    unravel: Callable[[jax.Array], PyTree]
    loss: Function
    gradient: Function
    product: Function


def flat(tree: PyTree, *, argument: str = "params") -> Flat:
    """Makes one vector of a tree.

    Raises:
      ValueError: no leaf, or one that is not floating point.
    """
    leaves = leaf_paths(tree)
    others = [path for path, leaf in leaves.items() if not jnp.issubdtype(leaf.dtype, jnp.floating)]
    if others or not sum(leaf.size for leaf in leaves.values()):
        got = f"{others[0] or '(root)'} of {leaves[others[0]].dtype}" if others else "no entry at all"
        raise ValueError(
            f"{argument}: expected arrays of floating-point numbers, which a loss has derivatives by; got {got}. "
            "Leave out what is not trained, or convert it."
        )
    dtype = jnp.result_type(jnp.float32, *leaves.values())
    return Flat(*ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(dtype), tree)))


def problem(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    model_state: PyTree,
    key: jax.Array,
    train: bool,
    batch_size: int | None,
) -> Problem:
    """The mean of an objective's losses over all of `data` at `params`; never more than a batch at a time."""
    fn = as_objective(objective)
    point, unravel = flat(params)

    def loss_of(x: jax.Array, batch: PyTree, index: jax.Array | None) -> jax.Array:
        batch_key = key if index is None else jax.random.fold_in(key, index)
        losses, _ = fn(unravel(x), batch, model_state=model_state, key=batch_key, train=train)
        return mean_loss(losses, batch, index, point.dtype)

    def loss(x: jax.Array) -> jax.Array:
        return streamed_mean(lambda batch, i: loss_of(x, batch, i), data, batch_size=batch_size)

    def gradient(x: jax.Array) -> jax.Array:
        return streamed_mean(lambda batch, i: jax.grad(loss_of)(x, batch, i), data, batch_size=batch_size)

    if in_one(data, batch_size):
        # The gradient is taken once; over many batches, what it leaves behind would not fit into memory.
        product = hessian_product(loss, point)
    else:

        def product(v: jax.Array, /) -> jax.Array:
            def of_batch(batch: PyTree, i: jax.Array | None) -> jax.Array:
                return hessian_product(lambda x: loss_of(x, batch, i), point)(v)

            return streamed_mean(of_batch, data, batch_size=batch_size)

    return Problem(point, unravel, loss, gradient, product)


def mean_loss(losses: jax.Array, batch: PyTree, index: jax.Array | None, dtype: Any) -> jax.Array:
    """The mean over a batch, in a wide dtype.

    Raises:
      ValueError: losses that are not one per example, as far as it can be told.
    """
    if index is not None and losses.shape != (num_examples(batch),):
        raise ValueError(
            f"losses: expected one value per example, shape ({num_examples(batch)},); got shape {losses.shape}. "
            "Reduce over every axis but the first."
        )
    return batch_mean(losses.astype(dtype))


def in_one(data: PyTree, batch_size: int | None) -> bool:
    """Whether all of the data is one batch."""
    return batch_size is None or batch_size >= num_examples(data)


def streamed_mean(fn: Callable[[PyTree, jax.Array | None], PyTree], data: PyTree, *, batch_size: int | None) -> PyTree:
    """The mean over all examples of what is a mean over the examples of a batch.

    Full batches go through one `scan`, in order, and the rest is a smaller batch of its own, so that every example
    counts once for every number of examples and batch size.

    Args:
      fn: `fn(batch, index) -> pytree of arrays`, means over the batch; the index is None where there is one batch.
      data: pytree of arrays with one leading example axis.
      batch_size: None: all of `data` is one batch.

    Raises:
      ValueError: data without a common example axis, or a batch size below 1.
    """
    if batch_size is not None:
        checks.whole_number(batch_size=batch_size, minimum=1, remedy="None takes all of the data as one batch.")
    if in_one(data, batch_size):
        return fn(data, None)
    assert batch_size is not None
    count = num_examples(data)
    full, rest = divmod(count, batch_size)

    def cut(start: Any, size: int) -> PyTree:
        return jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, start, size), data)

    def add(total: PyTree, i: jax.Array) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, fn(cut(i * batch_size, batch_size), i)), None

    shapes = jax.eval_shape(lambda: fn(cut(0, batch_size), jnp.int32(0)))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, jnp.arange(full, dtype=jnp.int32))
    total = jax.tree.map(lambda leaf: leaf * (batch_size / count), total)
    if not rest:
        return total
    last = fn(cut(full * batch_size, rest), jnp.int32(full))
    return jax.tree.map(lambda whole, leaf: whole + leaf * (rest / count), total, last)
