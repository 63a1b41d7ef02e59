"""The folder of many runs: the plan they were begun with, and a folder of checkpoints for every group."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.training.checkpoints import configuration
from jaxdl.training.checkpoints.policy import Checkpoints
from jaxdl.training.checkpoints.store import DamagedCheckpointError, make_writable
from jaxdl.training.run_folder import Resume, RunFolder
from jaxdl.training.state import TrainState
from jaxdl.training.sweep.cells import Cell, at_cell
from jaxdl.training.sweep.job import Job

PyTree = Any
PLAN, ROWS = "many.json", "rows.csv"
MOST = 8  # differences a message lists


class ManyFolder:
    """Keeps how members were grouped, so that the same call finds its groups again, each with its checkpoints.

    Args:
      folder: made where it is missing.
      policy: of the checkpoints.
      mode: as `resume` of `run_many`.
      members: of each, hyper-parameters and seed.
      config: plain values that have to be the same when the runs go on.
      program: text of the traced step.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        policy: Checkpoints,
        mode: Resume,
        *,
        members: Sequence[Mapping[str, Any]],
        config: configuration.Config,
        program: str,
    ) -> None:
        self.folder, self.policy = Path(folder).absolute(), policy
        self._members: list[dict[str, Any]] = configuration.plain({"members": [dict(each) for each in members]})[
            "members"
        ]
        self._config, self._program = config, program
        make_writable(self.folder)
        begun = any(self.folder.glob("members_*/checkpoints/[0-9]*"))
        if mode == "never" and begun:
            raise ValueError(
                f"resume: expected a folder without checkpoints for 'never'; got {self.folder} with some. "
                "Pass another folder, or resume='auto' to go on."
            )
        if mode == "must" and not begun:
            raise FileNotFoundError(
                f"resume: expected a folder with a checkpoint for 'must'; got {self.folder} without one. "
                "Pass the folder of the runs, or resume='auto' to begin where there is none."
            )
        self.plan = self._read() if begun else None

    def keep(self, plan: Mapping[str, Any]) -> None:
        """Writes the plan, as a whole or not at all."""
        if self.plan is None:
            self.plan = {**configuration.plain(plan), "members": self._members}
            text = json.dumps({"plan": self.plan, "sha256": _digest(self.plan)}, indent=1)
            self._write(PLAN, text)

    def group(self, rows: range) -> RunFolder:
        """The folder of the members of these rows."""
        members = {"members": [self._members[i] for i in rows]}
        name = f"members_{rows[0]}_to_{rows[-1]}"
        return RunFolder(self.folder / name, self.policy, config={**members, **self._config}, program=self._program)

    def keep_rows(self, text: str) -> None:
        """Writes the table of what all members reached."""
        self._write(ROWS, text)

    def _read(self) -> dict[str, Any]:
        path = self.folder / PLAN
        kept: dict[str, Any] = {}
        try:
            kept = json.loads(path.read_text())
            intact = kept["sha256"] == _digest(kept["plan"])
        except (OSError, ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            raise DamagedCheckpointError(
                f"{path}: the file is missing or damaged; it says how the members were grouped. Take their states out "
                "by restore_checkpoint(folder / 'members_...' / 'checkpoints', like), or pass another folder."
            )
        before, now = (dict(enumerate(members)) for members in (kept["plan"]["members"], self._members))
        found = configuration.differences(*({f"member {i}": each for i, each in m.items()} for m in (before, now)))
        if found:
            more = f" (and {len(found) - MOST} more)" if len(found) > MOST else ""
            raise ValueError(
                f"seeds, hyperparameters: expected those of the runs in {self.folder}; these differ:\n  "
                + "\n  ".join(found[:MOST])
                + f"{more}\nPass them as they were, or another folder."
            )
        return kept["plan"]

    def _write(self, name: str, text: str) -> None:
        unfinished = self.folder / f".{name}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self.folder / name)


def _digest(plan: Any) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def many_folder(
    job: Job,
    first: TrainState,
    cell: Cell,
    members: Sequence[Mapping[str, Any]],
    folder: str | os.PathLike[str],
    policy: Checkpoints,
    resume: Resume,
    config: configuration.Config,
    *,
    samples: np.ndarray | None,
) -> ManyFolder:
    """The folder, with all that has to be the same for the runs to go on to the same numbers."""
    schedule, example = job.schedule, job.example
    held_out = None if job.validation is None else configuration.data_fingerprint(job.validation)
    stopping = {
        "rule": repr(job.early_stopping),
        "evaluate_every": schedule.evaluate_every,
        "validation": held_out,
    }
    key = schedule.order_key
    options = configuration.plain(
        {
            "batch_size": schedule.batch_size,
            "shuffle": schedule.shuffle,
            "order_key": None if key is None else jax.random.key_data(key),
            "measure_every": example.measure_every,
            "average": repr(example.average),
            "guard": example.guard,
            "early_stopping": stopping if job.early_stopping is not None else None,
            "data": configuration.data_fingerprint(job.data),
            **({} if samples is None else {"samples": configuration.data_fingerprint(samples)}),
        }
    )

    def traced(state: TrainState, batch: PyTree, cell: Cell) -> Any:
        return at_cell(job.step, cell)(state, batch)

    with job.naming_shapes("data"):
        program = configuration.program_text(traced, jax.eval_shape(lambda s: s, first), job.batch_outline(), cell)
    return ManyFolder(
        folder, policy, resume, members=members, config={**options, "user": config}, program=program
    )  # fmt: skip
