"""What a run recorded, as NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

PyTree = Any


@dataclass(frozen=True)
class History:
    """Record of a run. For `run_many` every array has a leading member axis.

    Attributes:
      train: `{metric: (steps,)}` float32, the mean over the batch of each step, before its update.
      validation: `{metric: (evaluations,)}` float64, the exact mean over the validation set; empty without one.
      validation_steps: `(evaluations,)` updates done at each evaluation.
      measures: the step's `measure`, leaves `(measurements, ...)`; None without one.
      measure_steps: `(measurements,)` updates done before each measurement.
      steps_per_epoch: updates an epoch has.
      engine: the engine used, or `vmap`/`map` for many members.
      compile_seconds, run_seconds: seconds compiling, and seconds doing everything else.
    """

    train: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    validation_steps: np.ndarray
    measures: PyTree
    measure_steps: np.ndarray
    steps_per_epoch: int
    engine: str
    compile_seconds: float
    run_seconds: float


class LoopMetrics(NamedTuple):
    """Metrics of consecutive single steps, still on the device, and the measurements taken among them."""

    steps: list[PyTree]
    measures: list[PyTree]


class Recorder:
    """Gathers the metrics of consecutive segments of a run, fetching each only when the next is under way."""

    def __init__(self, *, first_step: int, time_axis: int, measure_every: int) -> None:
        self._next_step = first_step
        self._first_step = first_step
        self._time_axis = time_axis
        self._measure_every = measure_every
        self._pending: PyTree = None
        self._segments: list[PyTree] = []
        self._measures: list[PyTree] = []
        self._evaluations: list[dict[str, np.ndarray]] = []
        self._evaluation_steps: list[int] = []
        self.news = ""  # for the progress bar; one segment behind, since nothing waits for the one under way

    def add(self, metrics: PyTree) -> int | None:
        """Takes the metrics of a segment, still on the device; fetches those of the segment before it, see `fetch`."""
        failed_step = self.fetch()
        self._pending = metrics
        return failed_step

    def add_evaluation(self, step: int, values: dict[str, np.ndarray]) -> None:
        """Takes the validation metrics with `step` updates done."""
        self._evaluations.append(values)
        self._evaluation_steps.append(step)

    def fetch(self) -> int | None:
        """Brings the pending segment to the host; returns its first step with a loss that is not finite, or None."""
        if self._pending is None:
            return None
        pending, self._pending = self._pending, None
        metrics = _stacked(pending) if isinstance(pending, LoopMetrics) else jax.tree.map(np.asarray, pending)
        length = metrics["loss"].shape[self._time_axis]
        steps = np.arange(self._next_step, self._next_step + length)
        self._next_step += length
        if "measure" in metrics:
            count = int(np.sum(steps % self._measure_every == 0))
            rows = np.arange(count)  # there may be a row more than there are measurements
            measures = metrics.pop("measure")
            self._measures.append(jax.tree.map(lambda leaf: np.take(leaf, rows, axis=self._time_axis), measures))
        metrics = jax.tree.map(lambda leaf: leaf.astype(np.promote_types(leaf.dtype, np.float32)), metrics)
        self._segments.append(metrics)
        losses = np.moveaxis(metrics["loss"], self._time_axis, 0).reshape(length, -1)
        self.news = f"loss {losses[-1].mean():.4g}"
        failed = np.flatnonzero(~np.isfinite(losses).all(1))
        return int(steps[failed[0]]) if len(failed) else None

    def history(self, *, steps_per_epoch: int, engine: str, compile_seconds: float, run_seconds: float) -> History:
        """All that was gathered."""
        self.fetch()
        axis = self._time_axis
        measure_steps = np.arange(self._first_step, self._next_step)
        return History(
            train=_concatenated(self._segments, axis) or {},
            validation=_concatenated([jax.tree.map(lambda v: v[..., None], e) for e in self._evaluations], -1) or {},
            validation_steps=np.asarray(self._evaluation_steps, int),
            measures=_concatenated(self._measures, axis),
            measure_steps=measure_steps[measure_steps % self._measure_every == 0]
            if self._measures
            else np.zeros(0, int),
            steps_per_epoch=steps_per_epoch,
            engine=engine,
            compile_seconds=compile_seconds,
            run_seconds=run_seconds,
        )


def _stacked(records: LoopMetrics) -> PyTree:
    def rows(trees: list[PyTree]) -> PyTree:
        return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)

    return rows(records.steps) | ({"measure": rows(records.measures)} if records.measures else {})


def _concatenated(segments: list[PyTree], axis: int) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *segments) if segments else None
