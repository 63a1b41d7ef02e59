"""The metrics of a run as TensorBoard event files, written by the package `tensorboard` alone."""

import importlib
import importlib.util
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl import checks
from jaxdl.training.callbacks.protocol import Callback, Evaluation, RunEnd, RunStart, Steps


class TensorBoardLog(Callback):
    """Writes scalars for TensorBoard: `train/<metric>` of some steps, `validation/<metric>` of every evaluation.

    The step of a point is the number of updates done. Of `run_many`, member i's scalars have `/i` behind their name.
    A run that goes on from step n tells TensorBoard to forget the points beyond it.

    Args:
      folder: where the event files go; show them by `tensorboard --logdir folder`.
      every: write the training metrics after every so many updates; all of them with 1.

    Raises:
      ImportError: the package `tensorboard` is not there; the extra of that name brings it.

    Example:
      >>> fit(step, state, data, epochs=10, batch_size=32, callbacks=[TensorBoardLog("runs/a")])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, *, every: int = 10) -> None:
        checks.whole_number(every=every, minimum=1, remedy="1 writes every step.")
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "tensorboard: expected the package for writing event files; got no such package. Install the extra: "
                "pip install '.[tensorboard]' in the checkout, or pip install tensorboard. JSONLLog needs none."
            )
        self.folder, self.every = Path(folder), every
        self._writer: Any = None

    def on_start(self, run: RunStart) -> None:
        """Opens an event file of its own."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = None
        self._writer = EventFileWriter(str(self.folder))
        # TensorBoard forgets the points from this step on; those of the last step before are this run's past, too.
        restart = _protocol("event").SessionLog
        self._add(run.first_step + 1, session_log=restart(status=restart.START))

    def on_steps(self, steps: Steps) -> None:
        """Writes the points that are due among them."""
        done = steps.start + 1 + np.arange(steps.length)
        for i in np.flatnonzero(done % self.every == 0):
            values = ((f"train/{name}", np.asarray(value)[..., i]) for name, value in steps.metrics.items())
            self._write(int(done[i]), values)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Writes its points, and everything to the disk."""
        values = ((f"validation/{name}", np.asarray(value)) for name, value in evaluation.values.items())
        self._write(evaluation.step, values)
        self._writer.flush()

    def on_end(self, end: RunEnd) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, values: Iterable[tuple[str, np.ndarray]]) -> None:
        summary = _protocol("summary").Summary
        points = []
        for tag, value in values:
            members = [(f"{tag}/{i}", entry) for i, entry in enumerate(value)] if value.ndim else [(tag, value)]
            points += [summary.Value(tag=name, simple_value=float(entry)) for name, entry in members]
        self._add(step, summary=summary(value=points))

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(_protocol("event").Event(wall_time=time.time(), step=step, **content))


def _protocol(name: str) -> Any:
    return importlib.import_module(f"tensorboard.compat.proto.{name}_pb2")
