"""Sources the streaming tests share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest


class Source:
    """Records `(x, y)` with `x` of two numbers; some of them cannot be read."""

    name = "records of the test"

    def __init__(self, count: int, broken: Sequence[int] = ()) -> None:
        self.count, self.broken = count, set(broken)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        assert 0 <= index < self.count
        if index in self.broken:
            raise OSError(f"disk error at {index}.")
        return np.array([index, -index], np.float32), np.array(index, np.int32)


class BulkSource(Source):
    """The same, many at once."""

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [self[index] for index in indices]


@pytest.fixture
def source() -> type[Source]:
    return Source


@pytest.fixture
def bulk_source() -> type[BulkSource]:
    return BulkSource


@pytest.fixture
def table() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """The same records as arrays."""

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(count, dtype=np.int32)
        return np.stack([y, -y], 1).astype(np.float32), y

    return make


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(7)


@pytest.fixture
def first() -> Callable[[Any, int], list[Any]]:
    """The first batches of a stream, as NumPy arrays."""

    def draw(batches: Any, count: int) -> list[Any]:
        iterator = iter(batches)
        drawn = [jax.tree.map(np.asarray, next(iterator)) for _ in range(count)]
        iterator.close()
        return drawn

    return draw


@pytest.fixture
def array_record(tmp_path: Path) -> Callable[[Sequence[bytes]], Path]:
    """Factory: an ArrayRecord file of these records."""

    def write(records: Sequence[bytes]) -> Path:
        from array_record.python.array_record_module import ArrayRecordWriter

        path = tmp_path / "records.array_record"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        return path

    return write
