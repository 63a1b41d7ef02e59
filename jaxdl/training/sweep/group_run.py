"""One group of members, from its start or its newest checkpoint to its end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxdl.training.callbacks import Callbacks, ProgressBar, RunEnd, RunStart, Steps
from jaxdl.training.checkpoints.store import CheckpointWriteError
from jaxdl.training.driver import finished
from jaxdl.training.history import History, Recorder
from jaxdl.training.interruption import Interrupted, Interruptions
from jaxdl.training.run_folder import RunFolder
from jaxdl.training.state import TrainState
from jaxdl.training.sweep.cells import Cell
from jaxdl.training.sweep.job import Group, Job, one_of, stacked
from jaxdl.training.sweep.strategies import Plan, name_of

PyTree = Any


class GroupRun:
    """Advances the members of a group together, evaluates them, and saves them where there is a folder."""

    def __init__(
        self,
        job: Job,
        plan: Plan,
        singles: Sequence[TrainState],
        cells: Sequence[Cell],
        *,
        folder: RunFolder | None,
        interruptions: Interruptions,
    ) -> None:
        self.job, self.strategy, self.folder, self.interruptions = job, plan.strategy, folder, interruptions
        self.schedule = job.schedule
        self.recorder = Recorder(
            first_step=self.schedule.first_step, time_axis=1, measure_every=job.example.measure_every
        )
        if folder is not None:
            singles = self._resumed(folder, singles)
        self.group: Group = self.strategy.muster(singles, cells, plan.size)
        self.step = self.schedule.first_step

    def run(self, description: str, progress: bool | None) -> tuple[TrainState, History]:
        """Trains to the end; states with a leading member axis, and their history."""
        listeners = Callbacks([ProgressBar(progress, description=description)])
        schedule = self.schedule
        listeners.tell(
            RunStart(
                None, schedule.first_step, schedule.last_step, schedule.steps_per_epoch, schedule.batch_size,
                name_of(self.strategy), members=self.group.num_members,
            )
        )  # fmt: skip
        try:
            for start, length in schedule.segments(self._longest()):
                if self._stopped().all():
                    break
                with self.job.naming_shapes("data"):
                    self.group, metrics = self.strategy.advance(self.group, length)
                self.step = start + length
                self.recorder.add(metrics)
                for first, found in self.recorder.news():
                    listeners.tell(Steps(first, found))
                if self.job.validation is not None and schedule.evaluates_after(self.step):
                    self._evaluate()
                if self.folder is not None:
                    self._visit(self.folder)
            if self.folder is not None:
                self._save(self.folder)
                self.folder.store.wait()
        except CheckpointWriteError as error:
            error.state, error.history = self._result()
            raise
        finally:
            listeners.tell(RunEnd(self.step, "done"))
            if self.folder is not None:
                self.folder.store.close()
        return self._result()

    def _longest(self) -> int:
        every = None if self.folder is None else self.folder.policy.every_steps
        return self.schedule.steps_per_epoch if every is None else min(every, self.schedule.steps_per_epoch)

    def _evaluate(self) -> None:
        rule, stopped = self.job.early_stopping, self._stopped()
        with self.job.naming_shapes("validation"):
            values = self.strategy.evaluate(self.group)
        blank = {name: np.where(stopped, np.nan, each) for name, each in values.items()}
        self.recorder.add_evaluation(self.step, blank)
        if rule is not None and self.schedule.ends_an_interval(self.step):
            self.group = self.strategy.observed(self.group, rule, rule.value(values))

    def _stopped(self) -> np.ndarray:
        """Which members early stopping has ended, bool `(members,)`."""
        if self.job.early_stopping is None:
            return np.zeros(self.group.num_members, bool)
        return self.strategy.stopped(self.group)

    def _resumed(self, folder: RunFolder, singles: Sequence[TrainState]) -> Sequence[TrainState]:
        like = replace(jax.eval_shape(stacked, singles), step=singles[0].step)
        found = folder.resume("auto", like, self.recorder, self.job.measure_structure(singles[0]))
        if not found.from_checkpoint:
            return singles
        self.schedule = self.schedule.begun_at(int(found.state.step))
        return [one_of(found.state, i) for i in range(len(singles))]

    def _visit(self, folder: RunFolder) -> None:
        """Saves where that is due, or asked for by a signal."""
        asked = self.interruptions.received
        if asked or folder.due(self.step, self.recorder, evaluated=False):
            self._save(folder)
        if asked:
            folder.store.wait()
            text = (
                f"{asked.name}: the members under way were saved at step {self.step} in {folder.folder}. "
                "Call run_many as before, and it goes on from there."
            )
            raise Interrupted(text, asked, *self._result())

    def _save(self, folder: RunFolder) -> None:
        self.recorder.fetch()  # a history without holes
        folder.save(self.step, self.strategy.gathered(self.group), self.recorder, position=None, metrics={})

    def _result(self) -> tuple[TrainState, History]:
        states = self.strategy.gathered(self.group)
        return states, finished(self.recorder, self.schedule, name_of(self.strategy), self.job.watch, states)
