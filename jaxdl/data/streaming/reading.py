"""Reading a batch of records, and what to do about a record that cannot be read."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxdl.data.streaming.grain_import import import_grain
from jaxdl.data.streaming.outline import check_numbers, describe, outline_of
from jaxdl.data.streaming.records import Records, stack

PyTree = Any
OnCorrupt = Literal["raise", "skip"]
_LOGGER = logging.getLogger(__name__)
# As many in a row are no damage to a record: a file is missing, or the transform has a bug.
_MOST_IN_A_ROW = 100


class CorruptRecordError(RuntimeError):
    """A record that cannot be read.

    Args:
      reason: what is wrong with it, for the message; the others are the attributes.

    Attributes:
      index: of the record in its source.
      source: the source's name.
    """

    def __init__(self, source: str, index: int, reason: str) -> None:
        super().__init__(f"data: record {index} of {source} cannot be read: {reason}")
        self.source, self.index = source, index


class Reader:
    """Reads batches of records, transformed one by one if so desired; every record has the outline of the first."""

    def __init__(self, records: Records, transform: Any, on_corrupt: OnCorrupt, transform_seed: int) -> None:
        grain = import_grain()

        self.records, self._skips = records, on_corrupt == "skip"
        self._draws = isinstance(transform, grain.transforms.RandomMap)
        method = "random_map" if self._draws else "map" if isinstance(transform, grain.transforms.Map) else None
        self._transform: Any = transform if method is None else getattr(transform, method)
        self._generators = grain.experimental.RngPool(transform_seed)
        self._reported: set[int] = set()
        self._outline = None
        first = self._intact(0, 0)[0]
        self._outline, self._structure = outline_of(first), jax.tree.structure(first)
        check_numbers(self._outline, owner=f"a record of {records.name}")

    def read(self, indices: Sequence[int], positions: Sequence[int]) -> tuple[PyTree, np.ndarray]:
        """The batch, and for each of its rows whether another record stands in for a corrupt one.

        Args:
          indices: of the records.
          positions: of the examples in the whole course of the training, by which the transform draws.
        """
        if self._transform is None:
            try:
                batch = self.records.batch(indices)
                if self._is_alike(batch, len(indices)):
                    return batch, np.zeros(len(indices), bool)
            except Exception:  # one by one, below, it will be seen which record it was
                pass
        examples, replaced = zip(*map(self._intact, indices, positions), strict=True)
        return stack(examples), np.array(replaced)

    def _is_alike(self, batch: PyTree, rows: int) -> bool:
        assert self._outline is not None
        expected = {path: ((rows, *shape), dtype) for path, (shape, dtype) in self._outline.items()}
        return outline_of(batch) == expected and jax.tree.structure(batch) == self._structure

    def _intact(self, index: int, position: int) -> tuple[PyTree, bool]:
        """The record, or else the next intact one; and whether it is another."""
        reason, tries = "", min(_MOST_IN_A_ROW, len(self.records))
        for i in range(tries):
            candidate = (index + i) % len(self.records)
            try:
                return self._example(candidate, position), i > 0
            except MemoryError:
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).rstrip('.') or '(no message)'}."
                if not self._skips:
                    remedy = "Replace the damaged file, or pass on_corrupt='skip'."
                    raise CorruptRecordError(self.records.name, candidate, f"{reason} {remedy}") from error
                self._report(candidate, reason)
        raise CorruptRecordError(
            self.records.name,
            index,
            f"{reason} Nor can the {tries - 1} that follow it, which are too many. Check files and transform.",
        )

    def _report(self, index: int, reason: str) -> None:
        if index not in self._reported:
            self._reported.add(index)
            _LOGGER.warning("skipping record %d of %s: %s", index, self.records.name, reason)

    def _example(self, index: int, position: int) -> PyTree:
        example = self.records.example(index)
        if self._draws:
            generator = self._generators.acquire_rng(position)
            example = self._transform(example, generator)
            self._generators.release_rng(generator)
        elif self._transform is not None:
            example = self._transform(example)
        outline = outline_of(example)
        if self._outline is not None and (outline != self._outline or jax.tree.structure(example) != self._structure):
            raise ValueError(f"it is {describe(outline)}, where the first record is {describe(self._outline)}")
        return example
