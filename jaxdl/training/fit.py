"""`fit`: a thin caller of the step, over epochs, with a record."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxdl import checks
from jaxdl.training import programs
from jaxdl.training.averaging import averaged
from jaxdl.training.engines import ENGINES, Engine
from jaxdl.training.evaluation import evaluated, without_optimizer
from jaxdl.training.history import History, LoopMetrics, Recorder
from jaxdl.training.objective import AVERAGED
from jaxdl.training.replay import not_finite
from jaxdl.training.schedule import Schedule, make_schedule
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


class FitResult(NamedTuple):
    """State after the last step, and the record of the run."""

    state: TrainState
    history: History


def fit(
    step: TrainStep,
    state: TrainState,
    data: PyTree,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int,
    validation: PyTree = None,
    evaluate_every: int = 1,
    engine: Engine | Literal["auto"] = "epoch",
    chunk_size: int = 100,
    shuffle: bool = True,
    progress: bool | None = None,
    order_key: jax.Array | None = None,
) -> FitResult:
    """Trains until a total number of epochs or steps is done.

    The data are put on the device once and shuffled there, anew for every epoch, by a permutation that depends on
    `state.key` (or `order_key`) and the epoch alone. An epoch has `len(data) // batch_size` steps; the examples left
    over differ from epoch to epoch. A state that has done some steps goes on from there, mid-epoch too, and arrives at
    the same bytes.

    Args:
      step: from `make_train_step`.
      state: from `init_state` or `make_state`; it stays valid.
      data: pytree of arrays with one leading example axis, such as `(x, y)` or a split of `jaxdl.data.load`.
      epochs: epochs that shall be done in total, or
      steps: steps that shall be done in total; exactly one of the two.
      batch_size: examples a step.
      validation: like `data`; evaluated exactly, at the end and
      evaluate_every: after so many epochs.
      engine: `"epoch"` (one program an epoch), `"chunk"` (scans of `chunk_size` steps), `"loop"` (one step a call),
        or `"auto"`: the faster of epoch and loop, measured on a copy of the state and kept in `history.engine`.
        On one CPU all of them give the same bytes.
      chunk_size: steps a call of the chunk engine, and between refreshes of the progress bar of the loop.
      shuffle: False visits the examples in their order.
      progress: True or False; None shows a bar when stderr is a terminal.
      order_key: typed key from which the order of every epoch is drawn in place of `state.key`: runs with different
        states then see the same batches. A run that goes on needs the same one again.

    Returns:
      The final state and its `History`.

    Raises:
      ValueError, TypeError: arguments that make no run; the message names the argument.
      FloatingPointError: a loss that is not finite; it names the step and the layer where that began.
    """
    schedule = make_schedule(
        step, state, data, validation, epochs=epochs, steps=steps, batch_size=batch_size,
        evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    if engine not in (*ENGINES, "auto"):
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)} or auto; got {engine!r}. Use 'epoch'.")
    checks.whole_number(chunk_size=chunk_size, minimum=1, remedy="Try 100.")
    watch = programs.Stopwatch()
    data = jax.device_put(data)
    validation = None if validation is None else jax.device_put(validation)
    driver = Driver(step, data, schedule, watch)
    state = jax.tree.map(jnp.copy, state)  # the programs overwrite their state in place; the caller keeps theirs
    chosen = _faster_engine(driver, state) if engine == "auto" else engine
    recorder = Recorder(first_step=schedule.first_step, time_axis=0, measure_every=step.measure_every)
    starts: deque[TrainState] = deque(maxlen=2)  # of the segment under way and the one being fetched
    with progress_bar(schedule, progress) as bar:
        for start, length in schedule.segments(schedule.steps_per_epoch if chosen == "epoch" else chunk_size):
            starts.append(jax.tree.map(jnp.copy, state))
            state, metrics = driver.advance(chosen, state, start, length)
            _check(recorder.add(metrics), driver, starts)
            if validation is not None and schedule.evaluates_after(start + length):
                recorder.add_evaluation(start + length, timed_evaluation(watch, step, state, validation))
            bar.set_postfix_str(recorder.news, refresh=False)
            bar.update(length)
    _check(recorder.fetch(), driver, starts)
    return FitResult(state, finished(recorder, schedule, chosen, watch, state))


class Driver:
    """Advances a state by one of the engines, and keeps the order of the epoch it is in."""

    def __init__(self, step: TrainStep, data: PyTree, schedule: Schedule, watch: programs.Stopwatch) -> None:
        self.step, self.data, self.schedule, self.watch = step, data, schedule, watch
        self._batches = dict(step=step, batch_size=schedule.batch_size, steps_per_epoch=schedule.steps_per_epoch)
        self._ordering = dict(num_examples=schedule.num_examples, shuffle=schedule.shuffle)
        self._epoch, self._order = -1, jnp.zeros(0, jnp.int32)
        self._one = jnp.ones((), jnp.int32)

    def advance(self, engine: Engine, state: TrainState, start: int, length: int) -> tuple[TrainState, Any]:
        """`length` steps from step `start`; the metrics are stacked, or those of each step of the loop."""
        if engine == "epoch":
            return epoch_segment(self.watch, state, self.data, self.schedule, self.step, length)
        order = self._order_of_epoch(state, start)
        if engine == "chunk":
            static = tuple((self._batches | dict(length=length)).items())
            call = self.watch.compiled(programs.chunk_program, state, self.data, order, static=static)
            return call(state, self.data, order)
        return self._loop(state, order, start, length)

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
            state, metrics = call(state, self.data, order, self._one)
            records.steps.append(metrics)
        return state, records

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
        ).items()
    )
    arguments = (state, data, schedule.order_key)
    return watch.compiled(programs.epoch_program, *arguments, static=static)(*arguments)


def _check(failed_step: int | None, driver: Driver, starts: Sequence[TrainState]) -> None:
    if failed_step is not None:
        start = max((s for s in starts if int(s.step) <= failed_step), key=lambda s: int(s.step))
        raise not_finite(driver.step, start, driver.data, driver.schedule, failed_step)


def _faster_engine(driver: Driver, state: TrainState) -> Engine:
    """Times some steps of the loop against the same steps scanned, three times each, on copies of the state."""
    schedule = driver.schedule
    length = min(50, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)

    def seconds(engine: Engine) -> float:
        return shortest_seconds(lambda state: driver.advance(engine, state, schedule.first_step, length), state)

    return "loop" if seconds("loop") < seconds("chunk") else "epoch"


def shortest_seconds(run: Callable[[TrainState], Any], state: TrainState, *, repeats: int = 3) -> float:
    """Seconds of the fastest of some runs on copies of the state, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        before = time.perf_counter()
        jax.block_until_ready(run(fresh))
        seconds.append(time.perf_counter() - before)
    return min(seconds[1:])


