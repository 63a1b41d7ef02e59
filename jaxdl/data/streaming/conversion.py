"""`as_stream`: whatever a run may be given as data, as a `Stream`."""

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import jax

from jaxdl import checks
from jaxdl.data.streaming.contract import Stream
from jaxdl.data.streaming.drawn import DrawnBatches, GrainBatches, padded
from jaxdl.data.streaming.grain_import import import_grain
from jaxdl.data.streaming.indexed import PathLike, local_rows, stream
from jaxdl.data.streaming.outline import BatchCheck
from jaxdl.data.streaming.records import is_table
from jaxdl.data.streaming.seekable import SeekableBatches


def is_streamed(data: Any) -> bool:
    """Whether data are to be streamed: one object that is neither an array nor, for JAX, a container of others.

    Args:
      data: what a run is given.

    Returns:
      True where `as_stream` makes batches of it, False for a pytree of arrays.
    """
    return jax.tree_util.all_leaves([data]) and not hasattr(data, "shape")


def as_stream(
    data: Any,
    *,
    batch_size: int,
    key: jax.Array | None = None,
    split: str = "train",
    shuffle: bool = True,
    process_index: int | None = None,
    process_count: int | None = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
) -> Stream:
    """A `Stream` of whatever data a run is given.

    | data | batches | an epoch | resumed by |
    |---|---|---|---|
    | `Stream` | as it is | as it is | as it is |
    | name, or pytree of arrays | `jaxdl.data.stream` makes them | see there | their number |
    | `grain.MapDataset` | its elements, again and again | its length | their number |
    | `grain.IterDataset`, `grain.DataLoader` | its elements, to its end | unknown | Grain's state |
    | iterable with a length | its elements, again and again | its length | drawing anew, see below |
    | another iterable | its elements, again and again | unknown | drawing anew |
    | iterator | its elements, to its end | unknown | drawing anew |

    The elements are batches already: pytrees of arrays of `batch_size` rows, or, of several processes, this one's
    share. Where the last one of a pass is shorter, it is left out. "Drawing anew" draws as many batches as were
    consumed and throws them away, so that a source which gives others the next time is not resumed exactly; and an
    iterator has to be a new one.

    Args:
      data: see the table. A list counts as one of batches here, any other pytree of arrays as examples.
      batch_size: examples a batch, of all processes together.
      key, split, shuffle, data_dir, cache_dir: for a name or arrays, see `jaxdl.data.stream`; batches keep their order.
      process_index, process_count: by default those of `jax.distributed`.

    Returns:
      A stream of batches that tells its place, and can be set to one.

    Raises:
      TypeError: data that are none of these.
      ValueError: a `Stream` of another batch size; arguments as `jaxdl.data.stream`; and when iterated, a batch of
        another length, shape, dtype or structure than the first, with leaves of different lengths, or no batch at all.
    """
    grain = import_grain()

    rows = len(local_rows(batch_size, process_index, process_count))
    if isinstance(data, Stream):
        if data.batch_size != batch_size:
            raise ValueError(
                f"batch_size: expected that of the stream, {data.batch_size}; got {batch_size}. Pass the same to both."
            )
        return data
    if _makes_batches(data):
        return stream(
            data, batch_size=batch_size, key=key, split=split, shuffle=shuffle, process_index=process_index,
            process_count=process_count, data_dir=data_dir, cache_dir=cache_dir,
        )  # fmt: skip
    name = _name_of_batches(data)
    if isinstance(data, grain.MapDataset):
        return _of_map_dataset(data, name, batch_size, rows)
    if isinstance(data, (grain.IterDataset, grain.DataLoader)):
        return Stream(name, batch_size, None, lambda: GrainBatches(data, name, rows), lambda: padded(data, name))
    return _of_iterable(data, name, batch_size, rows)


def evaluation_stream(
    data: Any,
    *,
    batch_size: int = 1000,
    split: str = "validation",
    process_index: int | None = None,
    process_count: int | None = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
) -> Stream:
    """`as_stream` for passes of evaluation: in order, and the batch size is cut to the data and the processes.

    Args:
      data: as for `as_stream`; of batches, none may be larger than the first one.
      batch_size: examples a batch at most, where the batches are still to be made.
      split, process_index, process_count, data_dir, cache_dir: as for `as_stream`.

    Returns:
      A stream whose pass has every example once.

    Raises:
      ValueError: `batch_size` below 1.
      ValueError, TypeError: what `as_stream` refuses.
    """
    count = jax.process_count() if process_count is None else process_count
    options: dict[str, Any] = dict(split=split, process_index=process_index, process_count=process_count)
    options |= dict(data_dir=data_dir, cache_dir=cache_dir, shuffle=False)
    if isinstance(data, Stream):
        return data
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 1000.")
    if not _makes_batches(data):
        name = _name_of_batches(data)
        return Stream(
            name,
            batch_size,
            None,
            lambda: as_stream(data, batch_size=batch_size, **options).make_iterator(),
            lambda: padded(data, name),
        )
    known = as_stream(data, batch_size=count, **options).num_examples
    assert known is not None
    return as_stream(data, batch_size=max(min(batch_size, known) // count, 1) * count, **options)


def _makes_batches(data: Any) -> bool:
    return isinstance(data, str) or (is_table(data) and not isinstance(data, list))


def _name_of_batches(data: Any) -> str:
    """What messages call batches that somebody else makes."""
    grain = import_grain()

    name = type(data).__name__
    kinds = (grain.MapDataset, grain.IterDataset, grain.DataLoader, Iterable)
    if not isinstance(data, kinds) or isinstance(data, (dict, bytes)):
        raise TypeError(
            "data: expected the name of a data set, a jaxdl.data.Stream, a Grain dataset or loader, or an iterable of "
            f"batches; got {name}. Of an object with __len__ and __getitem__ make a stream by jaxdl.data.stream."
        )
    return name


def _of_map_dataset(data: Any, name: str, batch_size: int, rows: int) -> Stream:
    steps, repeated = None, data
    if len(data) != sys.maxsize:  # what Grain gives for repeat() without a number
        steps = _full_batches(data, name, batch_size, rows)
        repeated = data[:steps].repeat()

    def batches() -> SeekableBatches:
        grain = import_grain()

        check = BatchCheck(name, rows)
        ahead = repeated.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2), allow_nones=True)
        return SeekableBatches(ahead, name, {}, lambda batch, number: (check(batch, number), 0))

    return Stream(name, batch_size, steps, batches, lambda: padded(data, name))


def _of_iterable(data: Iterable[Any], name: str, batch_size: int, rows: int) -> Stream:
    begun = isinstance(data, Iterator)
    steps = len(data) if isinstance(data, Sized) and not begun else None
    if isinstance(data, Sequence) or steps == 0:
        steps = _full_batches(data, name, batch_size, rows)

    def batches() -> DrawnBatches:
        return DrawnBatches(data, name, rows, steps)

    return Stream(name, batch_size, steps, batches, lambda: padded(data, name), replayable=not begun)


def _full_batches(data: Any, name: str, batch_size: int, rows: int) -> int:
    """The number of batches of a sequence of them, without a short last one."""
    if len(data) == 0:
        raise ValueError(f"data: expected at least one batch; {name} has none. Check what it is made of.")
    last = BatchCheck(name, rows).length(data[len(data) - 1], len(data) - 1)
    if len(data) == 1 and last < rows:
        raise ValueError(
            f"batch_size: expected at most the {last} examples of the only batch of {name}; got {batch_size}. "
            "Use a smaller batch."
        )
    return len(data) - (last < rows)
