"""Driving a state through an epoch by one of the engines, with compilation on the watch."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.training import programs
from jaxdl.training.averaging import averaged
from jaxdl.training.callbacks.protocol import Reason
from jaxdl.training.engines import Engine
from jaxdl.training.evaluation import evaluated
from jaxdl.training.history import History, LoopMetrics, Recorder
from jaxdl.training.objective import AVERAGED
from jaxdl.training.parallel import Layout
from jaxdl.training.schedule import Schedule
from jaxdl.training.state import TrainState, without_optimizer
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


class Driver:
    """Advances a state by one of the engines, and keeps the order of the epoch it is in."""

    def __init__(
        self,
        step: TrainStep,
        data: PyTree,
        schedule: Schedule,
        watch: programs.Stopwatch,
        layout: Layout | None = None,
    ) -> None:
        self.step, self.data, self.schedule, self.watch, self.layout = step, data, schedule, watch, layout
        self._batches = dict(
            step=step, batch_size=schedule.batch_size, steps_per_epoch=schedule.steps_per_epoch, layout=layout
        )
        self._ordering = dict(num_examples=schedule.num_examples, shuffle=schedule.shuffle)
        self._epoch, self._order = -1, jnp.zeros(0, jnp.int32)
        self._one = jnp.ones((), jnp.int32)

    def advance(self, engine: Engine, state: TrainState, start: int, length: int) -> tuple[TrainState, Any]:
        """`length` steps from step `start`; the metrics are stacked, or those of each step of the loop."""
        if engine == "epoch":
            return self._paced(
                epoch_segment(self.watch, state, self.data, self.schedule, self.step, length, layout=self.layout)
            )
        order = self._order_of_epoch(state, start)
        if engine == "chunk":
            static = tuple((self._batches | dict(length=length)).items())
            call = self.watch.compiled(programs.chunk_program, state, self.data, order, static=static)
            return self._paced(call(state, self.data, order))
        return self._loop(state, order, start, length)

    def position(self) -> None:
        """Of the data beside the step counter: arrays have none."""

    def close(self) -> None:
        """Lets go of what the driver holds open: nothing."""

    def _loop(self, state: TrainState, order: jax.Array, start: int, length: int) -> tuple[TrainState, LoopMetrics]:
        every = self.step.measure_every
        apart = self.step.measure is not None and every > 1
        step = self.step.unmeasured if apart else self.step
        static = tuple((self._batches | dict(step=step)).items())
        call = self.watch.compiled(programs.step_program, state, self.data, order, self._one, static=static)
        if apart:
            with_measure = tuple(self._batches.items())
            measure = self.watch.compiled(programs.measure_program, state, self.data, order, static=with_measure)
        records = LoopMetrics([], [])
        for i in range(start, start + length):
            if apart and i % every == 0:
                records.measures.append(measure(state, self.data, order))  # pyright: ignore[reportPossiblyUnboundVariable]
            state, metrics = self._paced(call(state, self.data, order, self._one))
            records.steps.append(metrics)
        return state, records

    def _paced(self, values: PyTree) -> PyTree:
        return values if self.layout is None else self.layout.paced(values)

    def _order_of_epoch(self, state: TrainState, start: int) -> jax.Array:
        epoch = start // self.schedule.steps_per_epoch
        if epoch != self._epoch:
            ordering = self._ordering | dict(steps_per_epoch=self.schedule.steps_per_epoch)
            key = self.schedule.order_key
            self._order = self.watch.compiled(programs.order_program, state, key, **ordering)(state, key)
            self._epoch = epoch
        return self._order


def epoch_segment(
    watch: programs.Stopwatch,
    state: TrainState,
    data: PyTree,
    schedule: Schedule,
    step: TrainStep,
    length: int,
    *,
    layout: Layout | None = None,
) -> tuple[TrainState, Any]:
    """`length` steps that end with their epoch at the latest, in one program."""
    static = tuple(
        dict(
            step=step,
            batch_size=schedule.batch_size,
            steps_per_epoch=schedule.steps_per_epoch,
            num_examples=schedule.num_examples,
            shuffle=schedule.shuffle,
            length=length,
            layout=layout,
        ).items()
    )
    arguments = (state, data, schedule.order_key)
    return watch.compiled(programs.epoch_program, *arguments, static=static)(*arguments)


def faster_engine(driver: Driver, state: TrainState) -> Engine:
    """Times some steps of the loop against the same steps scanned, three times each, on copies of the state."""
    schedule = driver.schedule
    length = min(50, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)

    def seconds(engine: Engine) -> float:
        return shortest_seconds(lambda state: driver.advance(engine, state, schedule.first_step, length), state)

    loops = seconds("loop") < seconds("chunk")
    return "loop" if (loops if driver.layout is None else driver.layout.agreed(loops)) else "epoch"


def shortest_seconds(run: Callable[[TrainState], Any], state: TrainState, *, repeats: int = 3) -> float:
    """Seconds of the fastest of some runs on copies of the state, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        before = time.perf_counter()
        jax.block_until_ready(run(fresh))
        seconds.append(time.perf_counter() - before)
    return min(seconds[1:])


def timed_evaluation(
    watch: programs.Stopwatch,
    step: TrainStep,
    state: TrainState,
    validation: PyTree,
    *,
    side_by_side: bool = False,
    layout: Layout | None = None,
) -> dict[str, np.ndarray]:
    """Validation metrics of a state or of stacked members, with the compilation on the watch."""
    batch_size = min(1000, num_examples(validation))
    batch_size = batch_size if layout is None else layout.evaluation_batch(batch_size)
    options: dict[str, Any] = dict(batch_size=batch_size, side_by_side=side_by_side, layout=layout)
    program = programs.evaluation_program
    watch.compiled(program, without_optimizer(state), validation, objective=step.objective, **options)
    values = evaluated(step.objective, state, validation, **options)
    if step.average is None:
        return values
    of_average = evaluated(step.objective, averaged(state), validation, **options)
    return values | {AVERAGED + name: value for name, value in of_average.items()}


def metric_names(step: TrainStep, state: TrainState, validation: PyTree) -> list[str]:
    """Names of the validation metrics of a run."""
    options: dict[str, Any] = dict(objective=step.objective, batch_size=1, side_by_side=False, layout=None)
    names = sorted(
        jax.eval_shape(partial(programs.evaluation_program, **options), without_optimizer(state), validation)
    )
    return names if step.average is None else [*names, *(AVERAGED + name for name in names)]


def finished(
    recorder: Recorder,
    schedule: Schedule,
    engine: str,
    watch: programs.Stopwatch,
    states: PyTree,
    *,
    ended: Reason = "done",
) -> History:
    """The history, once the last step is done."""
    jax.block_until_ready(states)
    return recorder.history(
        steps_per_epoch=schedule.steps_per_epoch,
        engine=engine,
        compile_seconds=watch.compile_seconds,
        run_seconds=watch.run_seconds,
        ended=ended,
    )
