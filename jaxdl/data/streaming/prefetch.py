"""Batches put on the device ahead of the step that needs them."""

import functools
import importlib
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.data.streaming.contract import PyTree, State, Stream
from jaxdl.data.streaming.grain_import import import_grain
from jaxdl.data.streaming.outline import owned


def prefetch_to_device(
    iterator: Any, *, size: int = 2, sharding: jax.sharding.Sharding | None = None
) -> "DeviceBatches":
    """Draws batches in a background thread and puts them on the device, `size` of them ahead.

    Its state is that after the batches it has returned, not after those it has drawn. An exception of the iterator
    comes out of `next` as it is, in its place. The thread ends with `close`, with the block of a `with` statement, or
    with the object.

    Args:
      iterator: a `Stream`, an iterator with `get_state` and `set_state`, or any iterable of pytrees of arrays, whose
        state is then a count.
      size: batches on the device beside the one in use; 0 for none, and no thread.
      sharding: of all leaves; with several processes the iterator's batches are this process's rows of the global
        arrays made. None for the default device.

    Returns:
      An iterator of pytrees of `jax.Array`.

    Raises:
      TypeError: no iterable.
      ValueError: `size` below 0.
    """
    checks.whole_number(size=size, minimum=0, remedy="Try 2.")
    if isinstance(iterator, Stream):
        iterator = iterator.make_iterator()
    elif not isinstance(iterator, Iterable):
        raise TypeError(
            f"iterator: expected a Stream or an iterable of batches; got {type(iterator).__name__}. "
            "Make one by jaxdl.data.as_stream."
        )
    elif not hasattr(iterator, "get_state"):
        iterator = _Counted(iterator)
    return DeviceBatches(iterator, size, sharding)


class DeviceBatches:
    """Iterator over batches on the device; made by `prefetch_to_device`."""

    def __init__(self, iterator: Any, size: int, sharding: jax.sharding.Sharding | None) -> None:
        self._placed = _Placed(iterator, sharding)
        self._ahead = _thread_prefetch()(self._placed, size)
        self._error: Exception | None = None
        self._end = weakref.finalize(self, _end, self._ahead, self._placed)  # at exit, too

    def __iter__(self) -> "DeviceBatches":
        return self

    def __next__(self) -> PyTree:
        if not self._end.alive:
            raise ValueError("iterator: expected one that is open; it was closed. Make a new one.")
        if self._error is not None:
            raise self._error
        try:
            return next(self._ahead)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error  # what the thread would draw after it is not what comes next
            raise

    def get_state(self) -> State:
        """The state after the batches returned."""
        return self._ahead.get_state()

    def set_state(self, state: State) -> None:
        """Goes there, and forgets what was drawn ahead."""
        self._error = None
        self._ahead.set_state(state)

    @property
    def skipped(self) -> int:
        """Corrupt records that others stood in for, in the batches returned by this process."""
        return int(self.get_state().get("skipped", 0))

    def close(self) -> None:
        """Ends the thread, and what the iterator has in the background."""
        self._end()

    def __enter__(self) -> "DeviceBatches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(ahead: Any, placed: "_Placed") -> None:
    placed.retire()
    ahead.close()
    placed.close()


@functools.cache
def _thread_prefetch() -> Any:
    class ThreadPrefetch(import_grain().experimental.ThreadPrefetchDatasetIterator):
        """Grain's own is closed once more when the interpreter has taken its modules apart, and complains."""

        ended = False

        def close(self) -> None:
            if not self.ended:
                self.ended = True
                super().close()

    return ThreadPrefetch


class _Placed:
    """An iterator's batches on the device, under the settings of the thread that made it."""

    def __init__(self, iterator: Any, sharding: jax.sharding.Sharding | None) -> None:
        self._iterator, self._sharding = iterator, sharding
        config: Any = jax.config
        self._device, self._x64 = config.jax_default_device, config.jax_enable_x64
        self._lock, self._retired = threading.Lock(), False

    def __next__(self) -> PyTree:
        try:
            batch = next(self._iterator)
        except Exception:
            raise
        except BaseException as error:  # would end the thread, and leave its caller waiting
            raise RuntimeError(f"data: the iterator raised {type(error).__name__}.") from error
        with self._lock:
            if self._retired:
                raise StopIteration
            with jax.default_device(self._device), _enable_x64()(self._x64):
                return jax.block_until_ready(jax.tree.map(self._put, batch))

    def _put(self, leaf: Any) -> jax.Array:
        if self._sharding is None:
            return jax.device_put(leaf)
        return jax.make_array_from_process_local_data(self._sharding, np.asarray(leaf))

    def get_state(self) -> State:
        return self._iterator.get_state()

    def set_state(self, state: State) -> None:
        self._iterator.set_state(state)

    def retire(self) -> None:
        """Puts no more batches on the device; waits for the one under way."""
        with self._lock:
            self._retired = True

    def close(self) -> None:
        getattr(self._iterator, "close", lambda: None)()


class _Counted:
    """Any iterable, counting its batches."""

    def __init__(self, data: Iterable[PyTree]) -> None:
        self._iterator, self._count = iter(data), 0

    def __next__(self) -> PyTree:
        batch = owned(next(self._iterator))
        self._count += 1
        return batch

    def get_state(self) -> State:
        return {"batches": self._count}

    def set_state(self, state: State) -> None:
        raise TypeError(
            f"iterator: expected one with get_state and set_state, to go back to {state!r}; got a plain iterable. "
            "Make a stream of it by jaxdl.data.as_stream(batches, batch_size=...)."
        )


def _enable_x64() -> Any:
    return (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64
