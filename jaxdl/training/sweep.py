"""`run_many`: a list of seeds as one program."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.training import programs
from jaxdl.training.callbacks import Callbacks, ProgressBar, RunEnd, RunStart, Steps
from jaxdl.training.driver import epoch_segment, finished, shortest_seconds, timed_evaluation
from jaxdl.training.fit import FitResult
from jaxdl.training.history import Recorder
from jaxdl.training.schedule import Schedule, make_schedule
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep

PyTree = Any
Members = Literal["vmap", "map"]


def run_many(
    step: TrainStep,
    init: Callable[[jax.Array], TrainState],
    data: PyTree,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int,
    validation: PyTree = None,
    evaluate_every: int = 1,
    mode: Literal["auto", "vmap", "map"] = "auto",
    shuffle: bool = True,
    progress: bool | None = None,
    order_key: jax.Array | None = None,
) -> FitResult:
    """Trains one member a seed, all of them by one compiled program.

    Member i is the run `fit(step, init(jax.random.key(seeds[i])), data, ...)` with the same options: to rounding under
    `vmap`, to the byte under `map` on one CPU.

    Args:
      step: from `make_train_step`.
      init: `init(key) -> TrainState`, for instance `lambda key: init_state(model, tx, x[:1], key=key)`.
      data, epochs, steps, batch_size, validation, evaluate_every, shuffle, progress: as for `fit`.
      order_key: as for `fit`. All members then see the same batches, which side by side are gathered once for all of
        them, and that is faster. None: each has the order of its own key.
      seeds: one a member, distinct.
      mode: `"vmap"` advances the members side by side, `"map"` one after the other by one program, that of `fit`;
        `"auto"` times both on copies of the states and keeps the faster, which `history.engine` names.

    Returns:
      States whose leaves have a leading member axis (but `step`, which they share), and a `History` whose arrays
      have one too. A member whose loss is not finite disturbs no other; look at its row.

    Raises:
      ValueError: no seed, a seed twice, an unknown mode, or what `fit` refuses.
    """
    listed = [] if isinstance(seeds, (int, np.integer)) else list(seeds)
    if not listed or len(set(listed)) != len(listed):
        raise ValueError(f"seeds: expected at least one seed, each once; got {seeds}. Pass for example range(5).")
    if not callable(init):
        raise TypeError(
            f"init: expected a function key -> TrainState; got {type(init).__name__}. "
            "Pass for example lambda key: init_state(model, tx, x[:1], key=key)."
        )
    if mode not in ("auto", "vmap", "map"):
        raise ValueError(f"mode: expected auto, vmap or map; got {mode!r}. Use 'auto' to have it measured.")
    singles = [init(jax.random.key(seed)) for seed in listed]
    schedule = make_schedule(
        step, singles[0], data, validation, epochs=epochs, steps=steps, batch_size=batch_size,
        evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    data = jax.device_put(data)
    validation = None if validation is None else jax.device_put(validation)
    crew = Crew(step, data, schedule, programs.Stopwatch())
    members = _faster_mode(crew, singles) if mode == "auto" else mode
    states = crew.muster(members, singles)
    recorder = Recorder(first_step=schedule.first_step, time_axis=1, measure_every=step.measure_every)
    listeners = Callbacks([ProgressBar(progress)])
    listeners.tell(
        RunStart(
            None,
            schedule.first_step,
            schedule.last_step,
            schedule.steps_per_epoch,
            batch_size,
            members,
            members=len(singles),
        )
    )
    for start, length in schedule.segments(schedule.steps_per_epoch):
        states, metrics = crew.advance(members, states, length)
        recorder.add(metrics)
        for first, fetched in recorder.news():
            listeners.tell(Steps(first, fetched))
        if validation is not None and schedule.evaluates_after(start + length):
            recorder.add_evaluation(start + length, crew.evaluate(members, states, validation))
    listeners.tell(RunEnd(schedule.last_step, "done"))
    history = finished(recorder, schedule, members, crew.watch, states)
    return FitResult(states if members == "vmap" else _stacked(states), history)


def member(states: TrainState, index: int) -> TrainState:
    """The state of one member of `run_many`, as `fit` would have returned it.

    Raises:
      IndexError: there is no such member.
    """
    count = states.key.shape[0]
    if not -count <= index < count:
        raise IndexError(f"index: expected a member from 0 to {count - 1}; got {index}. Count from 0.")
    return TrainState(states.step, *(jax.tree.map(lambda leaf: leaf[index], part) for part in _per_member(states)))


class Crew:
    """Advances all members, side by side in one call or one after the other by one and the same program."""

    def __init__(self, step: TrainStep, data: PyTree, schedule: Schedule, watch: programs.Stopwatch) -> None:
        self.step, self.data, self.schedule, self.watch = step, data, schedule, watch

    def muster(self, members: Members, singles: Sequence[TrainState]) -> Any:
        """Copies of the states, in the form `advance` takes: stacked, or a list."""
        return _stacked(singles) if members == "vmap" else [jax.tree.map(jnp.copy, single) for single in singles]

    def advance(self, members: Members, states: Any, length: int) -> tuple[Any, PyTree]:
        """`length` steps of every member; metrics have a leading member axis."""
        run = partial(epoch_segment, self.watch, data=self.data, schedule=self.schedule, step=self.step, length=length)
        if members == "vmap":
            return run(state=states, side_by_side=True)
        advanced = [run(state=state) for state in states]
        return [state for state, _ in advanced], _stack([metrics for _, metrics in advanced])

    def evaluate(self, members: Members, states: Any, validation: PyTree) -> dict[str, np.ndarray]:
        """Validation metrics `(members,)`."""
        run = partial(timed_evaluation, self.watch, self.step, validation=validation)
        if members == "vmap":
            return run(state=states, side_by_side=True)
        return jax.tree.map(lambda *values: np.stack(values), *(run(state=state) for state in states))


def _per_member(states: TrainState) -> tuple[PyTree, ...]:
    return tuple(getattr(states, field.name) for field in fields(states) if field.name != "step")


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _stacked(singles: Sequence[TrainState]) -> TrainState:
    return TrainState(jnp.copy(singles[0].step), *_stack([_per_member(single) for single in singles]))


def _faster_mode(crew: Crew, singles: Sequence[TrainState]) -> Members:
    """Times a few steps under both modes on copies of the states."""
    schedule = crew.schedule
    length = min(20, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)

    def seconds(members: Members) -> float:
        states = crew.muster(members, singles)
        return shortest_seconds(lambda states: crew.advance(members, states, length), states)

    return "vmap" if seconds("vmap") <= seconds("map") else "map"
