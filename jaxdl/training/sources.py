"""Where the batches of a run come from: arrays on the device, or a stream."""

import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from flax.errors import ScopeParamShapeError

from jaxdl.data.streaming import Stream, as_stream, evaluation_stream, is_streamed, prefetch_to_device
from jaxdl.training.averaging import averaged
from jaxdl.training.checkpoints.configuration import UNKNOWN, data_fingerprint
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.driver import Driver, metric_names, timed_evaluation
from jaxdl.training.engines import step_on_batch
from jaxdl.training.objective import AVERAGED
from jaxdl.training.parallel import Layout
from jaxdl.training.replay import BadStep, found_again
from jaxdl.training.schedule import Schedule
from jaxdl.training.state import TrainState, without_optimizer
from jaxdl.training.step import TrainStep
from jaxdl.training.streamed_evaluation import evaluate_stream, stream_evaluation_program
from jaxdl.training.streaming import StreamDriver
from jaxdl.tree import leaf_paths, num_examples

PyTree = Any


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples that lie on the device as a whole."""

    data: PyTree
    layout: Layout | None

    @property
    def num_examples(self) -> int:
        """All of them."""
        return num_examples(self.data)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full batches among them."""
        return self.num_examples // batch_size

    def outline(self, batch_size: int) -> PyTree:
        """Shapes and dtypes of a batch."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), self.data)

    def fingerprint(self) -> dict[str, Any]:
        """Plain values that tell these data from others."""
        return data_fingerprint(self.data)

    def driver(self, step: TrainStep, schedule: Schedule, watch: Stopwatch, position: Any) -> Driver:
        """What takes a state through them."""
        return Driver(step, self.data, schedule, watch, self.layout)

    def bad_step(self, step: TrainStep, schedule: Schedule, start: TrainState, position: Any, failed: int) -> BadStep:
        """The step that failed, by the state at the start of its segment."""
        return found_again(step, start, self.data, schedule, failed, layout=self.layout)

    def metric_names(self, step: TrainStep, state: TrainState) -> list[str]:
        """Names of the metrics of an evaluation."""
        return metric_names(step, state, self.data)

    def evaluate(self, step: TrainStep, state: TrainState, watch: Stopwatch) -> dict[str, np.ndarray]:
        """Exact means over all examples."""
        return timed_evaluation(watch, step, state, self.data, layout=self.layout)


@dataclass(frozen=True, eq=False)
class Streamed:
    """Batches that are read as they are needed."""

    stream: Stream
    layout: Layout | None
    epoch: int | None = None  # batches, where the stream does not know
    first: PyTree = field(default=None)  # its first batch, where looking at it once more would lose it

    @property
    def num_examples(self) -> int:
        """Of an epoch, the left-out ones included; the batches' where that is not known."""
        return self.stream.num_examples or (self.steps_per_epoch(self.stream.batch_size) * self.stream.batch_size)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches of an epoch; a run of unknown length is one."""
        return self.stream.steps_per_epoch or self.epoch or 2**31 - 1

    @cached_property
    def _first(self) -> PyTree:
        if self.first is not None:
            return self.first
        batches = self.stream.make_iterator()
        try:
            return next(batches)
        finally:
            batches.close()

    def outline(self, batch_size: int) -> PyTree:
        """Shapes and dtypes of a batch, of all processes together."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)),
            self._first,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Plain values that tell this stream from others: its name, its sizes, and its first batch."""
        crc = 0
        for leaf in jax.tree.leaves(self._first):
            crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
        stream = self.stream
        return {
            "stream": stream.name,
            "examples": stream.num_examples,
            "first_batch": f"crc {crc:08x}" if jax.process_count() == 1 else f"crc {UNKNOWN}",
        }

    def driver(self, step: TrainStep, schedule: Schedule, watch: Stopwatch, position: Any) -> StreamDriver:
        """What takes a state through it, from a saved position, or from the step at which the schedule begins."""
        driver = StreamDriver(step, self.stream, watch, last_step=schedule.last_step, layout=self.layout)
        if position is not None or schedule.first_step:
            driver.seek(schedule.first_step if position is None else position)
        return driver

    def bad_step(self, step: TrainStep, schedule: Schedule, start: TrainState, position: Any, failed: int) -> BadStep:
        """The step that failed, by the state at the start of its segment; without its batch, where that is gone."""
        if not self.stream.replayable:
            return BadStep(start, None)
        advance = jax.jit(partial(step_on_batch, step=step.unmeasured, layout=self.layout))
        iterator = self.stream.make_iterator()
        iterator.set_state(position)
        sharding = None if self.layout is None else self.layout.batch_sharding
        with prefetch_to_device(iterator, size=0, sharding=sharding) as batches:
            state, batch = start, next(batches)
            while int(state.step) < failed:
                state, _ = advance(state, batch)
                batch = next(batches)
        return BadStep(state, batch)

    def metric_names(self, step: TrainStep, state: TrainState) -> list[str]:
        """Names of the metrics of an evaluation."""
        batch, mask = next(iter(self.stream.make_pass()))
        program = partial(stream_evaluation_program, objective=step.objective)
        names = sorted(jax.eval_shape(program, without_optimizer(state), batch, mask)[0])
        return names if step.average is None else [*names, *(AVERAGED + name for name in names)]

    def evaluate(self, step: TrainStep, state: TrainState, watch: Stopwatch) -> dict[str, np.ndarray]:
        """Exact means over one pass."""
        run = partial(evaluate_stream, step.objective, data=self.stream, watch=watch, layout=self.layout)
        values = run(state)
        if step.average is not None:
            values |= {AVERAGED + name: value for name, value in run(averaged(state)).items()}
        return {name: np.asarray(value) for name, value in values.items()}


def training_source(
    data: Any, *, batch_size: int, shuffle: bool, key: jax.Array, layout: Layout | None, steps_per_epoch: int | None
) -> Arrays | Streamed:
    """What `fit` was given as data."""
    if not is_streamed(data):
        check_arrays(data, argument="data")
        if steps_per_epoch is not None:
            raise ValueError(
                f"steps_per_epoch: expected None for arrays, whose number says it; got {steps_per_epoch}. Leave it out."
            )
        return Arrays(jax.device_put(data) if layout is None else layout.place_data(data), layout)
    first = None
    if isinstance(data, Iterator):
        first = next(data, None)
        if first is None:
            raise ValueError("data: expected an iterator over batches; got one without any. Make it anew.")
        data = itertools.chain([first], data)
    stream = as_stream(data, batch_size=batch_size, shuffle=shuffle, key=key)
    if stream.steps_per_epoch is not None and steps_per_epoch not in (None, stream.steps_per_epoch):
        raise ValueError(
            f"steps_per_epoch: expected None or the {stream.steps_per_epoch} that {stream.name} has; got "
            f"{steps_per_epoch}. Leave it out."
        )
    return Streamed(stream, layout, steps_per_epoch, first)


def check_arrays(data: PyTree, *, argument: str) -> None:
    """Raises ValueError or TypeError unless data are arrays of numbers that share an example axis."""
    for path, leaf in leaf_paths(data).items():
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and not any(jax.dtypes.issubdtype(dtype, kind) for kind in (np.number, np.bool_)):
            raise TypeError(
                f"{argument}: expected arrays of numbers; got dtype {dtype} in its leaf {path or '(root)'!r}. "
                "Turn names of classes into indices: np.unique(names, return_inverse=True)."
            )
    num_examples(data, argument=argument)


def validation_source(data: Any, *, layout: Layout | None) -> Arrays | Streamed | None:
    """What `fit` was given as validation data."""
    if data is None:
        return None
    if not is_streamed(data):
        check_arrays(data, argument="validation")
        return Arrays(jax.device_put(data) if layout is None else layout.place_data(data), layout)
    return Streamed(evaluation_stream(data), layout)


def check_followers(step: TrainStep, state: TrainState, validation: Arrays | Streamed | None, **followers: Any) -> None:
    """What follows a validation metric needs validation data that have it; said now, not after an epoch.

    Args:
      step, state, validation: of the run.
      followers: by argument, what has a field `metric`, or None.

    Raises:
      ValueError: there are no validation data, or no such metric.
    """
    for name, follower in followers.items():
        if follower is None:
            continue
        if validation is None:
            raise ValueError(f"validation: expected data, since {name} follows a metric of them; got None. Pass some.")
        names = validation.metric_names(step, state)
        if follower.metric not in names:
            raise ValueError(
                f"{name}: expected a metric among {names}; got {follower.metric!r}. "
                "Name one of these, or add it to the objective."
            )


@contextmanager
def naming_shapes(source: Arrays | Streamed, batch_size: int, argument: str) -> Iterator[None]:
    """Says which data an error of tracing is about; Flax's own is about parameters that are as they should be."""
    try:
        yield
    except ScopeParamShapeError as error:
        shapes = ", ".join(
            f"{path or '(root)'}: {leaf.shape}" for path, leaf in leaf_paths(source.outline(batch_size)).items()
        )
        raise ValueError(
            f"{argument}: expected inputs of the shape for which the state was made; got a batch of {shapes}. {error} "
            "Make the state for these data, init_state(model, tx, x[:1], key=key), or pass those it was made for."
        ) from error
