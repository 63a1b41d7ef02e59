"""Sources of examples with random access, read one by one or many at once."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from jaxdl.data.splits import Examples, scaled
from jaxdl.data.streaming.grain_import import import_grain
from jaxdl.tree import num_examples

PyTree = Any


class Records(Protocol):
    """Examples by their index; both readers are called from several threads."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def __len__(self) -> int: ...

    def example(self, index: int) -> PyTree:
        """One example."""
        ...

    def batch(self, indices: Sequence[int]) -> PyTree:
        """Examples stacked along a new leading axis."""
        ...


class Table:
    """The rows of a pytree of arrays; only those that are asked for are read from a memory-mapped file."""

    def __init__(self, arrays: PyTree, name: str = "arrays") -> None:
        self.name = name
        self._length = num_examples(arrays, argument="source")
        self._arrays = jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, arrays)

    def __len__(self) -> int:
        return self._length

    def example(self, index: int) -> PyTree:
        """Row `index`."""
        return jax.tree.map(lambda array: np.array(array[index]), self._arrays)

    def batch(self, indices: Sequence[int]) -> PyTree:
        """Rows `indices`, copied."""
        rows = np.asarray(indices)
        return jax.tree.map(lambda array: np.array(array[rows]), self._arrays)


class RandomAccess:
    """Anything with `__len__` and `__getitem__`; `__getitems__` serves to read many at once, where there is one."""

    def __init__(self, source: Any, name: str) -> None:
        self.name = name
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def example(self, index: int) -> PyTree:
        """Record `index`, as the source has it."""
        return self._source[index]

    def batch(self, indices: Sequence[int]) -> PyTree:
        """Records `indices`, stacked."""
        return stack(self._read(indices))

    def _read(self, indices: Sequence[int]) -> Sequence[PyTree]:
        read = getattr(self._source, "__getitems__", None)
        return [self._source[index] for index in indices] if read is None else read(list(indices))


class Pictures(RandomAccess):
    """Records with a picture and a label as `jaxdl.data.load` returns them: float32 in [0, 1], and int32."""

    def __init__(self, source: Any, name: str, keys: tuple[str, str]) -> None:
        super().__init__(source, name)
        self._image, self._label = keys

    def example(self, index: int) -> Examples:
        """Picture and label of record `index`."""
        return jax.tree.map(lambda leaf: leaf[0], self._scaled([self._source[index]]))

    def batch(self, indices: Sequence[int]) -> Examples:
        """Pictures and labels of records `indices`."""
        return self._scaled(self._read(indices))

    def _scaled(self, records: Sequence[Any]) -> Examples:
        pixels, labels = (np.stack([record[key] for record in records]) for key in (self._image, self._label))
        return scaled(pixels, labels)


def stack(examples: Sequence[PyTree]) -> PyTree:
    """Examples of one structure and shape, stacked along a new leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *examples)


def is_table(source: Any) -> bool:
    """Whether this is a pytree of arrays with example axes; an array alone is one, too."""
    # JAX frowns upon being asked for the leaves of an iterator.
    leaves = [source] if jax.tree_util.all_leaves([source]) else jax.tree.leaves(source)
    return bool(leaves) and all(isinstance(leaf, (np.ndarray, jax.Array)) and leaf.ndim > 0 for leaf in leaves)


def records_of(source: Any, *, named: Callable[[str], Records]) -> Records:
    """The records of whatever `jaxdl.data.stream` takes; `named` finds those of a name."""
    grain = import_grain()

    if isinstance(source, str):
        return named(source)
    if isinstance(source, grain.MapDataset):  # whose draws depend on the place in the training
        raise TypeError(
            "source: expected examples that are the same in every epoch; got a Grain MapDataset. Batch it, "
            ".batch(128, drop_remainder=True), and pass it to fit or jaxdl.data.as_stream."
        )
    if is_table(source):
        return Table(source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, (dict, bytes)):
        return RandomAccess(source, getattr(source, "name", type(source).__name__))
    raise TypeError(
        "source: expected the name of a data set, a pytree of arrays with one leading example axis, or an object with "
        f"__len__ and __getitem__; got {type(source).__name__}. "
        "Batches that exist already are taken by jaxdl.data.as_stream(batches, batch_size=...)."
    )
