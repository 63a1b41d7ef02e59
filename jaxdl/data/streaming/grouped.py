"""Several batches stacked, for one compiled call to take them one after the other."""

from typing import Any

import jax
import numpy as np

from jaxdl.data.streaming.contract import BatchIterator, PyTree, State

# A call has costs of its own: dispatch, and above all fresh memory for its intermediates. On CPU the small
# convolutional network of the benchmark takes 1.5 times as long in single calls as in calls of many steps.
_BYTES, _MOST = 8 << 20, 64


class Groups:
    """Groups of consecutive batches, each leaf stacked along a new leading axis.

    All groups have one length; one at the end is filled up with copies of its last batch. The state after a group holds
    the states before, within and after it, `states`, so that a run may stop in the middle of one. No batch is drawn
    from the `stop`-th of the run on.
    """

    def __init__(self, iterator: BatchIterator, stop: int | None = None) -> None:
        self._iterator, self._stop = iterator, stop
        self._length = 0
        self._restart()

    def _restart(self) -> None:
        self._states = [self._iterator.get_state()]
        self._error: Exception | None = None

    def __iter__(self) -> "Groups":
        return self

    def __next__(self) -> PyTree:
        if self._error is not None:
            raise self._error
        states, batches = [self._iterator.get_state()], []
        while not batches or len(batches) < self._length:
            try:
                if states[-1]["batches"] == self._stop:
                    raise StopIteration
                batches.append(next(self._iterator))
            except Exception as error:
                if not batches:
                    raise
                self._error = error  # its place is after the batches there are
                break
            states.append(self._iterator.get_state())
            self._length = self._length or _group_length(batches[0])
        self._states = states
        batches += [batches[-1]] * (self._length - len(batches))
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

    def get_state(self) -> State:
        """The state after the group, and all those since before it."""
        return {**self._states[-1], "states": self._states}

    def set_state(self, state: State) -> None:
        """Goes to one of the states; a new group begins there."""
        self._iterator.set_state(state)
        self._restart()

    def close(self) -> None:
        """Closes the batches."""
        self._iterator.close()


def _group_length(batch: PyTree) -> int:
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
    return int(np.clip(_BYTES // max(size, 1), 1, _MOST))


def of_group(sharding: Any) -> Any:
    """The sharding of a group of batches with this sharding."""
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return sharding
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(None, *sharding.spec))
