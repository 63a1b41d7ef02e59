"""`run_many`: a list of seeds as one program."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.training import programs
from jaxdl.training.fit import (
    FitResult,
    Schedule,
    finished,
    make_schedule,
    progress_bar,
    shortest_seconds,
    timed_evaluation,
)
from jaxdl.training.history import Recorder
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep

PyTree = Any


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
) -> FitResult:
    """Trains one member a seed, all of them in one compiled program an epoch.

    Member i is the run `fit(step, init(jax.random.key(seeds[i])), data, ...)`: to rounding under `vmap`, to the byte
    under `map` on one CPU.

    Args:
      step: from `make_train_step`.
      init: `init(key) -> TrainState`, for instance `lambda key: init_state(model, tx, x[:1], key=key)`.
      data, epochs, steps, batch_size, validation, evaluate_every, shuffle, progress: as for `fit`.
      seeds: one a member, distinct.
      mode: `"vmap"` advances the members side by side, `"map"` one after the other inside the program; `"auto"`
        times both on copies of the states and keeps the faster, which `history.engine` names.

    Returns:
      States whose leaves have a leading member axis (but `step`, which they share), and a `History` whose arrays
      have one too. A member whose loss is not finite disturbs no other; look at its row.

    Raises:
      ValueError: no seed, a seed twice, an unknown mode, or what `fit` refuses.
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: expected at least one seed, each once; got {seeds}. Pass for example range(5).")
    if mode not in ("auto", "vmap", "map"):
        raise ValueError(f"mode: expected auto, vmap or map; got {mode!r}. Use 'auto' to have it measured.")
    singles = [init(jax.random.key(seed)) for seed in seeds]
    schedule = make_schedule(
        singles[0], data, epochs=epochs, steps=steps, batch_size=batch_size, evaluate_every=evaluate_every,
        shuffle=shuffle,
    )  # fmt: skip
    states = replace(jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles), step=jnp.copy(singles[0].step))
    watch = programs.Stopwatch()
    data = jax.device_put(data)
    validation = None if validation is None else jax.device_put(validation)
    advance = partial(_advance, step, data=data, schedule=schedule, watch=watch)
    members: Literal["vmap", "map"] = _faster_mode(advance, states, schedule) if mode == "auto" else mode
    recorder = Recorder(
        first_step=schedule.first_step, time_axis=1, measure_every=step.measure_every, check_finite=False
    )
    with progress_bar(schedule, progress) as bar:
        for start, length in schedule.segments(schedule.steps_per_epoch):
            states, metrics = advance(members, state=states, length=length)
            recorder.add(metrics)
            if validation is not None and schedule.evaluates_after(start + length):
                values = timed_evaluation(watch, step, states, validation, members=members)
                recorder.add_evaluation(start + length, values)
            bar.update(length)
    return FitResult(states, finished(recorder, schedule, members, watch, states))


def member(states: TrainState, index: int) -> TrainState:
    """The state of one member of `run_many`, as `fit` would have returned it."""
    return replace(jax.tree.map(lambda leaf: leaf[index], replace(states, step=states.step[None].repeat(
        states.key.shape[0]))), step=states.step)  # fmt: skip


def _advance(
    step: TrainStep,
    members: Literal["vmap", "map"],
    *,
    state: TrainState,
    data: PyTree,
    schedule: Schedule,
    length: int,
    watch: programs.Stopwatch,
) -> tuple[TrainState, Any]:
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
    return watch.compiled(programs.epoch_program, state, data, members=members, static=static)(state, data)


def _faster_mode(advance: Callable[..., Any], states: TrainState, schedule: Schedule) -> Literal["vmap", "map"]:
    """Times a few steps under both modes on copies of the states."""
    length = min(20, schedule.steps_per_epoch - schedule.first_step % schedule.steps_per_epoch)
    seconds = {mode: shortest_seconds(partial(advance, mode, length=length), states) for mode in ("vmap", "map")}
    return "vmap" if seconds["vmap"] <= seconds["map"] else "map"
