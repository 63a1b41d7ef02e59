"""What everything streamed has to offer, so that a run can be cut at any batch and go on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

PyTree = Any
State = dict[str, Any]
"""JSON-able. `state["batches"]` counts the batches consumed; a state of nothing else is one to seek by counting."""


class BatchIterator(Protocol):
    """Batches of one process, with a place in them that can be kept and found again."""

    def __iter__(self) -> "BatchIterator": ...

    def __next__(self) -> PyTree:
        """The next batch: arrays with the same shapes and dtypes every time."""
        ...

    def get_state(self) -> State:
        """The state after the batches that `__next__` has returned, whatever was read ahead."""
        ...

    def set_state(self, state: State) -> None:
        """Goes to where `get_state` was called, or, given `{"batches": k}`, to the place after k batches."""
        ...

    def close(self) -> None:
        """Ends what works in the background."""
        ...


@dataclass(frozen=True, eq=False)
class Stream:
    """Batches without end, read as they are needed; made by `jaxdl.data.stream` or `jaxdl.data.as_stream`.

    Attributes:
      name: of the source, for messages.
      batch_size: examples a batch of all processes together.
      steps_per_epoch: batches an epoch; None where that is not known.
      make_iterator: a new `BatchIterator` from the start; endless, if `steps_per_epoch` is known.
      make_pass: a new iterator over every example once, in order, of pairs `(batch, mask)`: all batches have one size,
        and `mask`, bool of that length, is False for the rows that fill one up.
      replayable: whether a second iterator gives the same batches; False for an iterator somebody else has begun.
      num_examples: of an epoch, the left-out ones included; None where that is not known.
    """

    name: str
    batch_size: int
    steps_per_epoch: int | None
    make_iterator: Callable[[], BatchIterator]
    make_pass: Callable[[], Iterator[tuple[PyTree, np.ndarray]]]
    replayable: bool = True
    num_examples: int | None = None

    def __iter__(self) -> BatchIterator:
        return self.make_iterator()
