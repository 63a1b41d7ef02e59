"""Batches that are functions of their number: an iterator whose state is a count."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxdl.data.streaming.contract import PyTree, State
from jaxdl.data.streaming.grain_import import import_grain


def check_count(state: Any) -> int:
    """The number of batches of a state."""
    count = state.get("batches") if isinstance(state, Mapping) else None
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(
            f"state: expected what get_state() of such an iterator returns, or {{'batches': k}}; got {state!r}. "
            "Resume with the data of the checkpoint."
        )
    return count


class SeekableBatches:
    """Iterates over a Grain dataset of `(batch, number of corrupt records)`, made from one with random access.

    `identity` goes into the state, so that other data, or the same in another order, do not resume it.
    """

    def __init__(
        self, dataset: Any, name: str, identity: Mapping[str, Any], unpack: Callable[[Any, int], tuple[PyTree, int]]
    ) -> None:
        self._iterator = iter(dataset)
        self._name, self._identity, self._unpack = name, dict(identity), unpack
        self._count, self.skipped = 0, 0

    def __iter__(self) -> "SeekableBatches":
        return self

    def __next__(self) -> PyTree:
        try:
            batch, skipped = self._unpack(next(self._iterator), self._count)
        except StopIteration:
            raise
        except Exception:
            self._seek(self._count)  # Grain has taken the batch from its queue, and would go on with the next one
            raise
        self._count += 1
        self.skipped += skipped
        return batch

    def get_state(self) -> State:
        """Batches consumed, corrupt records skipped in them, and what the data are."""
        return {"batches": self._count, "skipped": self.skipped, **self._identity}

    def set_state(self, state: State) -> None:
        """Goes there at once."""
        count = check_count(state)
        for name, ours in self._identity.items():
            if name in state and state[name] != ours:
                raise ValueError(
                    f"state: expected that of a stream like {self._name}, with {name}={ours!r}; got one with "
                    f"{name}={state[name]!r}. Resume with the data, the batch size and the key of the checkpoint."
                )
        self._seek(count)
        self._count, self.skipped = count, int(state.get("skipped", 0))

    def close(self) -> None:
        """Ends the reading threads."""
        self._iterator.close()

    def _seek(self, count: int) -> None:
        import_grain().experimental.set_next_index(self._iterator, count)
