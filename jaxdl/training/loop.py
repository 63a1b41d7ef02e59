"""The loop of `fit`: segments of steps, and all that happens between two of them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.training import programs
from jaxdl.training.callbacks import CallbackError, Callbacks, Evaluation, RunEnd, RunStart, Saved, Steps
from jaxdl.training.callbacks.protocol import Reason
from jaxdl.training.checkpoints.store import CheckpointWriteError
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.driver import Driver, finished
from jaxdl.training.early_stopping import EarlyStopping, best, stopped
from jaxdl.training.history import History, Recorder
from jaxdl.training.interruption import Interrupted, Interruptions
from jaxdl.training.replay import NotFiniteError, explanation, message, save_bad_step
from jaxdl.training.run_folder import RunFolder
from jaxdl.training.schedule import Schedule
from jaxdl.training.sources import Arrays, Streamed, naming_shapes
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.training.streaming import StreamDriver

PyTree = Any
Values = dict[str, np.ndarray]


@dataclass
class Loop:
    """Advances `state` to the end of the run, or to what ends it before; `state` is always one that can go on."""

    step: TrainStep
    source: Arrays | Streamed
    validation: Arrays | Streamed | None
    schedule: Schedule
    driver: Driver | StreamDriver
    watch: Stopwatch
    engine: Any
    longest: int
    state: TrainState
    recorder: Recorder
    callbacks: Callbacks
    interruptions: Interruptions
    early_stopping: EarlyStopping | None
    folder: RunFolder | None
    resumed: bool
    config: dict[str, Any]
    _starts: deque[tuple[TrainState, Any]] = field(default_factory=lambda: deque(maxlen=2))  # under way, being fetched
    _values: Values = field(default_factory=dict)  # of the newest evaluation
    _values_step: int = -1
    _step: int = 0
    _halted: bool = False

    def run(self) -> History:
        """Trains, saves and tells; the history says why it ended."""
        self._step = int(self.state.step)
        try:
            self.callbacks.tell(self._beginning())
            ended = self._train()
            if self.folder is not None:
                self._save(self.folder)
                self.folder.store.wait()
                self._announce(self.folder)
        except BaseException as error:
            self._end_with(error)
            raise
        history = self._history(ended)
        if ended == "stopped early" and self.early_stopping is not None and self.early_stopping.restore_best:
            self.state = best(self.state) if int(_of(self.state).best_step) >= 0 else self.state
        try:
            self.callbacks.tell(RunEnd(self._step, ended))
        except CallbackError as error:
            error.state, error.history = self.state, history
            raise
        finally:
            self._close()
        return history

    def _beginning(self) -> RunStart:
        schedule = self.schedule
        return RunStart(
            folder=None if self.folder is None else self.folder.folder,
            first_step=self._step,
            last_step=schedule.last_step,
            steps_per_epoch=schedule.steps_per_epoch,
            batch_size=schedule.batch_size,
            engine=self.engine,
            resumed=self.resumed,
            config=self.config,
        )

    def _train(self) -> Reason:
        schedule = self.schedule
        self._halted = self.step.guard in ("stop", "raise") and int(self.state.bad_step) >= 0
        if self.resumed and not self._halted and self._missed_an_evaluation():
            self._evaluate()
        for start, length in schedule.segments(self.longest):
            if self._halted or stopped(self.state):
                break
            self._starts.append((jax.tree.map(jnp.copy, self.state), self.driver.position()))
            with naming_shapes(self.source, schedule.batch_size, "data"):
                if isinstance(self.driver, StreamDriver):
                    self.state, metrics = self.driver.advance(self.state, start, length)
                else:
                    self.state, metrics = self.driver.advance(self.engine, self.state, start, length)
            self._step = start + length
            self._take(self.recorder.add(metrics))
            if not self._halted and schedule.evaluates_after(self._step):
                self._evaluate()
            if not self._halted and self.folder is not None:
                self._visit(self.folder)
        self._take(self.recorder.fetch())
        return "not finite" if self._halted else "stopped early" if stopped(self.state) else "done"

    def _take(self, failed_step: int | None) -> None:
        """Tells what was fetched, and looks after the step at which the run failed, if it did."""
        for start, metrics in self.recorder.news():
            self.callbacks.tell(Steps(start, metrics))
        if failed_step is None or self._halted:
            return
        if self.step.guard == "stop":
            self._halted, self._step = True, failed_step
            self.state = replace(self.state, step=jnp.full_like(self.state.step, failed_step))
            self.recorder.drop_after(failed_step)
            return
        self._raise_not_finite(failed_step)

    def _raise_not_finite(self, failed_step: int) -> NoReturn:
        start, position = max(
            (pair for pair in self._starts if int(pair[0].step) <= failed_step), key=lambda pair: int(pair[0].step)
        )
        if self.step.guard == "raise":  # the state has not moved since
            step, bad_step = (jnp.full_like(self.state.step, value) for value in (failed_step, -1))
            still = replace(self.state, step=step, bad_step=bad_step)
            start = still if isinstance(self.source, Arrays) else start
            bad = self.source.bad_step(self.step, self.schedule, start, position, failed_step)._replace(state=still)
        else:
            bad = self.source.bad_step(self.step, self.schedule, start, position, failed_step)
        text = message(failed_step, explanation(self.step, bad))
        place: Path | None = None
        if self.folder is not None and bad.batch is not None:
            place = save_bad_step(self.folder.folder / "not_finite", bad, text)
            text += f" State and batch are in {place}; see jaxdl.training.replay."
        raise NotFiniteError(text, state=bad.state, batch=bad.batch, step=failed_step, folder=place)

    def _missed_an_evaluation(self) -> bool:
        """Whether the run was saved between the last step of an epoch and its evaluation, as after an error."""
        due = self.schedule.ends_an_interval(self._step) and not stopped(self.state)
        return due and self._step > max(self.recorder.evaluation_steps, default=0)

    def _evaluate(self) -> None:
        if self.validation is None:
            return
        with naming_shapes(self.validation, 1, "validation"):
            values = self.validation.evaluate(self.step, self.state, self.watch)
        self._take(self.recorder.fetch())
        if self._halted:
            return
        self.recorder.add_evaluation(self._step, values)
        self._values, self._values_step = values, self._step
        self.callbacks.tell(Evaluation(self._step, {name: float(value) for name, value in values.items()}))
        # An evaluation that only ends this call is none of the run's: a longer run would not have it.
        if self.early_stopping is not None and self.schedule.ends_an_interval(self._step):
            self.state = self._observed(self.early_stopping, values)

    def _observed(self, early_stopping: EarlyStopping, values: Values) -> TrainState:
        value = np.asarray(early_stopping.value(values), np.float32)  # of no device: of several processes, too
        call = self.watch.compiled(programs.observe_program, self.state, value, early_stopping=early_stopping)
        return call(self.state, value)

    def _visit(self, folder: RunFolder) -> None:
        """Saves where that is due, or asked for by a signal."""
        evaluated = self._values_step == self._step
        due = folder.due(self._step, self.recorder, evaluated=evaluated)
        asked, due = _in_any_process(self.interruptions.received is not None, due)
        if asked or due:
            self._save(folder)
        self._announce(folder)
        if asked and not self._halted:
            folder.store.wait()
            self._announce(folder)
            received = self.interruptions.received
            name = "a signal to another process" if received is None else received.name
            raise Interrupted(
                f"{name}: the run was saved at step {self._step} in {folder.store.path(self._step)}. "
                "Call fit as before, and it goes on from there.",
                received,
                self.state,
                self._history("interrupted"),
            )

    def _save(self, folder: RunFolder) -> None:
        self._take(self.recorder.fetch())  # a history without holes, and no state with bad numbers
        metrics = (
            {name: float(value) for name, value in self._values.items()} if self._values_step == self._step else {}
        )
        folder.save(self._step, self.state, self.recorder, position=self.driver.position(), metrics=metrics)

    def _announce(self, folder: RunFolder) -> None:
        complete = folder.announcement()
        if complete is not None:
            self.callbacks.tell(Saved(*complete))

    def _end_with(self, error: BaseException) -> None:
        """Saves what can be saved, tells everybody, and hands state and history to whom the error reaches."""
        if isinstance(error, (CallbackError, CheckpointWriteError, NotFiniteError)):
            if not isinstance(error, NotFiniteError):
                error.state = self.state
            sick = isinstance(error, NotFiniteError)
            error.history = _try(error, lambda: self._history("not finite" if sick else "error"))
        if self.folder is not None:
            if isinstance(error, CallbackError):
                _try(error, lambda: self._rescue(error))
            if not isinstance(error, CheckpointWriteError):
                _try(error, self.folder.store.wait)
        reason: Reason = "error"
        if isinstance(error, NotFiniteError):
            reason = "not finite"
        elif isinstance(error, KeyboardInterrupt):
            reason = "interrupted"
        _try(error, lambda: self.callbacks.tell(RunEnd(self._step, reason, str(error))))
        self._close()

    def _rescue(self, error: BaseException) -> None:
        """Saves the state after a callback raised, without telling the callbacks."""
        assert self.folder is not None
        self.recorder.fetch()
        self.folder.save(self._step, self.state, self.recorder, position=self.driver.position(), metrics={})
        self.folder.store.wait()
        error.add_note(f"The state was saved at step {self._step} in {self.folder.store.path(self._step)}.")

    def _close(self) -> None:
        self.driver.close()
        if self.folder is not None:
            self.folder.store.close()

    def _history(self, ended: Reason) -> History:
        return finished(self.recorder, self.schedule, self.engine, self.watch, self.state, ended=ended)


def _of(state: TrainState) -> Any:
    assert state.stopping is not None
    return state.stopping


def _try(error: BaseException, action: Callable[[], Any]) -> Any:
    """What an action returns; where it fails in turn, a note on the error that is on its way already."""
    try:
        return action()
    except Exception as further:
        error.add_note(f"Then {type(further).__name__}: {further}")
        return None


def _in_any_process(*flags: bool) -> tuple[bool, ...]:
    """Each flag as true where it is in any process: all must save together, or none."""
    if jax.process_count() == 1:
        return flags
    from jax.experimental import multihost_utils

    return tuple(bool(flag) for flag in multihost_utils.process_allgather(np.asarray(flags)).any(0))
