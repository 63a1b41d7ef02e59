"""Batches that somebody else makes, one after the other."""

import base64
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import jax
import numpy as np

from jaxdl.data.streaming.contract import PyTree, State
from jaxdl.data.streaming.outline import BatchCheck
from jaxdl.data.streaming.seekable import check_count


class _Pass:
    """The full batches of one pass; a shorter one at its end is left out."""

    def __init__(self, iterator: Iterator[PyTree], check: BatchCheck) -> None:
        self.iterator, self.count = iterator, 0
        self._check = check

    def draw(self, number: int) -> PyTree:
        """The next batch, the `number`-th of the training; StopIteration at the end."""
        batch = next(self.iterator)
        assert self._check.rows is not None
        if self._check.length(batch, number) < self._check.rows:
            for _ in self.iterator:
                self._check(batch, number)  # raises, since it was not the last one
            raise StopIteration
        self.count += 1
        return batch


class DrawnBatches:
    """Passes over an iterable of batches, one after the other, or the one there is over an iterator."""

    skipped = 0

    def __init__(self, data: Iterable[PyTree], name: str, rows: int, steps_per_epoch: int | None) -> None:
        self._data, self._check, self._steps = data, BatchCheck(name, rows), steps_per_epoch
        self._pass = _Pass(iter(data), self._check)
        self._count = 0

    def __iter__(self) -> "DrawnBatches":
        return self

    def __next__(self) -> PyTree:
        batch = self._check(self._draw(), self._count)
        self._count += 1
        return batch

    def _draw(self) -> PyTree:
        try:
            return self._pass.draw(self._count)
        except StopIteration:
            if isinstance(self._data, Iterator):
                raise
        done = self._pass.count
        if done == 0 or self._steps not in (None, done):
            wanted = "at least one" if self._steps is None else str(self._steps)
            raise ValueError(
                f"data: expected a pass over {self._check.name} to give {wanted} batches of {self._check.rows} "
                f"examples; it gave {done}. Let it leave out its last short batch, and count without it."
            )
        self._pass = _Pass(iter(self._data), self._check)
        return self._pass.draw(self._count)

    def get_state(self) -> State:
        """Batches consumed."""
        return {"batches": self._count}

    def set_state(self, state: State) -> None:
        """Begins anew, draws as many batches as were consumed, and throws them away."""
        count = check_count(state)
        if not isinstance(self._data, Iterator):
            self._pass, self._count = _Pass(iter(self._data), self._check), 0
        elif count < self._count:
            raise ValueError(
                f"state: expected at least the {self._count} batches drawn from this iterator already, which does not "
                f"go back; got {count}. Make a new iterator."
            )
        while self._count < count:
            try:
                self._draw()
            except StopIteration:
                raise ended(self._check.name, had=self._count, wanted=count) from None
            self._count += 1

    def close(self) -> None:
        """Nothing works in the background."""


class GrainBatches:
    """The batches of a Grain IterDataset or DataLoader, whose iterators know their state."""

    skipped = 0

    def __init__(self, data: Any, name: str, rows: int) -> None:
        self._data, self._check = data, BatchCheck(name, rows)
        self._begin()

    def _begin(self) -> None:
        self._pass, self._count = _Pass(iter(self._data), self._check), 0

    def __iter__(self) -> "GrainBatches":
        return self

    def __next__(self) -> PyTree:
        batch = self._check(self._pass.draw(self._count), self._count)
        self._count += 1
        return batch

    def get_state(self) -> State:
        """Batches consumed, and Grain's state."""
        state = self._pass.iterator.get_state()  # pyright: ignore[reportAttributeAccessIssue]
        encoded = {"base64": base64.b64encode(state).decode()} if isinstance(state, bytes) else state
        return {"batches": self._count, "grain": encoded}

    def set_state(self, state: State) -> None:
        """Hands Grain its state; without one, draws as many batches as were consumed."""
        count = check_count(state)
        self.close()
        self._begin()
        if "grain" in state:
            encoded = state["grain"]
            ours = base64.b64decode(encoded["base64"]) if "base64" in encoded else encoded
            self._pass.iterator.set_state(ours)  # pyright: ignore[reportAttributeAccessIssue]
            self._count = count
        while self._count < count:
            try:
                self._pass.draw(self._count)
            except StopIteration:
                raise ended(self._check.name, had=self._count, wanted=count) from None
            self._count += 1

    def close(self) -> None:
        """Ends Grain's workers, where its iterator can."""
        getattr(self._pass.iterator, "close", lambda: None)()


def ended(name: str, *, had: int, wanted: int) -> ValueError:
    """What to raise where there are no more batches."""
    return ValueError(
        f"data: expected {wanted} batches; {name} ended after {had}. "
        "Pass fewer steps, or let it repeat, such as a Grain dataset by .repeat()."
    )


def padded(data: Iterable[PyTree], name: str) -> Iterator[tuple[PyTree, np.ndarray]]:
    """One pass over batches, each filled up to the length of the first one with copies of its last row, and masks."""
    if isinstance(data, Sized) and len(data) == sys.maxsize:  # what Grain gives for repeat() without a number
        raise ValueError(f"data: expected data with an end, to evaluate them; {name} repeats without. Drop .repeat().")
    check, size = BatchCheck(name, None), None
    for number, batch in enumerate(data):
        length = check.length(batch, number)
        size = length if size is None else size
        if not 0 < length <= size:
            raise ValueError(
                f"data: expected batches of 1 to {size} examples, as many as the first one has; batch {number} of "
                f"{name} has {length}. Put the largest one first."
            )
        rows = np.minimum(np.arange(size), length - 1)
        filled = batch if length == size else jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], batch)
        yield check.same(filled, number), np.arange(size) < length
    if size is None:
        raise ValueError(f"data: expected at least one batch; {name} has none. Check what it is made of.")
