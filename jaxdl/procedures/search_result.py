"""What a search for hyper-parameters found: cells in their order, and what the winner is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdl.training import ManyRuns, ManyShapes, mean_interval

Cell = Mapping[str, Any]


def best_cell(values: np.ndarray, *, maximize: bool = False) -> int:
    """The cell of the best mean over seeds; one that is not finite for any seed comes after all others.

    Args:
      values: `(cells, seeds)`, of a validation metric.
      maximize: whether larger is better.

    Returns:
      Its index; of cells that are equally good, the first.

    Raises:
      ValueError: another shape.
    """
    return int(ranked_cells(values, maximize=maximize)[0])


def ranked_cells(values: np.ndarray, *, maximize: bool = False) -> np.ndarray:
    """The indices of all cells, best first, as `best_cell` judges them.

    Args:
      values: `(cells, seeds)`.
      maximize: whether larger is better.

    Returns:
      Shape (cells,).

    Raises:
      ValueError: another shape.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"values: expected shape (cells, seeds), at least one of each; got {values.shape}. "
            "Of one seed pass values[:, None]."
        )
    with np.errstate(invalid="ignore"):  # infinities of both signs
        mean = values.mean(1)
    loss = -mean if maximize else mean
    return np.argsort(np.where(np.isfinite(values).all(1), loss, np.inf), kind="stable")


@dataclass(frozen=True)
class Search:
    """What `grid_search` and `random_search` return.

    Attributes:
      runs: of all cells and seeds; `.table(metric)`, `.paired(metric, a, b)`, `.to_csv(path)` as of `run_many`.
      metric: of the validation data, by which cells are ranked.
      maximize: whether larger is better.
      values: `(cells, seeds)`, the metric of every member, in the order of `cells`.
      fresh: the runs of the best cell with seeds that had no part in choosing it, or None.
    """

    runs: ManyRuns | ManyShapes
    metric: str
    maximize: bool
    values: np.ndarray
    fresh: ManyRuns | ManyShapes | None = None

    @property
    def cells(self) -> tuple[dict[str, Any], ...]:
        """Of each cell its hyper-parameters and shapes."""
        return self.runs.arms

    @property
    def ranking(self) -> np.ndarray:
        """Indices into `cells`, best first."""
        return ranked_cells(self.values, maximize=self.maximize)

    @property
    def best(self) -> dict[str, Any]:
        """The cell with the best mean over seeds."""
        return self.cells[self.ranking[0]]

    @property
    def best_value(self) -> tuple[float, float, float]:
        """Mean of the best cell and its 95 % t-interval over seeds: too good, since it is the best of many."""
        return mean_interval(self.values[self.ranking[0]])

    @property
    def fresh_value(self) -> tuple[float, float, float]:
        """The same by the fresh seeds: free of the luck of the seeds by which the cell was chosen.

        What the choice owes to the validation examples is still in it; only a test split is free of that, too.

        Raises:
          ValueError: the search had no `fresh_seeds`.
        """
        if self.fresh is None:
            raise ValueError("fresh_value: expected a search with fresh seeds; got one without. Pass fresh_seeds=.")
        return mean_interval(self.fresh.values(f"validation_{self.metric}"))

    @property
    def optimism(self) -> float:
        """By how much the best cell looked better in the search than it did with fresh seeds (the winner's curse)."""
        difference = self.fresh_value[0] - self.best_value[0]
        return -difference if self.maximize else difference

    def table(self) -> str:
        """One line a cell, best first, as aligned text: mean over seeds, its 95 % t-interval, number of seeds."""
        head, *lines = self.runs.table(f"validation_{self.metric}").splitlines()
        return "\n".join([head, *(lines[i] for i in self.ranking)])

    def verdict(self) -> str:
        """A sentence with its numbers."""
        mean, low, high = self.best_value
        chosen = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                           for name, value in self.best.items())  # fmt: skip
        text = (
            f"{chosen}: validation {self.metric} {mean:.4g}, 95 % interval {low:.4g} to {high:.4g} over "
            f"{self.values.shape[1]} seeds, the best of {len(self.cells)} cells, hence too good"
        )
        if self.fresh is None:
            return f"{text}; with fresh_seeds= the figure would be an honest one"
        fresh, low, high = self.fresh_value
        return f"{text}; with {len(self.fresh.members)} fresh seeds {fresh:.4g}, {low:.4g} to {high:.4g}"
