"""Curves over the epochs: mean and range of the seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def draw_curves(
    axis: Any, curves: Mapping[str, np.ndarray], places: Sequence[float] | np.ndarray | None = None
) -> None:
    """One line a name, the mean over seeds, in a band from the smallest seed to the largest.

    Args:
      axis: of Matplotlib.
      curves: `(seeds, places)` each; of different lengths where `places` is None.
      places: along the abscissa; 1, 2, ... where None.
    """
    for name, rows in curves.items():
        x = np.arange(1, rows.shape[1] + 1) if places is None else places
        (line,) = axis.plot(x, rows.mean(0), "." if rows.shape[1] == 1 else "-", label=name)
        axis.fill_between(x, rows.min(0), rows.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
