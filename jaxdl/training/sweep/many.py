"""`run_many`: seeds, and cells of hyper-parameters, as one program."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.training.callbacks import Callbacks, ProgressBar, RunEnd, RunStart, Steps
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.driver import finished
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.history import History, Recorder
from jaxdl.training.schedule import make_schedule
from jaxdl.training.sources import Arrays, check_followers
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.training.sweep import member_programs
from jaxdl.training.sweep.cells import Grid, as_arrays, check_init, check_make_step, numeric_cells
from jaxdl.training.sweep.job import Job
from jaxdl.training.sweep.memory import Device
from jaxdl.training.sweep.results import ManyRuns
from jaxdl.training.sweep.strategies import STRATEGIES, Mode, Plan, make_plan, name_of

PyTree = Any


def run_many(
    step: TrainStep | Callable[..., TrainStep],
    init: Callable[..., TrainState],
    data: PyTree,
    *,
    seeds: Sequence[int],
    hyperparameters: Grid | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int,
    validation: PyTree = None,
    evaluate_every: int = 1,
    mode: Mode = "auto",
    members_at_once: int | None = None,
    devices: Sequence[Device] | None = None,
    shuffle: bool = True,
    progress: bool | None = None,
    order_key: jax.Array | None = None,
    early_stopping: EarlyStopping | None = None,
) -> ManyRuns:
    """Trains one member a seed, or one a cell of hyper-parameters and seed, all of them by one compiled program.

    The member of a seed is the run `fit(step, init(jax.random.key(seed)), data, ...)` with the same options: to
    rounding under `vmap`, to the byte under `map` on one CPU. With `hyperparameters` it is, to rounding, the run
    `fit(make_step(**cell), init(jax.random.key(seed), **cell), data, ...)`.

    Args:
      step: from `make_train_step`; with `hyperparameters` a function `make_step(**cell)` that returns one. It is called
        inside the compiled program, with float32 scalars that are traced: learning rates, momenta, decays, rates of
        `jaxdl.layers.Dropout`, strengths of penalties may be such, whatever decides a shape or a branch may not.
        Compiled programs are found by the identity of the function.
        Where a schedule of optax's refuses a traced rate, let it multiply one:
        `lambda count: rate * optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)(count)`.
      init: `init(key) -> TrainState`, for instance `lambda key: init_state(model, tx, x[:1], key=key)`; with
        `hyperparameters` a function `init(key, **cell)`, compiled and given traced scalars likewise.
      data, epochs, steps, batch_size, validation, evaluate_every, shuffle, progress: as for `fit`.
      seeds: one a member, distinct.
      hyperparameters: lists of numbers by name, all combinations of which are the cells; or a list of cells, mappings
        of the same names to numbers. Members are in the order of the cells, the seeds of a cell together.
      mode: `"vmap"` advances the members side by side, `"map"` one after the other by one program; `"auto"` times
        both on copies of a state and keeps the faster: see `history.engine` and `timings`.
      members_at_once: members advance in groups of so many, one group after the other. None: as many as need, by the
        compiled program's own account, no more than half of the memory that is free.
      devices: over which the members are spread; None for all that this process has. With several, `"auto"` also
        tries one alone.
      order_key: as for `fit`. All members then see the same batches, which side by side are gathered once for all of
        them, and that is faster. None: each has the order of its own key.
      early_stopping: as for `fit`, of every member for itself. What the history has of a member after it stopped
        is NaN; the final metrics of the result are those of the state that `member` returns.

    Returns:
      `states, history`, as the `ManyRuns` unpacks: states whose leaves have a leading member axis (but `step`, which
      they share), and a `History` whose arrays have one too. A member whose loss is not finite disturbs no other;
      look at its row. `.table("validation_loss")` and `.paired(...)` compare the cells.

    Raises:
      ValueError: no seed, a seed twice, an unknown mode, cells that are none, or what `fit` refuses.
      TypeError: a step where a function of hyper-parameters is needed, or the reverse; an argument it does not take.

    Example:
      >>> def make_step(learning_rate):  # doctest: +SKIP
      ...     return make_train_step(objective, optax.sgd(learning_rate))
      >>> def init(key, learning_rate):  # doctest: +SKIP
      ...     return init_state(model, optax.sgd(learning_rate), x[:1], key=key)
      >>> runs = run_many(make_step, init, (x, y), seeds=range(5), hyperparameters={"learning_rate": [0.1, 0.3]},
      ...                 epochs=3, batch_size=32, validation=held_out)  # doctest: +SKIP
      >>> print(runs.table("validation_loss"))  # doctest: +SKIP
    """
    listed = [] if isinstance(seeds, (int, np.integer)) else list(seeds)
    if not listed or len(set(listed)) != len(listed):
        raise ValueError(f"seeds: expected at least one seed, each once; got {seeds}. Pass for example range(5).")
    if not callable(init):
        raise TypeError(
            f"init: expected a function key -> TrainState; got {type(init).__name__}. "
            "Pass for example lambda key: init_state(model, tx, x[:1], key=key)."
        )
    if mode not in ("auto", *STRATEGIES):
        raise ValueError(f"mode: expected auto, vmap or map; got {mode!r}. Use 'auto' to have it measured.")
    if members_at_once is not None:
        checks.whole_number(members_at_once=members_at_once, minimum=1, remedy="None takes as many as fit.")
    placed = _checked_devices(devices)
    if hyperparameters is None:
        made = example = _checked_step(step)
        cells = [{}]
    else:
        cells = numeric_cells(hyperparameters)
        made, example = check_make_step(step, cells)
        check_init(init, cells)
    members = tuple({**cell, "seed": int(seed)} for cell in cells for seed in listed)
    arrays = [as_arrays(cell) for cell in cells for _ in listed]

    def start(i: int) -> TrainState:
        key = jax.random.key(members[i]["seed"])
        if hyperparameters is None:
            return init(key)
        return member_programs.start_program(key, arrays[i], init=init)

    first = start(0)
    if first.stopping is not None:
        raise ValueError(
            "init: expected states without early stopping, which run_many begins itself; got one with it. "
            "Pass early_stopping= to run_many alone."
        )
    schedule = make_schedule(
        example, first, data, validation, epochs=epochs, steps=steps, batch_size=batch_size,
        evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    watch = Stopwatch()
    held_out = None if validation is None else Arrays(jax.device_put(validation), None)
    check_followers(example, first, held_out, early_stopping=early_stopping)
    job = Job(
        made, example, jax.device_put(data), held_out and held_out.data, schedule, watch, early_stopping
    )  # fmt: skip
    plan = make_plan(
        job, mode, placed, first, arrays[0], num_members=len(members), members_at_once=members_at_once
    )  # fmt: skip
    parts = []
    for begin in range(0, len(members), plan.size):
        rows = range(begin, min(begin + plan.size, len(members)))
        singles = [first if i == 0 else start(i) for i in rows]
        parts.append(_run_group(job, plan, singles, [arrays[i] for i in rows], rows, len(members), progress))
    states, histories = zip(*parts, strict=True)
    return ManyRuns(_joined_states(states), _joined(histories), members, plan.timings, plan.size)


def _run_group(
    job: Job,
    plan: Plan,
    singles: Sequence[TrainState],
    cells: Sequence[dict[str, jax.Array]],
    rows: range,
    num_members: int,
    progress: bool | None,
) -> tuple[TrainState, History]:
    """The members of `rows`, from their start to the end."""
    strategy, schedule = plan.strategy, job.schedule
    for i, single in zip(rows, singles, strict=True):
        if int(single.step) != schedule.first_step:
            raise ValueError(
                f"init: expected members that have done the same number of steps; got {schedule.first_step} for "
                f"member 0 and {int(single.step)} for member {i}. They share the step counter."
            )
    rule = job.early_stopping
    group = strategy.muster(singles if rule is None else [rule.start(single) for single in singles], cells, plan.size)
    stopped = np.zeros(len(rows), bool)
    recorder = Recorder(first_step=schedule.first_step, time_axis=1, measure_every=job.example.measure_every)
    whole = len(rows) == num_members
    names = f"{num_members} members" if whole else f"members {rows[0] + 1} to {rows[-1] + 1} of {num_members}"
    listeners = Callbacks([ProgressBar(progress, description=names)])
    listeners.tell(
        RunStart(
            None, schedule.first_step, schedule.last_step, schedule.steps_per_epoch, schedule.batch_size,
            name_of(strategy), members=len(rows),
        )
    )  # fmt: skip
    for begin, length in schedule.segments(schedule.steps_per_epoch):
        group, metrics = strategy.advance(group, length)
        recorder.add(metrics)
        for first, found in recorder.news():
            listeners.tell(Steps(first, found))
        if job.validation is not None and schedule.evaluates_after(begin + length):
            values = strategy.evaluate(group)
            recorder.add_evaluation(
                begin + length, {name: np.where(stopped, np.nan, value) for name, value in values.items()}
            )
            if rule is not None and schedule.ends_an_interval(begin + length):
                group = strategy.observed(group, rule, rule.value(values))
                stopped = strategy.stopped(group)
        if stopped.all():
            break
    listeners.tell(RunEnd(schedule.last_step, "done"))
    states = strategy.gathered(group)
    history = finished(recorder, schedule, name_of(strategy), job.watch, states)
    return states if len(rows) == num_members else jax.device_put(states, jax.local_devices(backend="cpu")[0]), history


def _checked_step(step: Any) -> TrainStep:
    if callable(step) and not isinstance(step, TrainStep):
        raise TypeError(
            f"step: expected what make_train_step(objective, tx) returns; got {type(step).__name__}. "
            "A function of hyper-parameters needs hyperparameters={...}."
        )
    return step  # what is no function either is refused with the schedule


def _checked_devices(devices: Any) -> Sequence[Device]:
    if devices is None:
        chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        if chosen is None:
            return jax.local_devices()
        return [jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen]
    listed = list(devices) if isinstance(devices, (list, tuple)) else []
    if not listed or not all(isinstance(d, jax.Device) for d in listed) or len(set(listed)) < len(listed):
        raise ValueError(
            f"devices: expected a list of at least one jax.Device, each once; got {devices!r}. "
            "Pass for example jax.devices()."
        )
    return listed


def _joined_states(parts: Sequence[TrainState]) -> TrainState:
    if len(parts) == 1:
        return parts[0]
    bare = [replace(part, step=()) for part in parts]
    return replace(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *bare), step=parts[0].step)


def _joined(histories: Sequence[History]) -> History:
    """One history of the members of all groups; the seconds of the last one are those of the whole call."""
    if len(histories) == 1:
        return histories[0]
    together: Any = lambda name: jax.tree.map(  # noqa: E731
        lambda *arrays: np.concatenate(arrays), *(getattr(history, name) for history in histories)
    )
    return replace(histories[-1], **{name: together(name) for name in ("train", "validation", "measures")})
