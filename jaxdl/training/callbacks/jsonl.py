"""The log of a run: one JSON object a line."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl.training.callbacks.line_file import LineFile, whole_lines
from jaxdl.training.callbacks.protocol import Callback, Evaluation, RunEnd, RunStart, Saved, Steps

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = ("mean", "last", "values")


class JSONLLog(Callback):
    """Writes a run's log, one JSON object a line, which stands in the file as soon as it is written.

    Every line has `event`, `step` (updates done by then) and `time` (seconds since 1970), and by its event:

    * `start`: the fields of `RunStart`;
    * `steps`: `start` (updates done before the segment), and of the steps of the segment the `mean` and the `last` of
      each metric, `{name: number}`;
    * `evaluation`: `values`, `{name: number}`;
    * `checkpoint`: `path`;
    * `end`: `reason` and `message`.

    For `run_many` the numbers are lists, one entry a member. Numbers that are not finite are the strings `"NaN"`,
    `"Infinity"` and `"-Infinity"`, since JSON has none; `read_log` gives them back.

    A run that goes on from step n first drops the lines beyond step n, all at once, so that no step is told twice, and
    keeps the others; a run that starts at step 0 starts a new log. After a kill at any moment the file holds whole
    lines, but for the last, which the next run drops.

    Args:
      path: the file; folders are made where needed.

    Example:
      >>> fit(step, state, data, epochs=10, batch_size=32, callbacks=[JSONLLog("log.jsonl")])  # doctest: +SKIP
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: LineFile | None = None

    def on_start(self, run: RunStart) -> None:
        """Opens the file."""
        goes_on = run.resumed or run.first_step > 0

        self._file = None

        def kept(lines: list[str]) -> list[str]:
            entries = _parsed(lines, self.path) if goes_on else []
            return [line for line, entry in zip(lines, entries, strict=False) if entry["step"] <= run.first_step]

        self._file = LineFile(self.path, kept=kept)
        fields = {name: value for name, value in vars(run).items() if value is not None}
        self._write("start", run.step, **fields)

    def on_steps(self, steps: Steps) -> None:
        """Writes what became of a segment."""
        metrics = {name: np.asarray(values, np.float64) for name, values in steps.metrics.items()}
        mean = {name: values.mean(-1) for name, values in metrics.items()}
        last = {name: values[..., -1] for name, values in metrics.items()}
        self._write("steps", steps.step, start=steps.start, mean=mean, last=last)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Writes its values."""
        self._write("evaluation", evaluation.step, values=evaluation.values)

    def on_checkpoint(self, saved: Saved) -> None:
        """Writes where it is."""
        self._write("checkpoint", saved.step, path=saved.path)

    def on_end(self, end: RunEnd) -> None:
        """Writes why."""
        self._write("end", end.step, reason=end.reason, message=end.message)

    def _write(self, event: str, step: int, **fields: Any) -> None:
        entry = {"event": event, "step": step, "time": time.time(), **fields}
        if self._file is not None:  # it could not be opened, which was said then
            self._file.append(json.dumps(_plain(entry), allow_nan=False))


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a `JSONLLog` as dictionaries, in their order; a last line that was cut off is left out.

    Args:
      path: the file.

    Returns:
      One dictionary a line; the numbers under `mean`, `last` and `values` are floats again, NaN and infinity too.

    Raises:
      ValueError: a line that is no JSON object with a step.
    """
    path = Path(path)
    return _parsed(whole_lines(path.read_bytes()), path)


def _parsed(lines: list[str], path: Path) -> list[dict[str, Any]]:
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            raise ValueError(
                f"path: expected a log of one JSON object with a step a line; got {line[:60]!r} as line {number} of "
                f"{path}. Move the file away, or take the line out."
            )
        entries.append({name: _floats(value) if name in _NUMBERS else value for name, value in entry.items()})
    return entries


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _floats(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_floats(entry) for entry in value]
    return NOT_FINITE[value] if isinstance(value, str) else float(value)


def _plain(value: Any) -> Any:
    """What strict JSON can hold; of anything else its text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic, jax.Array)) and _is_real(value.dtype):
        return _plain(np.asarray(value).tolist())
    return str(value)


def _is_real(dtype: Any) -> bool:
    return any(jax.dtypes.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_))
