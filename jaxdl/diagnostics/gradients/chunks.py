"""A batch taken in parts, one after the other, so that what is alive at a time is bounded."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.tree import num_examples

PyTree = Any


def over_chunks(
    fn: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], carry: PyTree, batch: PyTree, *, size: int | None
) -> tuple[PyTree, PyTree]:
    """`carry, outputs = fn(carry, part)` over consecutive parts of `size` examples, the last of what is left.

    Args:
      fn: its outputs have the examples of the part as leading axis.
      carry: handed from part to part.
      batch: pytree of arrays with a leading example axis.
      size: examples of a part, 1 or more; None takes all at once.

    Returns:
      `(carry, outputs)`, the outputs joined along the examples.
    """
    count = num_examples(batch, argument="batch")
    if size is None or count <= size:
        return fn(carry, batch)
    whole = count // size
    parts = jax.tree.map(lambda leaf: jnp.reshape(leaf[: whole * size], (whole, size, *leaf.shape[1:])), batch)
    carry, stacked = jax.lax.scan(fn, carry, parts)
    outputs = jax.tree.map(lambda leaf: jnp.reshape(leaf, (whole * size, *leaf.shape[2:])), stacked)
    if whole * size < count:
        carry, rest = fn(carry, jax.tree.map(lambda leaf: leaf[whole * size :], batch))
        outputs = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), outputs, rest)
    return carry, outputs
