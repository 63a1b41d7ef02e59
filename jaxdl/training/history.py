"""What a run recorded, as NumPy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl.training.callbacks.protocol import Reason
from jaxdl.training.step import Guard

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
      compile_seconds, run_seconds: seconds compiling, and seconds doing everything else, in this process.
      ended: why the run ended: `"done"`, `"stopped early"`, or `"not finite"` under a guard that stops.
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
    ended: Reason = "done"


class LoopMetrics(NamedTuple):
    """Metrics of consecutive single steps, still on the device, and the measurements taken among them."""

    steps: list[PyTree]
    measures: list[PyTree]


class Recorder:
    """Gathers the metrics of consecutive segments of a run, fetching each only when the next is under way."""

    def __init__(self, *, first_step: int, time_axis: int, measure_every: int, guard: Guard | None = None) -> None:
        self._next_step = first_step
        self._first_step = first_step
        self._time_axis = time_axis
        self._measure_every = measure_every
        self._guard = guard
        self._pending: PyTree = None
        self._segments: list[PyTree] = []
        self._measures: list[PyTree] = []
        self._evaluations: list[dict[str, np.ndarray]] = []
        self._evaluation_steps: list[int] = []
        self._news: list[tuple[int, PyTree]] = []

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
        """Brings the pending segment to the host; returns its first step that ends the run, or None.

        That is a loss that is not finite; under a guard, what the guard stopped at.
        """
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
        self._news.append((int(steps[0]), metrics))
        if self._guard == "skip":
            return None
        sick = ~np.isfinite(metrics["loss"]) if self._guard is None else metrics["skipped"] > 0
        failed = np.flatnonzero(np.moveaxis(sick, self._time_axis, 0).reshape(length, -1).any(1))
        return int(steps[failed[0]]) if len(failed) else None

    def news(self) -> list[tuple[int, dict[str, np.ndarray]]]:
        """`(first step, metrics)` of the segments fetched since the last call."""
        news, self._news = self._news, []
        return news

    def drop_after(self, step: int) -> None:
        """Forgets the steps after `step`, which were done in vain."""
        self._pending = None
        surplus = self._next_step - (step + 1)
        if surplus > 0 and self._segments:
            joined = _concatenated(self._segments, self._time_axis)
            kept = np.arange(self._next_step - self._first_step - surplus)
            self._segments = [jax.tree.map(lambda leaf: np.take(leaf, kept, axis=self._time_axis), joined)]
            if self._measures:
                rows = np.arange(len(self._measured_before(step + 1)))
                measures = _concatenated(self._measures, self._time_axis)
                self._measures = [jax.tree.map(lambda leaf: np.take(leaf, rows, axis=self._time_axis), measures)]
            self._next_step -= surplus

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was fetched, as `{name: array}`, for a checkpoint."""
        axis = self._time_axis
        train = _concatenated(self._segments, axis) or {}
        measures = jax.tree.leaves(_concatenated(self._measures, axis))
        return {
            **{f"train/{name}": values for name, values in train.items()},
            **{f"measures/{i}": values for i, values in enumerate(measures)},
            **{f"validation/{name}": values for name, values in self._validation().items()},
            "validation_steps": np.asarray(self._evaluation_steps, int),
            "first_step": np.asarray(self._first_step),
        }

    def restore(self, arrays: Mapping[str, np.ndarray], *, step: int, measure: Any) -> None:
        """Goes on from what `arrays` gave with `step` updates done.

        Args:
          arrays: without the empty ones.
          step: updates done.
          measure: the structure of one measurement, or None.
        """

        def part(prefix: str) -> dict[str, np.ndarray]:
            named = {name: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}
            return {name.removeprefix(f"{prefix}/"): array for name, array in named.items()}

        self._first_step, self._next_step = int(arrays["first_step"]), step
        train, measures, validation = part("train"), part("measures"), part("validation")
        self._segments = [train] if train else []
        leaves = [measures[str(i)] for i in range(len(measures))]
        self._measures = [jax.tree.unflatten(measure, leaves)] if leaves else []
        self._evaluation_steps = [int(step) for step in arrays.get("validation_steps", ())]
        self._evaluations = [
            {name: values[..., i] for name, values in validation.items()} for i in range(len(self._evaluation_steps))
        ]

    @property
    def evaluation_steps(self) -> list[int]:
        """Updates done at each evaluation so far."""
        return list(self._evaluation_steps)

    def evaluations(self, name: str) -> list[np.ndarray]:
        """All values of a validation metric so far."""
        return [values[name] for values in self._evaluations]

    def _validation(self) -> dict[str, np.ndarray]:
        return _concatenated([jax.tree.map(lambda v: v[..., None], e) for e in self._evaluations], -1) or {}

    def _measured_before(self, step: int) -> np.ndarray:
        steps = np.arange(self._first_step, step)
        return steps[steps % self._measure_every == 0]

    def history(
        self, *, steps_per_epoch: int, engine: str, compile_seconds: float, run_seconds: float, ended: Reason = "done"
    ) -> History:
        """All that was gathered."""
        self.fetch()
        axis = self._time_axis
        return History(
            train=_concatenated(self._segments, axis) or {},
            validation=self._validation(),
            validation_steps=np.asarray(self._evaluation_steps, int),
            measures=_concatenated(self._measures, axis),
            measure_steps=self._measured_before(self._next_step) if self._measures else np.zeros(0, int),
            steps_per_epoch=steps_per_epoch,
            engine=engine,
            compile_seconds=compile_seconds,
            run_seconds=run_seconds,
            ended=ended,
        )


def _stacked(records: LoopMetrics) -> PyTree:
    def rows(trees: list[PyTree]) -> PyTree:
        return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)

    return rows(records.steps) | ({"measure": rows(records.measures)} if records.measures else {})


def _concatenated(segments: list[PyTree], axis: int) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *segments) if segments else None
