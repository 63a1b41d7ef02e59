"""`stream`: batches of a source with random access, shuffled, shared out and read ahead by Grain."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import numpy as np

from jaxdl import checks
from jaxdl.data.streaming.contract import PyTree, Stream
from jaxdl.data.streaming.grain_import import import_grain
from jaxdl.data.streaming.named import named_records
from jaxdl.data.streaming.reading import OnCorrupt, Reader
from jaxdl.data.streaming.records import records_of
from jaxdl.data.streaming.seekable import SeekableBatches

PathLike = str | os.PathLike[str]


def stream(
    source: Any,
    *,
    batch_size: int,
    key: jax.Array | None = None,
    split: str = "train",
    shuffle: bool = True,
    transform: Any = None,
    on_corrupt: OnCorrupt = "raise",
    num_threads: int = 1,
    process_index: int | None = None,
    process_count: int | None = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
) -> Stream:
    """Batches of data that need not fit into memory: endless, deterministic, and resumable at any batch.

    An epoch visits every example once, in an order of its own, but for the `len(source) % batch_size` last ones, which
    are left out as in `fit`. Order and draws of the transform depend on `key` and the place in the training alone.
    Of several processes each reads its own rows of every batch; together they read what one alone would.

    Args:
      source: one of
        a name, as `jaxdl.data.load` takes it, with the same values: x float32 in [0, 1], y int32;
        a pytree of arrays with one leading example axis, also of `np.memmap`;
        an object with `__len__`, `__getitem__` and perhaps `__getitems__` (a data source of TFDS or Grain, say),
        whose elements are examples: pytrees of numbers. It is called from other threads.
      batch_size: examples a batch, of all processes together.
      key: typed key; not needed where nothing is drawn.
      split: "train", "validation" or "test", of a name.
      shuffle: False visits the examples in their order.
      transform: of one example, before it is stacked with others: a function, a `grain.transforms.Map`, or a
        `grain.transforms.RandomMap`, which is given a generator of its own for every example of every epoch. On the
        device, `supervised(..., augment=...)` augments whole batches at less cost.
      on_corrupt: what to do about a record that cannot be read, transformed, or is unlike the first one: "raise", or
        "skip": the next intact record of the source stands in for it, it is logged, and the iterator's `skipped`
        counts it. Evaluation leaves it out.
      num_threads: that read and transform batches ahead.
      process_index, process_count: which of how many processes this is; by default `jax.process_index()` and
        `jax.process_count()`.
      data_dir, cache_dir: as for `jaxdl.data.load`, of a name.

    Returns:
      A `Stream`.

    Raises:
      TypeError: a source or key of the wrong kind.
      ValueError: a batch size that is no whole number >= 1, larger than the source, or no multiple of the number of
        processes; records of anything but numbers; another argument out of its range.
      CorruptRecordError: the first record cannot be read, and later any other.
      ImportError, FileNotFoundError, RuntimeError: as `jaxdl.data.load`, for a name.

    Example:
      >>> import jax, numpy as np
      >>> data = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
      >>> x, y = next(iter(stream(data, batch_size=4, key=jax.random.key(0))))
      >>> x.shape, y.shape
      ((4, 2), (4,))

      With Grain's randomness::

        class Noise(grain.transforms.RandomMap):
            def random_map(self, example, generator):
                x, y = example
                return x + generator.normal(size=x.shape).astype(x.dtype), y
    """
    grain = import_grain()

    if on_corrupt not in get_args(OnCorrupt):
        raise ValueError(f"on_corrupt: expected 'raise' or 'skip'; got {on_corrupt!r}. Use 'raise'.")
    if transform is not None and not (
        callable(transform) or isinstance(transform, (grain.transforms.Map, grain.transforms.RandomMap))
    ):
        raise TypeError(
            f"transform: expected a function of one example, or a Map or RandomMap of grain.transforms; got "
            f"{type(transform).__name__}. Pass for example lambda example: (example['image'], example['label'])."
        )
    checks.whole_number(num_threads=num_threads, minimum=0, remedy="0 reads in the caller's thread.")
    if key is not None or shuffle or isinstance(transform, grain.transforms.RandomMap):
        checks.one_key(key)
    seeds = (0, 0) if key is None else _seeds(key)
    records = records_of(source, named=partial(named_records, split=split, data_dir=data_dir, cache_dir=cache_dir))
    rows = local_rows(batch_size, process_index, process_count)
    if len(records) == 0:
        raise ValueError(f"source: expected at least one record; {records.name} has none. Check where it looks.")
    if batch_size > len(records):
        raise ValueError(
            f"batch_size: expected at most the number of examples, {len(records)}; got {batch_size}. "
            "Use a smaller batch."
        )
    reader = Reader(records, transform, on_corrupt, seeds[1])
    batches = _Batches(reader, batch_size, rows, shuffle, seeds, num_threads)
    return Stream(
        records.name, batch_size, batches.steps_per_epoch, batches.endless, batches.once, num_examples=len(records)
    )


def local_rows(batch_size: int, process_index: int | None, process_count: int | None) -> range:
    """The rows of every global batch that this process reads."""
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 128.")
    count = jax.process_count() if process_count is None else process_count
    index = jax.process_index() if process_index is None else process_index
    checks.whole_number(process_count=count, minimum=1, remedy="Leave it out for that of jax.distributed.")
    checks.whole_number(process_index=index, minimum=0, remedy="Leave it out for that of jax.distributed.")
    if index >= count:
        raise ValueError(f"process_index: expected less than the {count} processes; got {index}. Count from 0.")
    if batch_size % count:
        raise ValueError(
            f"batch_size: expected a multiple of the {count} processes, which share each batch; got {batch_size}. "
            f"Use {batch_size // count * count or count}."
        )
    length = batch_size // count
    return range(index * length, (index + 1) * length)


def _seeds(key: jax.Array) -> tuple[int, int]:
    """Two seeds for Grain, which takes 32 bits."""
    order, draws = np.asarray(jax.random.bits(key, (2,), np.uint32))
    return int(order), int(draws)


@dataclass(frozen=True)
class _Batches:
    """Batches as functions of their number."""

    reader: Reader
    batch_size: int
    rows: range
    shuffle: bool
    seeds: tuple[int, int]
    num_threads: int

    @property
    def steps_per_epoch(self) -> int:
        return len(self.reader.records) // self.batch_size

    def endless(self) -> SeekableBatches:
        """The batches of epoch after epoch."""
        grain = import_grain()

        order = grain.MapDataset.range(len(self.reader.records))
        if self.shuffle:
            order = order.shuffle(seed=self.seeds[0])
        order[0]  # Grain's lazy fields are not for several threads to fill in

        def read(number: int, _: Any) -> tuple[PyTree, int]:
            epoch, step = divmod(number, self.steps_per_epoch)
            start = epoch * len(order) + step * self.batch_size
            positions = [start + row for row in self.rows]
            batch, replaced = self.reader.read([int(order[position]) for position in positions], positions)  # pyright: ignore
            return batch, int(replaced.sum())

        dataset = grain.MapDataset.range(self.steps_per_epoch).repeat().map_with_index(read)
        identity = {
            "records": len(order), "batch_size": self.batch_size, "shuffle": self.shuffle, "seeds": list(self.seeds),
        }  # fmt: skip
        return SeekableBatches(self._ahead(dataset), self.reader.records.name, identity, lambda item, _: item)

    def once(self) -> Iterator[tuple[PyTree, np.ndarray]]:
        """Every example once, in order; rows beyond the last one repeat it, those of corrupt records their stand-in."""
        grain = import_grain()

        count = len(self.reader.records)

        def read(step: int) -> tuple[PyTree, np.ndarray]:
            positions = [step * self.batch_size + row for row in self.rows]
            indices = [min(position, count - 1) for position in positions]
            batch, replaced = self.reader.read(indices, indices)
            return batch, (np.array(positions) < count) & ~replaced

        dataset = grain.MapDataset.range(-(-count // self.batch_size)).map(read)
        return iter(self._ahead(dataset))

    def _ahead(self, dataset: Any) -> Any:
        grain = import_grain()

        # Few batches, for they may be large; enough to keep every thread busy.
        options = grain.ReadOptions(num_threads=self.num_threads, prefetch_buffer_size=2 * self.num_threads)
        return dataset.to_iter_dataset(options)
