"""Pictures of paths on surfaces."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.training.surfaces import Surface

LEVELS = 18


def path_figure(
    surfaces: Sequence[Surface], paths: Sequence[Mapping[str, np.ndarray]], *, snapshots: Sequence[int]
) -> Figure:
    """A row for each surface, a column for each snapshot: level lines, and the path of each optimizer up to then.

    Args:
      surfaces: one a row.
      paths: of each surface `{optimizer: (steps + 1, 2)}`, the same optimizers everywhere.
      snapshots: numbers of steps; `[steps]` gives whole paths.
    """
    rows, columns = len(surfaces), len(snapshots)
    figure = Figure(figsize=(3.4 * columns, 2.7 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, surface, by_name in zip(axes, surfaces, paths, strict=True):
        for axis, steps in zip(row, snapshots, strict=True):
            level_lines(axis, surface)
            for i, path in enumerate(by_name.values()):
                trace(axis, path[: steps + 1], f"C{i}")
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{steps} steps", fontsize=9)
        row[0].set_ylabel(f"{surface.name}\n{surface.formula}", fontsize=8)
    handles = [
        figure.axes[0].plot([], [], ".-", color=f"C{i}", label=name.replace("_", " "))[0]
        for i, name in enumerate(paths[0])
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), fontsize=9)
    return figure


def level_lines(axis: Any, surface: Surface) -> None:
    """Lines at quantiles of the function, so that flat and steep parts both have some; stars at the minima."""
    left, right, bottom, top = surface.limits
    x, y = np.meshgrid(np.linspace(left, right, 160), np.linspace(bottom, top, 160))
    values = np.asarray(jax.vmap(surface.function)(jnp.asarray(np.stack([x.ravel(), y.ravel()], 1), jnp.float32)))
    levels = np.unique(np.quantile(values, np.linspace(0.01, 0.97, LEVELS)))
    axis.contour(x, y, values.reshape(x.shape), levels=levels, colors="0.75", linewidths=0.6, linestyles="solid")
    for minimum in surface.minima:
        axis.plot(*minimum, "*", color="black", markersize=8, zorder=3)
    axis.set(xlim=(left, right), ylim=(bottom, top))


def trace(axis: Any, path: np.ndarray, colour: str) -> None:
    """A path and where it has come to; what is not finite is left out."""
    path = np.where(np.isfinite(path), path, np.nan)
    axis.plot(*path.T, "-", color=colour, linewidth=1.0, alpha=0.8)
    axis.plot(*path[-1], "o", color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.5, zorder=4)
