"""Training and evaluation on streams: batches come from the host, one compiled step takes one at a time."""

from collections import deque
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.data.streaming import Stream, evaluation_stream, prefetch_to_device
from jaxdl.data.streaming.contract import State
from jaxdl.data.streaming.drawn import ended
from jaxdl.training.convolutions import canonical_convolutions
from jaxdl.training.evaluation import without_optimizer
from jaxdl.training.history import LoopMetrics
from jaxdl.training.objective import Objective
from jaxdl.training.programs import Stopwatch
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep

PyTree = Any
_IN_FLIGHT = 2


@partial(jax.jit, static_argnames=("step",), donate_argnums=0)
def stream_program(state: TrainState, batch: PyTree, count: jax.Array, *, step: TrainStep) -> Any:
    """A step on one batch, as the body of a loop of `count` = 1 turns, see `engines.one_looped_step`."""
    one_step = lambda state: canonical_convolutions(step)(state, batch)  # noqa: E731
    shapes = jax.eval_shape(lambda: one_step(state)[1])
    metrics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, count, lambda _, carry: one_step(carry[0]), (state, metrics))


@partial(jax.jit, static_argnames=("step",))
def stream_measure_program(state: TrainState, batch: PyTree, *, step: TrainStep) -> PyTree:
    """What the step's measure says of the state and the batch it is about to see."""
    return canonical_convolutions(step.measured)(state, batch)


class StreamDriver:
    """Advances a state by the batches of a stream, in their order."""

    def __init__(
        self,
        step: TrainStep,
        stream: Stream,
        watch: Stopwatch,
        *,
        last_step: int,
        sharding: jax.sharding.Sharding | None = None,
        size: int = 2,
    ) -> None:
        """Drives `step`; `size` and `sharding` as of `prefetch_to_device`."""
        self.step, self.stream, self.watch = step, stream, watch
        self._last_step = last_step
        self._batches = prefetch_to_device(stream, size=size, sharding=sharding, stop=last_step)
        self._one = jnp.ones((), jnp.int32)

    def seek(self, batches: int | State) -> None:
        """Goes to the place after so many batches of the run, or to the place of a state of `position`."""
        self._batches.set_state({"batches": batches} if isinstance(batches, int) else batches)

    def position(self) -> State:
        """JSON-able; where the stream is after the steps done. To be kept with the state of the training."""
        return self._batches.get_state()

    @property
    def skipped(self) -> int:
        """Corrupt records that others stood in for."""
        return self._batches.skipped

    def advance(self, state: TrainState, start: int, length: int) -> tuple[TrainState, LoopMetrics]:
        """`length` steps from step `start`, which is where the stream is, too; the state is donated."""
        every = self.step.measure_every
        apart = self.step.measure is not None and every > 1
        static = dict(step=self.step.unmeasured if apart else self.step)
        records = LoopMetrics([], [])
        in_flight: deque[Any] = deque()
        for i in range(start, start + length):
            batch = self.next_batch(i)
            if i == start:
                call = self.watch.compiled(stream_program, state, batch, self._one, **static)
                measure = apart and self.watch.compiled(stream_measure_program, state, batch, step=self.step)
            if apart and i % every == 0:
                records.measures.append(measure(state, batch))  # pyright: ignore
            state, metrics = call(state, batch, self._one)  # pyright: ignore[reportPossiblyUnboundVariable]
            records.steps.append(metrics)
            in_flight.append(metrics)
            if len(in_flight) > _IN_FLIGHT:  # every step enqueued holds its batch in memory
                jax.block_until_ready(in_flight.popleft())
        return state, records

    def next_batch(self, step: int) -> PyTree:
        """The batch of step `step`, on the device."""
        try:
            return next(self._batches)
        except StopIteration:
            raise ended(self.stream.name, had=step, wanted=self._last_step) from None

    def close(self) -> None:
        """Ends what works in the background."""
        self._batches.close()


@partial(jax.jit, static_argnames=("objective",))
def stream_evaluation_program(state: TrainState, batch: PyTree, mask: jax.Array, *, objective: Objective) -> Any:
    """Sums of loss and metrics over the rows of the mask, and their number."""
    losses, aux = objective(state.params, batch, model_state=state.model_state, key=None, train=False)
    values = {"loss": losses, **aux.metrics}
    # Sums of thousands of values in half precision overflow, or lose the small ones.
    values = {name: value.astype(jnp.promote_types(value.dtype, jnp.float32)) for name, value in values.items()}
    return {name: jnp.where(mask, value, 0).sum() for name, value in values.items()}, mask.sum()


def evaluate_stream(
    objective: Objective,
    state: TrainState,
    data: Any,
    *,
    batch_size: int = 1000,
    split: str = "validation",
    sharding: jax.sharding.Sharding | None = None,
    watch: Stopwatch | None = None,
) -> dict[str, float]:
    """Means of the loss and of the objective's metrics over one pass of a stream, the model in evaluation mode.

    The last batch is padded and masked: the result is exact for every number of examples, and costs one compilation.
    Records that cannot be read, of a stream that skips them, do not count.

    Args:
      objective: such as `supervised(...)`.
      state: parameters and model state are used.
      data: a `Stream`, or what `jaxdl.data.as_stream` takes; batches none of which is larger than the first.
      batch_size: examples a batch at most, where the batches are still to be made.
      split: of a name.
      sharding: of the batches, as for `prefetch_to_device`.
      watch: takes the seconds of compilation.

    Returns:
      `{"loss": ..., metric: ...}`.

    Raises:
      TypeError, ValueError: as `evaluate` and `jaxdl.data.as_stream`.
    """
    if isinstance(objective, TrainStep):
        raise TypeError("objective: expected an objective; got a TrainStep. Pass step.objective.")
    checks.objective(objective)
    check_state(state)
    stream = evaluation_stream(data, batch_size=batch_size, split=split)
    state, watch = without_optimizer(state), Stopwatch() if watch is None else watch
    totals: dict[str, float] = {}
    count = 0
    with prefetch_to_device(stream.make_pass(), sharding=sharding) as batches:
        for batch, mask in batches:
            call = watch.compiled(stream_evaluation_program, state, batch, mask, objective=objective)
            sums, rows = jax.device_get(call(state, batch, mask))
            count += int(rows)
            totals = {name: totals.get(name, 0.0) + float(np.float64(value)) for name, value in sums.items()}
    if count == 0:
        raise ValueError(f"data: expected at least one example that can be read; {stream.name} has none.")
    return {name: total / count for name, total in totals.items()}
