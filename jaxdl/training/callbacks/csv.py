"""The validation metrics of a run as a table for spreadsheets."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.training.callbacks.line_file import LineFile
from jaxdl.training.callbacks.protocol import Callback, Evaluation, RunStart


class CSVLog(Callback):
    """Writes a row an evaluation: `step` (updates done) and the validation metrics; `run_many` gives a row a member.

    The columns are those of the first row, in its order; `member` follows `step` where there are members. A metric
    that appears later adds a column, empty in the rows before; one that is missing leaves its cell empty. A run that
    goes on from step n drops the rows beyond step n and keeps the others; a run that starts at step 0 starts a new
    file. Rows survive a kill at any moment as the lines of `JSONLLog` do.

    Args:
      path: the file; folders are made where needed.

    Example:
      >>> fit(step, state, data, epochs=10, batch_size=32, callbacks=[CSVLog("validation.csv")])  # doctest: +SKIP
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: LineFile | None = None
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []

    def on_start(self, run: RunStart) -> None:
        """Opens the file."""
        self._columns, self._rows = [], []

        def kept(lines: list[str]) -> list[str]:
            if run.resumed or run.first_step > 0:
                self._take_over(lines, run.first_step)
            return self._lines()

        self._file = LineFile(self.path, kept=kept)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Adds its row, or a row a member."""
        assert self._file is not None
        for row in _rows(evaluation):
            added = [name for name in row if name not in self._columns]
            self._columns += added
            self._rows.append(row)
            if added:
                self._file.rewrite(self._lines())
            else:
                self._file.append(_line([row.get(name, "") for name in self._columns]))

    def _take_over(self, lines: list[str], first_step: int) -> None:
        table = list(csv.reader(lines))
        columns, rows = (table[0], table[1:]) if table else (["step"], [])
        if columns[:1] != ["step"] or not all(row and row[0].isdecimal() for row in rows):
            raise ValueError(
                f"path: expected a table with a whole number in its first column, 'step'; got {lines[0][:60]!r} as "
                f"the first line of {self.path}. Move the file away."
            )
        self._columns = columns if table else []
        self._rows = [dict(zip(columns, row, strict=False)) for row in rows if int(row[0]) <= first_step]

    def _lines(self) -> list[str]:
        table = [self._columns, *([row.get(name, "") for name in self._columns] for row in self._rows)]
        return [_line(cells) for cells in table if cells]


def _rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    values = {name: np.asarray(value) for name, value in evaluation.values.items()}
    members = {value.shape for value in values.values()} - {()}
    if not members:
        yield {"step": evaluation.step, **{name: float(value) for name, value in values.items()}}
        return
    for member in range(members.pop()[0]):
        yield {"step": evaluation.step, "member": member, **{name: float(v[member]) for name, v in values.items()}}


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
