"""`fit`: a thin caller of the step, over epochs, with a record."""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxdl.training import programs
from jaxdl.training.engines import ENGINES, Engine
from jaxdl.training.evaluation import check_batch_size, evaluated
from jaxdl.training.history import History, Recorder
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


class FitResult(NamedTuple):
    """State after the last step, and the record of the run."""

    state: TrainState
    history: History


class Schedule(NamedTuple):
    """What a run does: from which step to which, in which batches, evaluated when, checked once."""

    first_step: int
    last_step: int
    steps_per_epoch: int
    num_examples: int
    batch_size: int
    shuffle: bool
    evaluate_every: int

    def segments(self, longest: int) -> Iterator[tuple[int, int]]:
        """`(start, length)` of stretches of steps that stay within an epoch and are no longer than `longest`."""
        start = self.first_step
        while start < self.last_step:
            end_of_epoch = (start // self.steps_per_epoch + 1) * self.steps_per_epoch
            length = min(end_of_epoch - start, longest, self.last_step - start)
            yield start, length
            start += length

    def evaluates_after(self, step: int) -> bool:
        """Whether validation is due with `step` updates done: every so many epochs, and at the end."""
        return step == self.last_step or step % (self.steps_per_epoch * self.evaluate_every) == 0


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
) -> FitResult:
    """Trains until a total number of epochs or steps is done.

    The data are put on the device once and shuffled there, anew for every epoch, by a permutation that depends on
    `state.key` and the epoch alone. An epoch has `len(data) // batch_size` steps; the examples left over differ from
    epoch to epoch. A state that has done some steps goes on from there, mid-epoch too, and arrives at the same bytes.

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

    Returns:
      The final state and its `History`.

    Raises:
      ValueError: sizes or counts that make no run; the message names the argument.
      FloatingPointError: a loss that is not finite, with its step.
    """
    schedule = make_schedule(
        state, data, epochs=epochs, steps=steps, batch_size=batch_size, evaluate_every=evaluate_every, shuffle=shuffle
    )
    if engine not in (*ENGINES, "auto"):
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)} or auto; got {engine!r}. Use 'epoch'.")
    if chunk_size < 1:
        raise ValueError(f"chunk_size: expected a number of steps >= 1; got {chunk_size}. Try 100.")
    watch = programs.Stopwatch()
    data = jax.device_put(data)
    validation = None if validation is None else jax.device_put(validation)
    state = jax.tree.map(jnp.copy, state)  # the programs overwrite their state in place; the caller keeps theirs
    chosen = _faster_engine(step, state, data, schedule, watch) if engine == "auto" else engine
    recorder = Recorder(
        first_step=schedule.first_step, time_axis=0, measure_every=step.measure_every, check_finite=True
    )
    longest = schedule.steps_per_epoch if chosen == "epoch" else chunk_size
    with progress_bar(schedule, progress) as bar:
        for start, length in schedule.segments(longest):
            state, metrics = _advance(chosen, step, state, data, schedule, length, watch)
            recorder.add(metrics)
            if validation is not None and schedule.evaluates_after(start + length):
                values = timed_evaluation(watch, step, state, validation, members=None)
                recorder.add_evaluation(start + length, values)
            bar.set_postfix_str(recorder.news, refresh=False)
            bar.update(length)
    history = finished(recorder, schedule, chosen, watch, state)
    return FitResult(state, history)


def _advance(
    engine: Engine,
    step: TrainStep,
    state: TrainState,
    data: PyTree,
    schedule: Schedule,
    length: int,
    watch: programs.Stopwatch,
) -> tuple[TrainState, Any]:
    """`length` steps by one of the engines; the metrics are stacked, or a list with an entry a step."""
    batches = dict(step=step, batch_size=schedule.batch_size, steps_per_epoch=schedule.steps_per_epoch)
    ordering = dict(num_examples=schedule.num_examples, shuffle=schedule.shuffle)
    if engine == "epoch":
        static = tuple((batches | ordering | dict(length=length)).items())
        return watch.compiled(programs.epoch_program, state, data, members=None, static=static)(state, data)
    ordering["steps_per_epoch"] = schedule.steps_per_epoch
    order = watch.compiled(programs.order_program, state, **ordering)(state, **ordering)
    if engine == "chunk":
        static = tuple((batches | dict(length=length)).items())
        return watch.compiled(programs.chunk_program, state, data, order, static=static)(state, data, order)
    call = watch.compiled(programs.step_program, state, data, order, static=tuple(batches.items()))
    records = []
    for _ in range(length):
        state, metrics = call(state, data, order)
        records.append(metrics)
    return state, records


