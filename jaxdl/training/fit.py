"""`fit`: a thin caller of the step, over epochs, with a record."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.training.callbacks import Callback, Callbacks, Event, JSONLLog, ProgressBar
from jaxdl.training.checkpoints import configuration
from jaxdl.training.checkpoints.policy import Checkpoints
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.driver import Driver, faster_engine
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.engines import ENGINES, Engine
from jaxdl.training.history import History, Recorder
from jaxdl.training.interruption import Interruptions
from jaxdl.training.loop import Loop
from jaxdl.training.parallel import Layout
from jaxdl.training.run_folder import Resume, RunFolder, check_saving
from jaxdl.training.schedule import Schedule, check_arguments, check_batch_size, scheduled
from jaxdl.training.sources import Arrays, Streamed, check_followers, naming_shapes, training_source, validation_source
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.training.streaming import StreamDriver

PyTree = Any


class FitResult(NamedTuple):
    """State after the last step, and the record of the run.

    Attributes:
      state: a `TrainState`; after early stopping the best one.
      history: a `History`.
    """

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
    steps_per_epoch: int | None = None,
    validation: PyTree = None,
    evaluate_every: int = 1,
    engine: Engine | Literal["auto"] = "epoch",
    chunk_size: int = 100,
    shuffle: bool = True,
    progress: bool | None = None,
    order_key: jax.Array | None = None,
    layout: Layout | None = None,
    folder: str | os.PathLike[str] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: Resume = "auto",
    config: Mapping[str, Any] | None = None,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback | Callable[[Event], None]] = (),
) -> FitResult:
    """Trains until a total number of epochs or steps is done.

    The data are put on the device once and shuffled there, anew for every epoch, by a permutation that depends on
    `state.key` (or `order_key`) and the epoch alone. An epoch has `len(data) // batch_size` steps; the examples left
    over differ from epoch to epoch. A state that has done some steps goes on from there, mid-epoch too, and arrives at
    the same bytes.

    Args:
      step: from `make_train_step`.
      state: from `init_state` or `make_state`; it stays valid.
      data: pytree of arrays with one leading example axis, such as `(x, y)` or a split of `jaxdl.data.load`; or what
        is streamed, see `jaxdl.data.as_stream`: a data set's name, a `Stream`, a Grain dataset, an iterable of batches.
      epochs: epochs that shall be done in total, or
      steps: steps that shall be done in total; exactly one of the two.
      batch_size: examples a step.
      steps_per_epoch: of a stream that does not know how long its epochs are; for no other data.
      validation: like `data`, of a stream one pass; evaluated exactly, at the end and
      evaluate_every: after so many epochs.
      engine: `"epoch"` (one program an epoch), `"chunk"` (scans of `chunk_size` steps), `"loop"` (one step a call),
        or `"auto"`: the faster of epoch and loop, measured on a copy of the state and kept in `history.engine`.
        On one CPU all of them give the same bytes.
      chunk_size: steps a call of the chunk engine, and between refreshes of the progress bar of the loop.
      shuffle: False visits the examples in their order.
      progress: True or False; None shows a bar when stderr is a terminal. Of several processes the first shows it.
      order_key: typed key from which the order of every epoch is drawn in place of `state.key`: runs with different
        states then see the same batches. A run that goes on needs the same one again.
      layout: devices that share each batch, `data_parallel(...)`; None for the one the data are put on. Of several
        processes each passes its own part of the data and of the validation data.

      folder: of the run, made where it is missing: `log.jsonl`, `checkpoints/` and, where numbers were not finite,
        `not_finite/`. With one, the run is saved, on SIGTERM and SIGINT too, and the same call goes on from there.
      checkpoints: when the run is saved and what is kept; `Checkpoints()` saves every 10 minutes and at the end.
      resume: `"auto"` goes on from the newest intact checkpoint of `folder`, where there is one; `"must"` raises where
        there is none, `"never"` where there is one. The history goes on as well.
      config: plain values that say what the run is made of, such as `{"learning_rate": 0.1}`. They are saved, and
        have to be the same when the run goes on; so have the data, the batch size, the key, the options of the step and
        its traced program, in which every constant stands. The number of epochs may grow, devices may change.
      early_stopping: `EarlyStopping(patience=...)`, by a metric of the validation data.
      callbacks: objects of `jaxdl.training.callbacks`, or functions of one event; called in their order.

    Returns:
      The final state and its `History`. A run that stopped early returns the best state, where it is kept.

    Raises:
      ValueError, TypeError: arguments that make no run; the message names the argument.
      NotFiniteError: a FloatingPointError: numbers that are not finite; it names the step and the layer where that
        began, and carries the state before it, the batch and the history.
      Interrupted: a KeyboardInterrupt: a signal came, and the run was saved. It carries state and history.
      CallbackError: a RuntimeError: a callback raised; the run was saved where there is a folder. It carries state and
        history.
      CheckpointWriteError: an OSError: the folder cannot be written or the disk is full; earlier checkpoints stay. It
        carries state and history.
    """
    check_arguments(
        step, state, batch_size=batch_size, evaluate_every=evaluate_every, order_key=order_key, epochs=epochs,
        steps=steps,
    )  # fmt: skip
    checks.one_of(engine=engine, among=(*ENGINES, "auto"), remedy="Use 'epoch'.")
    checks.whole_number(chunk_size=chunk_size, minimum=1, remedy="Try 100.")
    check_kinds(folder=folder, checkpoints=checkpoints, early_stopping=early_stopping, layout=layout)
    check_saving(folder, checkpoints, resume)
    callbacks = Callbacks.checked(callbacks)
    config = configuration.plain(config)
    policy = checkpoints or Checkpoints()
    if layout is not None:
        layout.check_batch(batch_size, microbatches=step.microbatches)
    source = training_source(
        data, batch_size=batch_size, shuffle=shuffle, key=state.key if order_key is None else order_key, layout=layout,
        steps_per_epoch=steps_per_epoch,
    )  # fmt: skip
    validating = validation_source(validation, layout=layout)
    check_batch_size(batch_size, source.num_examples)
    schedule = scheduled(
        state, num_examples=source.num_examples, steps_per_epoch=source.steps_per_epoch(batch_size), epochs=epochs,
        steps=steps, batch_size=batch_size, evaluate_every=evaluate_every, shuffle=shuffle, order_key=order_key,
    )  # fmt: skip
    check_followers(
        step, state, validating, early_stopping=early_stopping, checkpoints=policy if policy.keep_best else None
    )  # fmt: skip
    if early_stopping is not None:
        state = early_stopping.start(state)
    elif state.stopping is not None:
        raise ValueError(
            "early_stopping: expected what the run of this state began with; got None. Pass it again, or drop what it "
            "remembers by dataclasses.replace(state, stopping=None)."
        )
    state = state if layout is None else layout.place_state(state)
    recorder = Recorder(
        first_step=schedule.first_step, time_axis=0, measure_every=step.measure_every, guard=step.guard
    )  # fmt: skip
    run, resumed, position = None, False, None
    if folder is not None:
        batch = source.outline(batch_size)
        with naming_shapes(source, batch_size, "data"):
            program = configuration.program_text(step, jax.eval_shape(lambda state: state, state), batch)
        options = _options(step, state, source, validating, schedule, early_stopping)
        run = RunFolder(folder, policy, config={**options, "user": config}, program=program)
        measure = None if step.measure is None else jax.tree.structure(jax.eval_shape(step.measured, state, batch))
        found = run.resume(resume, state, recorder, measure)
        state, position, resumed = found
        schedule = schedule.begun_at(int(state.step))
    watch = Stopwatch()
    driver = source.driver(step, schedule, watch, position)
    state = jax.tree.map(jnp.copy, state)  # the programs overwrite their state in place; the caller keeps theirs
    chosen = "stream" if isinstance(driver, StreamDriver) else engine
    if isinstance(driver, Driver) and engine == "auto":
        chosen = faster_engine(driver, state)
    longest = schedule.steps_per_epoch if chosen == "epoch" else chunk_size
    if run is not None and policy.every_steps is not None:
        longest = min(longest, policy.every_steps)
    with Interruptions(active=run is not None) as interruptions:
        loop = Loop(
            step=step,
            source=source,
            validation=validating,
            schedule=schedule,
            driver=driver,
            watch=watch,
            engine=chosen,
            longest=longest,
            state=state,
            recorder=recorder,
            callbacks=Callbacks([*_listeners(run, progress), *callbacks]),
            interruptions=interruptions,
            early_stopping=early_stopping,
            folder=run,
            resumed=resumed,
            config=config,
        )
        history = loop.run()
    return FitResult(loop.state, history)


_KINDS: dict[str, tuple[Any, str]] = {
    "folder": ((str, os.PathLike), "'runs/a'"),
    "checkpoints": (Checkpoints, "jaxdl.training.Checkpoints(every_steps=1000)"),
    "early_stopping": (EarlyStopping, "jaxdl.training.EarlyStopping(patience=10)"),
    "layout": (Layout, "jaxdl.training.data_parallel()"),
}


def check_kinds(**given: Any) -> None:
    """Raises TypeError for an option of another kind."""
    for name, value in given.items():
        kind, example = _KINDS[name]
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{name}: expected None or what looks like {example}; got {type(value).__name__}. Pass that."
            )


def _listeners(run: RunFolder | None, progress: bool | None) -> list[Callback]:
    """The bar and the log, of the first process alone."""
    if jax.process_index() > 0:
        return []
    bar: list[Callback] = [ProgressBar(progress)]
    return bar if run is None else [*bar, JSONLLog(run.folder / "log.jsonl")]


def _options(
    step: TrainStep,
    state: TrainState,
    source: Arrays | Streamed,
    validation: Arrays | Streamed | None,
    schedule: Schedule,
    early_stopping: EarlyStopping | None,
) -> configuration.Config:
    """What has to be the same for a run to go on to the same numbers, beside its traced step."""
    stopping = {
        "rule": repr(early_stopping),
        "evaluate_every": schedule.evaluate_every,
        "validation": None if validation is None else validation.fingerprint(),
    }
    key = schedule.order_key
    return configuration.plain(
        {
            "batch_size": schedule.batch_size,
            "shuffle": schedule.shuffle,
            "key": jax.random.key_data(state.key),
            "order_key": None if key is None else jax.random.key_data(key),
            "measure_every": step.measure_every,
            "average": repr(step.average),
            "guard": step.guard,
            "early_stopping": stopping if early_stopping is not None else None,
            "data": source.fingerprint(),
        }
    )