def progress_bar(schedule: Schedule, progress: bool | None) -> Any:
    """A bar over the steps that is touched once a segment, never once a step."""
    hidden = not (sys.stderr.isatty() if progress is None else progress)
    return tqdm(total=schedule.last_step, initial=schedule.first_step, unit="step", disable=hidden, leave=False)


def timed_evaluation(
    watch: programs.Stopwatch, step: TrainStep, state: TrainState, validation: PyTree, *, side_by_side: bool = False
) -> dict[str, np.ndarray]:
    """Validation metrics of a state or of stacked members, with the compilation on the watch."""
    options: dict[str, Any] = dict(batch_size=min(1000, num_examples(validation)), side_by_side=side_by_side)
    program = programs.evaluation_program
    watch.compiled(program, without_optimizer(state), validation, objective=step.objective, **options)
    values = evaluated(step.objective, state, validation, **options)
    if step.average is None:
        return values
    of_average = evaluated(step.objective, averaged(state), validation, **options)
    return values | {AVERAGED + name: value for name, value in of_average.items()}


def finished(recorder: Recorder, schedule: Schedule, engine: str, watch: programs.Stopwatch, states: PyTree) -> History:
    """The history, once the last step is done."""
    jax.block_until_ready(states)
    return recorder.history(
        steps_per_epoch=schedule.steps_per_epoch,
        engine=engine,
        compile_seconds=watch.compile_seconds,
        run_seconds=watch.run_seconds,
    )
