"""Shapes and dtypes of batches and examples, and what is wrong with one that has others."""

from typing import Any

import jax
import numpy as np

from jaxdl.tree import leaf_paths

PyTree = Any
Outline = dict[str, tuple[tuple[int, ...], np.dtype]]


def outline_of(tree: PyTree) -> Outline:
    """`{path: (shape, dtype)}`; Python numbers count as scalars."""
    return {path: (np.shape(leaf), _dtype(leaf)) for path, leaf in leaf_paths(tree).items()}


def _dtype(leaf: Any) -> np.dtype:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def describe(outline: Outline) -> str:
    """Such as `x: float32[8,28,28,1], y: int32[8]`."""
    entries = (f"{path or '(root)'}: {dtype}[{','.join(map(str, shape))}]" for path, (shape, dtype) in outline.items())
    return ", ".join(entries) or "no array"


def check_numbers(outline: Outline, *, owner: str) -> None:
    """Raises ValueError for a leaf of anything but numbers, and where there is no leaf."""
    bad = {path: entry for path, entry in outline.items() if entry[1].kind in "OSUMm"}
    if bad or not outline:
        raise ValueError(
            f"data: expected arrays of numbers; {owner} has {describe(bad)}. "
            "Drop or convert them, with transform= of jaxdl.data.stream for example."
        )


def owned(batch: PyTree) -> PyTree:
    """The batch as arrays that nobody else writes into.

    On CPU an array on the device may share the memory of the NumPy array it was made from, and the maker of batches
    may use that for the next one.
    """
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.array(leaf), batch)


class BatchCheck:
    """Checks batch after batch against the first one; `rows` is the length that all have to have, if it is known."""

    def __init__(self, name: str, rows: int | None) -> None:
        self.name, self.rows = name, rows
        self._structure, self._outline = None, {}

    def length(self, batch: PyTree, number: int) -> int:
        """The common leading length of all leaves of batch `number`."""
        outline = outline_of(batch)
        check_numbers(outline, owner=f"batch {number} of {self.name}")
        lengths = {shape[:1] for shape, _ in outline.values()}
        if len(lengths) > 1 or lengths == {()}:
            raise ValueError(
                f"data: expected batches whose arrays share one leading axis; batch {number} of {self.name} has "
                f"{describe(outline)}. Batch the examples first, with jaxdl.data.stream(source, batch_size=...) say."
            )
        return lengths.pop()[0]

    def __call__(self, batch: PyTree, number: int) -> PyTree:
        """The batch, `owned`."""
        length = self.length(batch, number)
        if self.rows is not None and length != self.rows:
            raise ValueError(
                f"data: expected batches of {self.rows} examples; batch {number} of {self.name} has {length}. "
                f"Pass batch_size={length} times the number of processes, or batch the data by {self.rows}, "
                "the last short batch dropped."
            )
        return self.same(batch, number)

    def same(self, batch: PyTree, number: int) -> PyTree:
        """The batch, `owned`, if its structure, shapes and dtypes are those of the first one."""
        outline, structure = outline_of(batch), jax.tree.structure(batch)
        if self._structure is None:
            self._structure, self._outline = structure, outline
        elif structure != self._structure or outline != self._outline:
            raise ValueError(
                f"data: expected every batch to be like the first one, {describe(self._outline)}; batch {number} of "
                f"{self.name} is {describe(outline)}. One program serves all: pad or crop the examples."
            )
        return owned(batch)