def _faster_engine(
    step: TrainStep, state: TrainState, data: PyTree, schedule: Schedule, watch: programs.Stopwatch
) -> Engine:
    """Times some steps of the loop against the same steps scanned, three times each, on copies of the state."""
    length = min(50, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)
    seconds = {}
    for engine in ("loop", "chunk"):
        run = partial(_advance, engine, step, data=data, schedule=schedule, length=length, watch=watch)
        seconds[engine] = shortest_seconds(run, state)
    return "loop" if seconds["loop"] < seconds["chunk"] else "epoch"


def shortest_seconds(run: Any, state: TrainState, *, repeats: int = 3) -> float:
    """Seconds of the fastest of some runs on copies of the state, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        before = time.perf_counter()
        jax.block_until_ready(run(state=fresh))
        seconds.append(time.perf_counter() - before)
    return min(seconds[1:])


def make_schedule(
    state: TrainState,
    data: PyTree,
    *,
    epochs: int | None,
    steps: int | None,
    batch_size: int,
    evaluate_every: int,
    shuffle: bool,
) -> Schedule:
    """Checks the sizes of a run and works out its steps."""
    count = num_examples(data)
    check_batch_size(batch_size)
    if batch_size > count:
        raise ValueError(
            f"batch_size: expected at most the number of examples, {count}; got {batch_size}. Use a smaller batch."
        )
    if (epochs is None) == (steps is None):
        raise ValueError(f"epochs, steps: expected exactly one of them; got epochs={epochs}, steps={steps}. Drop one.")
    if evaluate_every < 1:
        raise ValueError(f"evaluate_every: expected a number of epochs >= 1; got {evaluate_every}. Use 1.")
    steps_per_epoch = count // batch_size
    last_step = int(steps if epochs is None else epochs * steps_per_epoch)  # pyright: ignore[reportArgumentType]
    first_step = int(state.step)
    if last_step < first_step:
        raise ValueError(
            f"{'steps' if epochs is None else 'epochs'}: expected a total of at least the {first_step} steps this "
            f"state has done; got {last_step} steps. The total counts steps done before."
        )
    return Schedule(first_step, last_step, steps_per_epoch, count, batch_size, shuffle, evaluate_every)


def progress_bar(schedule: Schedule, progress: bool | None) -> Any:
    """A bar over the steps that is touched once a segment, never once a step."""
    hidden = not (sys.stderr.isatty() if progress is None else progress)
    return tqdm(total=schedule.last_step, initial=schedule.first_step, unit="step", disable=hidden, leave=False)


def timed_evaluation(
    watch: programs.Stopwatch, step: TrainStep, state: TrainState, validation: PyTree, *, members: programs.Members
) -> dict[str, np.ndarray]:
    """Validation metrics of a state or of stacked members, with the compilation on the watch."""
    batch_size = math.gcd(num_examples(validation, argument="validation"), 10_000)
    batch_size = batch_size if batch_size >= 100 else 1000
    static = dict(objective=step.objective, batch_size=min(batch_size, num_examples(validation)), members=members)
    watch.compiled(programs.evaluation_program, state, validation, **static)
    return evaluated(step.objective, state, validation, batch_size=batch_size, members=members)


def finished(
    recorder: Recorder, schedule: Schedule, engine: str, watch: programs.Stopwatch, state: TrainState
) -> History:
    """The history, once the last step is done."""
    jax.block_until_ready(replace(state, key=jax.random.key_data(state.key)))
    recorder.fetch()
    return recorder.history(
        steps_per_epoch=schedule.steps_per_epoch,
        engine=engine,
        compile_seconds=watch.compile_seconds,
        run_seconds=watch.run_seconds,
    )
