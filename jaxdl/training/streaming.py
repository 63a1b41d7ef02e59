"""Training on streams: groups of batches come from the host, and one compiled call takes the steps of a group."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data.streaming import Stream, prefetch_to_device
from jaxdl.data.streaming.contract import State
from jaxdl.data.streaming.drawn import ended
from jaxdl.data.streaming.grouped import Groups, of_group
from jaxdl.data.streaming.prefetch import DeviceBatches
from jaxdl.training.engines import measure_on_batch, step_on_batch
from jaxdl.training.parallel import Layout
from jaxdl.training.programs import Stopwatch
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep

PyTree = Any
_IN_FLIGHT = 1


@partial(jax.jit, static_argnames=("step", "layout"), donate_argnums=0)
def stream_program(
    state: TrainState,
    group: PyTree,
    first: jax.Array,
    count: jax.Array,
    *,
    step: TrainStep,
    layout: Layout | None = None,
) -> Any:
    """`count` steps on the batches of a group from batch `first` on; that many rows of the metrics are filled.

    The compiler does not know the count, so that the step is the body of a loop even when it is taken once, see
    `engines.one_looped_step`.
    """
    one_step = lambda state, i: step_on_batch(state, _batch(group, i), step=step, layout=layout)  # noqa: E731
    length = jax.tree.leaves(group)[0].shape[0]
    shapes = jax.eval_shape(lambda: one_step(state, first)[1])
    table = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

    def body(i: jax.Array, carry: tuple[TrainState, PyTree]) -> tuple[TrainState, PyTree]:
        state, metrics = one_step(carry[0], first + i)
        return state, jax.tree.map(lambda column, value: column.at[i].set(value), carry[1], metrics)

    return jax.lax.fori_loop(0, count, body, (state, table))


@partial(jax.jit, static_argnames=("step", "layout"))
def stream_measure_program(
    state: TrainState, group: PyTree, first: jax.Array, *, step: TrainStep, layout: Layout | None = None
) -> PyTree:
    """What the step's measure says of the state and the batch it is about to see."""
    return measure_on_batch(state, _batch(group, first), step=step, layout=layout)


def _batch(group: PyTree, i: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), group)


class Pieces:
    """Rows of arrays on the device, one array on the host as soon as NumPy asks for it."""

    def __init__(self, pieces: list[tuple[jax.Array, int]]) -> None:
        self._pieces = pieces

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = np.concatenate([np.asarray(array)[:count] for array, count in self._pieces])
        return rows if dtype is None else rows.astype(dtype, copy=False)


class StreamDriver:
    """Advances a state by the batches of a stream, in their order.

    Groups of batches are put on the device by a thread while steps are done on the one before. None is drawn that the
    run does not need, so that an iterator can be used for what comes after it.
    """

    def __init__(
        self,
        step: TrainStep,
        stream: Stream,
        watch: Stopwatch,
        *,
        last_step: int,
        layout: Layout | None = None,
        size: int = 2,
    ) -> None:
        """Drives `step` up to `last_step`; devices share each batch by `layout`; `size` groups are put ahead."""
        self.step, self.stream, self.watch, self.layout = step, stream, watch, layout
        sharding = None if layout is None else layout.batch_sharding
        self._last_step, self._sharding = last_step, sharding
        groups = Groups(stream.make_iterator(), stop=last_step)
        self._groups = prefetch_to_device(groups, size=size, sharding=of_group(sharding))
        self._states: list[State] = [self._groups.get_state()]
        self._group: PyTree = None
        self._next = 0  # within the group; its states are one more than its batches
        self.reached: TrainState | None = None

    def seek(self, place: int | State) -> None:
        """Goes to the place after so many batches of the run, or to the place that `position` gave."""
        self._groups.set_state({"batches": place} if isinstance(place, int) else place)
        self._states, self._next = [self._groups.get_state()], 0

    def position(self) -> State:
        """JSON-able; where the stream is after the steps done. To be kept with the state of the training."""
        return {name: value for name, value in self._states[self._next].items() if name != "states"}

    @property
    def skipped(self) -> int:
        """Corrupt records that others stood in for, so far."""
        return int(self.position().get("skipped", 0))

    def advance(self, state: TrainState, start: int, length: int) -> tuple[TrainState, PyTree]:
        """`length` steps from step `start`, which is where the stream is, too; the state is donated.

        If the stream fails on the way, the state after the last whole step is `reached`.
        """
        every = self.step.measure_every
        apart = self.step.measure is not None and every > 1
        step = self.step.unmeasured if apart else self.step
        metrics: list[tuple[PyTree, int]] = []
        measures: list[PyTree] = []
        done = 0
        while done < length:
            try:
                group, first, count = self._take(start + done, length - done)
            except BaseException:
                self.reached = state
                raise
            if apart:
                to_measure = -(start + done) % every
                if to_measure == 0:
                    static: Any = dict(step=self.step, layout=self.layout)
                    call = self.watch.compiled(stream_measure_program, state, group, first, **static)
                    measures.append(call(state, group, first))
                count = min(count, to_measure or every)
            arguments = (group, first, jnp.asarray(count, jnp.int32))
            call = self.watch.compiled(stream_program, state, *arguments, step=step, layout=self.layout)
            state, rows = call(state, *arguments)
            state = state if self.layout is None else self.layout.paced(state)
            metrics.append((rows, count))
            self._next += count
            done += count
            if len(metrics) > _IN_FLIGHT:  # what is enqueued holds its group in memory
                jax.block_until_ready(metrics[-1 - _IN_FLIGHT])
        pieces = _pieces(metrics)
        if measures:
            pieces["measure"] = _pieces([(jax.tree.map(lambda leaf: leaf[None], measure), 1) for measure in measures])
        return state, pieces

    def _take(self, step: int, most: int) -> tuple[PyTree, jax.Array, int]:
        """The group that step `step` is in, its row there, and how many of at most `most` steps it serves."""
        if self._next == len(self._states) - 1:
            try:
                self._group = next(self._groups)
            except StopIteration:
                raise ended(self.stream.name, had=step, wanted=self._last_step) from None
            self._states, self._next = self._groups.get_state()["states"], 0
        return self._group, jnp.asarray(self._next, jnp.int32), min(most, len(self._states) - 1 - self._next)

    def batches_from(self, place: State) -> DeviceBatches:
        """The batches from a place that `position` gave, once more, to look into what happened there.

        Raises:
          ValueError: the stream is an iterator, which gives its batches once.
        """
        if not self.stream.replayable:
            raise ValueError(
                f"data: expected what can be read again; {self.stream.name} is an iterator. Pass an iterable, which "
                "makes a new iterator every time, or a stream."
            )
        iterator = self.stream.make_iterator()
        iterator.set_state(place)
        return prefetch_to_device(iterator, size=0, sharding=self._sharding)

    def close(self) -> None:
        """Ends what works in the background."""
        self._groups.close()


def _pieces(trees: list[tuple[PyTree, int]]) -> PyTree:
    rows = [count for _, count in trees]
    return jax.tree.map(lambda *leaves: Pieces(list(zip(leaves, rows, strict=True))), *(tree for tree, _ in trees))
