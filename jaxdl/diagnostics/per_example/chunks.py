"""Checks of the arguments of per-example functions, and batches taken in equal parts and a rest."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import checks
from jaxdl.diagnostics.gradients.chunks import over_chunks
from jaxdl.tree import num_examples

PyTree = Any


def checked_size(losses_fn: Any, params: PyTree, batch: PyTree) -> int:
    """The number of examples.

    Raises:
      TypeError: `losses_fn` is no function of parameters and batch alone.
      ValueError: parameters or a batch without arrays, or of unequal lengths.
    """
    checks.losses_fn(losses_fn)
    if not jax.tree.leaves(params):
        raise ValueError("params: expected at least one array; got a tree without any. Pass the model's parameters.")
    return num_examples(batch, argument="batch")


def chunk_size(microbatch_size: Any, size: int, bytes_of_one: int, memory_limit: int) -> int:
    """How many examples are taken at a time.

    Raises:
      ValueError: neither "auto" nor a whole number from 1.
    """
    if microbatch_size == "auto":
        checks.whole_number(memory_limit=memory_limit, minimum=1, remedy="It is a number of bytes, such as 2**30.")
        return max(1, min(size, memory_limit // max(1, bytes_of_one)))
    remedy = 'Give a number of examples, "auto", or None for all at once.'
    checks.whole_number(microbatch_size=microbatch_size, minimum=1, remedy=remedy)
    return min(size, int(microbatch_size))


def in_chunks(of_part: Callable[[PyTree, bool], PyTree], batch: PyTree, chunk: int) -> PyTree:
    """`of_part(part, whole)` of parts of the batch one after the other, results put together along the examples."""
    whole = chunk >= num_examples(batch)
    return over_chunks(lambda carry, part: (carry, of_part(part, whole)), None, batch, size=chunk)[1]
