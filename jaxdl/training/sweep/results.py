"""What many runs reached: rows, a table with intervals, and paired comparisons."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import text_table
from jaxdl.training.history import History
from jaxdl.training.state import TrainState
from jaxdl.training.sweep.statistics import Paired, mean_interval, paired_comparison, shown

Arm = Mapping[str, Any]


class Members:
    """What can be said of members by their final metrics; an arm is what members have in common but for the seed.

    The metrics are `validation_loss`, `validation_accuracy`, ... (at the last evaluation), and `train_loss`, ...
    (mean over the steps of the last epoch, each before its update).
    """

    members: tuple[dict[str, Any], ...]

    def _values(self) -> dict[str, np.ndarray]:
        """`{metric: (members,)}`."""
        raise NotImplementedError

    def values(self, metric: str) -> np.ndarray:
        """The final metric of every member, `(members,)` float64.

        Raises:
          ValueError: there is no such metric.
        """
        known = self._values()
        if metric not in known:
            raise ValueError(
                f"metric: expected one of {', '.join(known) or '(none: no step was done)'}; got {metric!r}. "
                "Those of validation need validation=."
            )
        return known[metric]

    @property
    def arms(self) -> tuple[dict[str, Any], ...]:
        """Hyper-parameters and shapes of every arm, in the order of the members."""
        found: list[dict[str, Any]] = []
        for each in self.members:
            arm = _arm_of(each)
            if arm not in found:
                found.append(arm)
        return tuple(found)

    def rows(self, metric: str | None = None) -> list[dict[str, Any]]:
        """One mapping a member: hyper-parameters, seed, and the metric, or all of them."""
        columns = self._values() if metric is None else {metric: self.values(metric)}
        return [
            {**each, **{name: float(values[i]) for name, values in columns.items()}}
            for i, each in enumerate(self.members)
        ]

    def table(self, metric: str) -> str:
        """One line an arm, as aligned text: mean over seeds, its 95 % t-interval, number of seeds.

        A member whose metric is not finite enters no mean; its line says how many there are.
        """
        arms = self.arms
        header = [*arms[0], metric, "95 % interval", "seeds"]
        lines = []
        for arm in arms:
            values = self._of_arm(arm, metric)
            finite = values[np.isfinite(values)]
            mean, low, high = mean_interval(finite)
            lost = len(values) - len(finite)
            seeds = f"{len(finite)}" + (f", {lost} not finite" if lost else "")
            interval = f"{low:.4g} to {high:.4g}" if len(finite) else "-"
            lines.append([*map(shown, arm.values()), f"{mean:.4g}" if len(finite) else "-", interval, seeds])
        return text_table(header, lines)

    def paired(self, metric: str, a: int | Arm, b: int | Arm) -> Paired:
        """Compares two arms seed by seed.

        Args:
          metric: see `values`.
          a, b: an arm by its number in `arms`, or by names and values that no other arm has, such as
            `{"learning_rate": 0.1}`.

        Returns:
          Mean difference, interval, p-value, and the seeds left out since a value is not finite.

        Raises:
          ValueError: no arm, or several; the same one twice; an unknown metric.
        """
        first, second = self._found_arm("a", a), self._found_arm("b", b)
        if first == second:
            raise ValueError(f"b: expected another arm than a; got {b!r} for both. Compare it with one of arms.")
        seeds = [each["seed"] for each in self.members if _arm_of(each) == first]
        return paired_comparison(
            metric, first, second, self._of_arm(first, metric), self._of_arm(second, metric), seeds
        )

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows as comma-separated values, also written to `path` if there is one."""
        rows, text = self.rows(), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if path is not None:
            Path(path).write_text(text.getvalue(), encoding="utf-8")
        return text.getvalue()

    def _of_arm(self, arm: Arm, metric: str) -> np.ndarray:
        rows = [i for i, each in enumerate(self.members) if _arm_of(each) == arm]
        return self.values(metric)[rows]

    def _found_arm(self, argument: str, given: int | Arm) -> dict[str, Any]:
        arms = self.arms
        if isinstance(given, Mapping):
            found = [arm for arm in arms if all(name in arm and arm[name] == value for name, value in given.items())]
        else:
            found = [arms[given]] if not isinstance(given, bool) and given in range(len(arms)) else []
        if len(found) != 1:
            raise ValueError(
                f"{argument}: expected a number from 0 to {len(arms) - 1}, or names and values of exactly one arm; got "
                f"{given!r}, which fits {len(found)}. The arms are: {'; '.join(map(str, arms))}."
            )
        return found[0]


@dataclass(frozen=True)
class ManyRuns(Members):
    """What `run_many` returns; unpacks as `states, history`.

    Attributes:
      states: leaves have a leading member axis, but for `step`, which the members share; see `member`.
      history: its arrays have that axis, too.
      members: of each, `{"seed": ...}` after its hyper-parameters.
      timings: `{strategy: seconds in which all members advance a step}`, where `mode="auto"` measured them;
        `history.engine` is the one taken.
      members_at_once: that advanced together.
    """

    states: TrainState
    history: History
    members: tuple[dict[str, Any], ...]
    timings: Mapping[str, float]
    members_at_once: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.states, self.history))

    def _values(self) -> dict[str, np.ndarray]:
        train = {f"train_{name}": self._last_epoch(values) for name, values in self.history.train.items()}
        rows, columns = np.arange(len(self.members)), self._returned_evaluations()
        validation = {f"validation_{name}": values[rows, columns] for name, values in self.history.validation.items()}
        return validation | train

    def _returned_evaluations(self) -> np.ndarray:
        """Which evaluation `(members,)` is that of the state which the member returns; -1 for the last."""
        last = np.full(len(self.members), -1)
        stopping = self.states.stopping
        if stopping is None:
            return last
        best, end = np.asarray(stopping.best_step), np.asarray(stopping.stopped_at)
        returned = np.where(best >= 0, best, end) if stopping.kept is not None else end
        return np.where(end >= 0, np.searchsorted(self.history.validation_steps, returned), last)

    def _last_epoch(self, values: np.ndarray) -> np.ndarray:
        """Means `(members,)` over the last epoch that each member did, by rows `(members, steps)`."""
        first = int(self.states.step) - values.shape[1]  # updates done before the first row
        ends = np.full(len(values), values.shape[1])
        if self.states.stopping is not None:
            stopped_at = np.asarray(self.states.stopping.stopped_at)
            ends = np.where(stopped_at >= 0, stopped_at - first, ends)
        rows = [row[max(end - self.history.steps_per_epoch, 0) : end] for row, end in zip(values, ends, strict=True)]
        return np.stack([row.astype(np.float64).mean() for row in rows])


def _arm_of(each: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in each.items() if name != "seed"}


def members_of(parts: Sequence[Members], prefixes: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The members of several results, each behind what its result has in common."""
    return tuple({**prefix, **each} for part, prefix in zip(parts, prefixes, strict=True) for each in part.members)
