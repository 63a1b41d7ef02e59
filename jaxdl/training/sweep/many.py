"""`run_many`: seeds, and cells of hyper-parameters, as one program."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.training.checkpoints import configuration
from jaxdl.training.checkpoints.policy import Checkpoints
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.fit import check_kinds
from jaxdl.training.interruption import Interruptions
from jaxdl.training.run_folder import Resume, check_saving
from jaxdl.training.schedule import make_schedule
from jaxdl.training.sources import Arrays, check_followers
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep
from jaxdl.training.sweep import member_programs
from jaxdl.training.sweep.cells import (
    SAMPLE,
    Grid,
    as_arrays,
    check_init,
    check_make_step,
    checked_samples,
    numeric_cells,
)
from jaxdl.training.sweep.group_run import GroupRun
from jaxdl.training.sweep.job import Job
from jaxdl.training.sweep.joining import joined_histories, joined_states
from jaxdl.training.sweep.many_folder import many_folder
from jaxdl.training.sweep.memory import Device
from jaxdl.training.sweep.results import ManyRuns
from jaxdl.training.sweep.strategies import STRATEGIES, Mode, make_plan
from jaxdl.tree import num_examples

PyTree = Any


def run_many(
    step: TrainStep | Callable[..., TrainStep],
    init: Callable[..., TrainState],
    data: PyTree,
    *,
    seeds: Sequence[int],
    hyperparameters: Grid | None = None,
    samples: Any = None,
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
    folder: str | os.PathLike[str] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: Resume = "auto",
    config: Mapping[str, Any] | None = None,
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
      samples: the examples that the member of each seed trains on, in every cell: indices into `data`, whole numbers of
        shape `(seeds, size)`, in which an example may stand several times or not at all: bootstrap samples, folds,
        subsets. The data lie on the device once. The member is then, by the same law, the run on `data[samples[i]]`.
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
      folder, checkpoints, resume, config: as for `fit`; `keep_best` has no meaning here. Every group of members has its
        own checkpoints in the folder, with its history; beside them stand `many.json`, how the members were grouped,
        and at the end `rows.csv`. The same call goes on with the groups that are not done, in the mode that was taken.

    Returns:
      `states, history`, as the `ManyRuns` unpacks: states whose leaves have a leading member axis (but `step`, which
      they share), and a `History` whose arrays have one too. A member whose loss is not finite disturbs no other;
      look at its row. `.table("validation_loss")` and `.paired(...)` compare the cells.

    Raises:
      ValueError: no seed, a seed twice, an unknown mode, cells that are none, samples that are no rows of indices, or
        what `fit` refuses.
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
    check_kinds(folder=folder, checkpoints=checkpoints, early_stopping=early_stopping)
    check_saving(folder, checkpoints, resume)
    config, policy = configuration.plain(config), checkpoints or Checkpoints()
    if policy.keep_best:
        raise ValueError(
            f"checkpoints: expected keep_best=0 for many runs, which have no best step in common; got "
            f"{policy.keep_best}. early_stopping keeps the best of each."
        )
    if hyperparameters is None:
        made = example = _checked_step(step)
        cells = [{}]
    else:
        cells = numeric_cells(hyperparameters)
        made, example = check_make_step(step, cells)
        check_init(init, cells)
    members = tuple({**cell, "seed": int(seed)} for cell in cells for seed in listed)
    drawn = None if samples is None else checked_samples(samples, len(listed), num_examples(data))
    own: list[dict[str, Any]] = [{} if drawn is None else {SAMPLE: drawn[i]} for i in range(len(listed))]
    arrays = [{**as_arrays(cell), **sample} for cell in cells for sample in own]

    def start(i: int) -> TrainState:
        key = jax.random.key(members[i]["seed"])
        numbers = {name: value for name, value in arrays[i].items() if name != SAMPLE}
        state = init(key) if hyperparameters is None else member_programs.start_program(key, numbers, init=init)
        check_state(state, argument="what init returns")
        if state.stopping is not None:
            raise ValueError(
                "init: expected states without early stopping, which run_many begins itself; got one with it. "
                "Pass early_stopping= to run_many alone."
            )
        return state if early_stopping is None else early_stopping.start(state)

    first = start(0)
    schedule = make_schedule(
        example, first, data if drawn is None else drawn[0], validation, epochs=epochs, steps=steps,
        batch_size=batch_size, evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    watch = Stopwatch()
    held_out = None if validation is None else Arrays(jax.device_put(validation), None)
    check_followers(example, first, held_out, early_stopping=early_stopping)
    job = Job(
        made, example, jax.device_put(data), held_out and held_out.data, schedule, watch, early_stopping
    )  # fmt: skip
    runs = None
    if folder is not None:
        runs = many_folder(job, first, arrays[0], members, folder, policy, resume, config, samples=drawn)
    kept = None if runs is None else runs.plan
    if kept is not None:  # the groups have to be found again
        members_at_once = _as_before(members_at_once, kept["members_at_once"], folder)
        mode, placed = kept["mode"] if mode == "auto" else mode, placed[: kept["devices"]]
    with job.naming_shapes("data"):
        plan = make_plan(
            job, mode, placed, first, arrays[0], num_members=len(members), members_at_once=members_at_once
        )  # fmt: skip
    if runs is not None:
        runs.keep(
            {
                "members_at_once": plan.size,
                "mode": plan.strategy.mode,
                "devices": len(plan.strategy.devices),
                "timings": plan.timings,
            }
        )
    timings = plan.timings if kept is None else kept["timings"]
    parts = []
    with Interruptions(active=runs is not None) as interruptions:
        for begin in range(0, len(members), plan.size):
            rows = range(begin, min(begin + plan.size, len(members)))
            singles = [first if i == 0 else start(i) for i in rows]
            _check_steps(singles, rows, schedule.first_step)
            group = GroupRun(
                job, plan, singles, [arrays[i] for i in rows], interruptions=interruptions,
                folder=None if runs is None else runs.group(rows),
            )  # fmt: skip
            parts.append(group.run(_names(rows, len(members)), progress))
            if len(rows) < len(members):  # done, and the next ones need the room
                parts[-1] = (jax.device_put(parts[-1][0], jax.local_devices(backend="cpu")[0]), parts[-1][1])
    states, histories = zip(*parts, strict=True)
    found = ManyRuns(joined_states(states), joined_histories(histories), members, timings, plan.size)
    if runs is not None:
        runs.keep_rows(found.to_csv())
    return found


def _as_before(given: int | None, kept: int, folder: Any) -> int:
    if given is not None and given != kept:
        raise ValueError(
            f"members_at_once: expected {kept}, as the runs in {folder} were begun with; got {given}. "
            "Leave it out, or pass another folder."
        )
    return kept


def _check_steps(singles: Sequence[TrainState], rows: range, first_step: int) -> None:
    for i, single in zip(rows, singles, strict=True):
        if int(single.step) != first_step:
            raise ValueError(
                f"init: expected members that have done the same number of steps; got {first_step} for "
                f"member 0 and {int(single.step)} for member {i}. They share the step counter."
            )


def _names(rows: range, num_members: int) -> str:
    return (
        f"{num_members} members"
        if len(rows) == num_members
        else f"members {rows[0] + 1} to {rows[-1] + 1} of {num_members}"
    )


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
