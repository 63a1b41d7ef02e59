"""The folder of a run: its checkpoints, its log, and what it was made of."""

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxdl import checks
from jaxdl.training.checkpoints import configuration
from jaxdl.training.checkpoints.policy import Checkpoints
from jaxdl.training.checkpoints.store import CheckpointStore, warn_of_damaged
from jaxdl.training.history import Recorder
from jaxdl.training.state import TrainState

PyTree = Any
Resume = Literal["auto", "never", "must"]
PROGRAM = "program.txt"


def check_saving(folder: Any, checkpoints: Checkpoints | None, resume: Any) -> None:
    """Raises ValueError for arguments about saving that say nothing without a folder, or nothing at all."""
    checks.one_of(resume=resume, among=("auto", "never", "must"), remedy="'auto' goes on where it can.")
    if folder is None and (checkpoints is not None or resume != "auto"):
        raise ValueError(
            "folder: expected the folder of the run, since checkpoints or resume are given; got None. "
            "Pass for example folder='runs/a'."
        )


class Resumed(NamedTuple):
    """Where a run goes on: its state, the position of its data, whether it comes from a checkpoint."""

    state: TrainState
    position: Any
    from_checkpoint: bool


class RunFolder:
    """Saves a run in `folder/checkpoints` when its policy says so, and finds it there again.

    `config` holds plain values that must be the same when the run goes on; `program` is the text of its traced step.
    """

    def __init__(
        self, folder: str | os.PathLike[str], policy: Checkpoints, *, config: configuration.Config, program: str
    ) -> None:
        self.folder = Path(folder).absolute()
        self.policy = policy
        self.store = CheckpointStore(self.folder / "checkpoints", policy)
        self._config = {**config, "program": {"jax": jax.__version__, "sha256": _digest(program)}}
        self._program = program
        self._saved_step = -1
        self._saved_at = time.monotonic()
        self._announced = -1

    def resume(self, mode: Resume, state: TrainState, recorder: Recorder, measure: Any) -> Resumed:
        """The newest intact checkpoint, the history included, or the state as it is."""
        found = self.store.set_damaged_aside()
        if found:
            warn_of_damaged(self.store.folder, found)
        steps = self.store.steps()
        if mode == "never" and steps:
            raise ValueError(
                f"resume: expected a folder without checkpoints for 'never'; got {self.folder} with those of the steps "
                f"{steps}. Pass another folder, or resume='auto' to go on from step {steps[-1]}."
            )
        if not steps:
            if mode == "must":
                raise FileNotFoundError(
                    f"resume: expected a folder with a checkpoint for 'must'; got {self.folder} without an intact one. "
                    "Pass the folder of the run, or resume='auto' to begin where there is none."
                )
            self._write_program()
            return Resumed(state, None, False)
        newest = steps[-1]
        notes = self.store.notes(newest)
        self._check_config(newest, notes["config"])
        if int(state.step) > newest:
            raise ValueError(
                f"state: expected one at step {newest} at most, the newest checkpoint in {self.folder}; got one at "
                f"step {int(state.step)}. Pass the state the run began with, or another folder."
            )
        saved = self.store.restore(newest, state)
        recorder.restore(saved.record, step=newest, measure=measure)
        self._saved_step = self._announced = newest
        return Resumed(saved.state, notes["position"], True)

    def due(self, step: int, recorder: Recorder, *, evaluated: bool) -> bool:
        """Whether the run shall be saved with `step` updates done."""
        policy = self.policy
        by_steps = policy.every_steps is not None and step - max(self._saved_step, 0) >= policy.every_steps
        minutes = (time.monotonic() - self._saved_at) / 60
        by_time = policy.every_minutes is not None and minutes >= policy.every_minutes
        return by_steps or by_time or (evaluated and self._among_best(recorder))

    def _among_best(self, recorder: Recorder) -> bool:
        if not self.policy.keep_best:
            return False
        values = np.asarray(recorder.evaluations(self.policy.metric), float)
        values = np.nan_to_num(values if self.policy.mode == "min" else -values, nan=np.inf)
        return bool(np.sum(values[:-1] <= values[-1]) < self.policy.keep_best)

    def save(
        self, step: int, state: TrainState, recorder: Recorder, *, position: Any, metrics: Mapping[str, float]
    ) -> None:
        """Starts saving, unless this step is saved already."""
        if step == self._saved_step:
            return
        notes = {"config": self._config, "position": position}
        self.store.save(step, state, record=recorder.arrays(), notes=notes, metrics=metrics)
        self._saved_step, self._saved_at = step, time.monotonic()

    def announcement(self) -> tuple[int, Path] | None:
        """Step and path of a checkpoint that has become complete since the last call."""
        if self._announced == self._saved_step or not self.store.finished():
            return None
        self._announced = self._saved_step
        return self._saved_step, self.store.path(self._saved_step)

    def _write_program(self) -> None:
        if jax.process_index() == 0:
            unfinished = self.folder / f".{PROGRAM}"
            unfinished.write_text(self._program)
            unfinished.replace(self.folder / PROGRAM)

    def _check_config(self, step: int, saved: configuration.Config) -> None:
        now = configuration.plain(self._config)
        found = configuration.differences(_without_program(saved), _without_program(now))
        if not found and saved["program"] != now["program"] and saved["program"]["jax"] == now["program"]["jax"]:
            kept = self.folder / PROGRAM
            lines = configuration.first_difference(kept.read_text(), self._program) if kept.is_file() else "(not kept)"
            found = [f"the traced training step: its first lines that differ are\n{lines}"]
        if found:
            raise ValueError(
                f"config: expected the run that was saved at step {step} in {self.folder}; this one differs:\n  "
                + "\n  ".join(found)
                + "\nMake the run as it was, pass another folder, or take the state out by restore_checkpoint(folder / "
                "'checkpoints', state) and begin a new run from it."
            )


def _without_program(config: Mapping[str, Any]) -> configuration.Config:
    return {name: value for name, value in config.items() if name != "program"}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
