"""A folder of checkpoints: Orbax writes and reads them, checksums say which are intact."""

import shutil
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.training.checkpoints import encoding, integrity
from jaxdl.training.checkpoints.policy import Checkpoints

PyTree = Any
DAMAGED = "damaged"  # the folder in which damaged checkpoints are set aside
_UNFINISHED = ".orbax-checkpoint-tmp"


class DamagedCheckpointError(RuntimeError):
    """A checkpoint whose files are not as they were written."""


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; the earlier ones are as they were.

    Attributes:
      state, history: what `fit` would have returned at this step, where the error comes from there.
    """

    state: Any = None
    history: Any = None


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
      state: pytree like the one asked for.
      record: `{name: array}`, the history so far.
      notes: plain values: the configuration, the position of the data.
    """

    state: PyTree
    record: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


class CheckpointStore:
    """Saves, lists, checks and restores the checkpoints of one folder, which it makes; one process group a folder."""

    def __init__(self, folder: Path, policy: Checkpoints) -> None:
        self.folder, self.policy = folder.absolute(), policy
        self._manager: Any = None
        self._saving: int | None = None
        self._lock = threading.Lock()
        make_writable(self.folder)

    def steps(self) -> list[int]:
        """Steps of all finished checkpoints, the damaged ones included, in order."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit() and path.is_dir())

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return self.folder / str(step)

    def intact_steps(self) -> list[int]:
        """Steps of the checkpoints whose files are as they were written, in order."""
        return [step for step in self.steps() if integrity.damage(self.path(step)) is None]

    def set_damaged_aside(self) -> dict[int, str]:
        """Moves what is damaged into `damaged/`, so that it takes no intact one's place; `{step: what is wrong}`."""
        found = {step: reason for step in self.steps() if (reason := integrity.damage(self.path(step)))}
        _wait_for_all_processes("checkpoints_checked")
        if jax.process_index() == 0:
            for step in found:
                aside = self.folder / DAMAGED
                aside.mkdir(exist_ok=True)
                names = (f"{step}", *(f"{step}-{i}" for i in range(1, 1000)))
                self.path(step).rename(next(aside / name for name in names if not (aside / name).exists()))
        _wait_for_all_processes("damaged_checkpoints_set_aside")
        return found

    def save(
        self,
        step: int,
        state: PyTree,
        *,
        record: Mapping[str, np.ndarray] | None = None,
        notes: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Path:
        """Starts writing a checkpoint, once the one before is written, and returns the folder in which it will be."""
        import orbax.checkpoint as ocp

        outline = encoding.outline(state)
        record = {name: np.asarray(array) for name, array in (record or {}).items() if np.size(array)}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(encoding.encoded(state)),
            # Orbax refuses an empty tree.
            record=ocp.args.StandardSave({"step": np.asarray(step), **record}),
            notes=ocp.args.JsonSave({"step": step, "outline": outline, **(notes or {})}),
        )
        try:
            manager = self._open()
            manager.wait_until_finished()
            with self._lock:
                self._saving = step
            manager.save(step, args=items, metrics=self._scored(metrics or {}), force=True)
            if not self.policy.asynchronous:
                manager.wait_until_finished()
        except Exception as error:
            raise self._not_written(error) from error
        return self.path(step)

    def restore(self, step: int, like: PyTree) -> Saved:
        """The checkpoint of a step, its arrays where those of `like` lie.

        Raises:
          DamagedCheckpointError: its files are not as they were written; the message names the newest intact one.
          ValueError: it holds other leaves, shapes or dtypes than `like`; the message lists the differences.
        """
        import orbax.checkpoint as ocp

        notes = self.notes(step)
        self._check_outline(step, notes["outline"], encoding.outline(like))
        targets = encoding.targets(like)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(targets), record=ocp.args.StandardRestore())
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            restored = reader.restore(self.path(step), args=items)
        record = {name: np.asarray(array) for name, array in restored.record.items() if name != "step"}
        return Saved(encoding.decoded(restored.state, like), record, notes)

    def notes(self, step: int) -> dict[str, Any]:
        """The plain values of a checkpoint, without its arrays.

        Raises:
          DamagedCheckpointError: its files are not as they were written; the message names the newest intact one.
        """
        import orbax.checkpoint as ocp

        reason = integrity.damage(self.path(step))
        if reason is not None:
            raise self.damaged(step, reason)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            return reader.restore(self.path(step), args=ocp.args.Composite(notes=ocp.args.JsonRestore())).notes

    def outline(self, step: int) -> encoding.Outline:
        """`{path: [shape, dtype]}` of the state of a checkpoint."""
        return self.notes(step)["outline"]

    def damaged(self, step: int, reason: str) -> DamagedCheckpointError:
        """The error that names a damaged checkpoint, and offers the newest intact one."""
        intact = self.intact_steps()
        offer = f"The newest intact one is that of step {intact[-1]}: pass step={intact[-1]}." if intact else (
            "There is no intact one in this folder."
        )  # fmt: skip
        return DamagedCheckpointError(f"{self.path(step)}: the checkpoint is damaged: {reason}. {offer}")

    def finished(self) -> bool:
        """Whether nothing is being written; raises what went wrong on the way."""
        if self._manager is None:
            return True
        try:
            self._manager.check_for_errors()
        except Exception as error:
            raise self._not_written(error) from error
        return not self._manager.is_saving_in_progress()

    def wait(self) -> None:
        """Waits until everything is written, and raises what went wrong on the way."""
        if self._manager is not None:
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                raise self._not_written(error) from error

    def close(self) -> None:
        """Ends the threads, after what is being written is."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            manager.close()

    def _open(self) -> Any:
        """Orbax's manager, made when something is saved: it reads every checkpoint there is."""
        if self._manager is None:
            import orbax.checkpoint as ocp
            from orbax.checkpoint.checkpoint_managers import preservation_policy

            policy = self.policy
            keep: list[Any] = [preservation_policy.LatestN(policy.keep_last)]
            if policy.keep_best:
                best = preservation_policy.BestN(
                    get_metric_fn=_score,
                    n=policy.keep_best,
                    keep_checkpoints_without_metrics=False,
                )
                keep.append(best)
            options = ocp.CheckpointManagerOptions(
                preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
                best_fn=_score if policy.keep_best else None,  # Orbax writes no metrics without one
                # Else it reads the metadata of every checkpoint, damaged ones included.
                lightweight_initialize=not policy.keep_best,
                save_root_metadata=False,
                cleanup_tmp_directories=True,
                async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal),
            )
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        return self._manager

    def _seal(self) -> None:
        """Writes the checksums: Orbax calls it once all files are there, before it gives the folder its final name."""
        if jax.process_index() == 0:
            with self._lock:
                step = self._saving
            unfinished = [path for path in self.folder.glob(f"{step}{_UNFINISHED}*") if path.is_dir()]
            integrity.write_sums(unfinished[0] if unfinished else self.path(int(step or 0)))

    def _scored(self, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """What ranks a checkpoint, larger is better; one that was not evaluated, or to NaN, is behind all others."""
        if not self.policy.keep_best:
            return None
        value = float(metrics.get(self.policy.metric, np.nan)) * (-1 if self.policy.mode == "min" else 1)
        return {"score": -np.inf if np.isnan(value) else value}

    def _check_outline(self, step: int, saved: encoding.Outline, now: encoding.Outline) -> None:
        from jaxdl.training.checkpoints.configuration import differences

        found = differences({"state": saved}, {"state": now})
        if found:
            more = f" (and {len(found) - 8} more)" if len(found) > 8 else ""
            raise ValueError(
                f"state: expected the leaves of the checkpoint {self.path(step)}; they differ:\n  "
                + "\n  ".join(found[:8])
                + f"{more}\nMake the model, the optimizer chain and the state as they were when it was saved."
            )

    def _not_written(self, error: Exception) -> CheckpointWriteError:
        self._manager = None  # Orbax goes on to report the same failure
        for left in self.folder.glob(f"{self._saving}{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        intact = self.intact_steps()
        there = f"Intact are those of the steps {intact}" if intact else "There is none before it"
        return CheckpointWriteError(
            f"folder: the checkpoint of step {self._saving} could not be written to {self.folder}: "
            f"{_first_line(error)}. {there}. Free space or mend the permissions, then go on from the error's `state`."
        )


def make_writable(folder: Path) -> None:
    """Makes a folder where it is missing; raises CheckpointWriteError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            (folder / ".writable").touch()
            (folder / ".writable").unlink()
    except OSError as error:
        raise CheckpointWriteError(
            f"folder: expected one that can be made and written to; got {folder} ({error}). "
            "Pass another folder, or mend its permissions."
        ) from error


def _score(metrics: Mapping[str, float]) -> float:
    return metrics["score"]


def warn_of_damaged(folder: Path, found: Mapping[int, str]) -> None:
    """Says which checkpoints were set aside, and why."""
    reasons = "; ".join(f"step {step}: {reason}" for step, reason in found.items())
    warnings.warn(
        f"{folder}: damaged checkpoints were moved to {folder / DAMAGED}: {reasons}.", UserWarning, stacklevel=3
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _wait_for_all_processes(name: str) -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
