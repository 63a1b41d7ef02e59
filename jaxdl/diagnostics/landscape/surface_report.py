"""A line or plane of losses: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, percent, text_table
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.landscape.surface import Landscape

ROWS = 11


def table(found: "Landscape") -> str:
    """Losses at evenly chosen points: a column for a line, x down and y across for a plane."""
    xs, ys, values = _grid(found)
    down = _some(len(xs))
    if ys is None:
        return text_table(("x", "loss"), [[cell(float(xs[i])), cell(float(values[i]))] for i in down])
    across = _some(len(ys))
    rows = [[cell(float(xs[i])), *(cell(float(values[i, j])) for j in across)] for i in down]
    return text_table(["x \\ y", *(cell(float(ys[j])) for j in across)], rows)


def verdict(found: "Landscape", thresholds: Thresholds = DEFAULTS) -> str:
    """The range of the loss, where it is lowest, and the share of inner points that are curved upwards all ways."""
    xs, ys, values = _grid(found)
    finite = np.isfinite(values)
    if not finite.any():
        return "loss is not finite anywhere on the grid"
    lowest = np.unravel_index(np.argmin(np.where(finite, values, np.inf)), values.shape)
    place = f"x = {xs[lowest[0]]:.3g}" + ("" if ys is None else f", y = {ys[lowest[1]]:.3g}")
    sentence = (
        f"loss {float(found.centre):.4g} at the parameters, {values[finite].min():.4g} to {values[finite].max():.4g} "
        f"on the {'line' if ys is None else 'plane'}, lowest at {place}; "
    )
    curved = _least_curvature(xs, ys, values)
    known = np.isfinite(curved)
    if known.any():
        rounding = thresholds.flat_curvature * np.abs(curved[known]).max()
        share = float(np.mean(curved[known] >= -rounding))
        sentence += (
            f"curved upwards or flat {'' if ys is None else 'in both directions '}at {percent(share)} of its points"
        )
    else:
        sentence += "too few points to see its curvature"
    if not finite.all():
        sentence += f"; not finite at {percent(np.mean(~finite))} of them"
    if found.captured is not None:
        sentence += f"; it holds {percent(found.captured)} of the trajectory's squared displacements"
    return sentence


def plot(found: "Landscape", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the curve or the contours, and the trajectory on them; see `Landscape.plot`."""
    xs, ys, values = _grid(found)
    figure, axes = canvas()
    route = None if found.path is None else np.asarray(found.path, np.float64)
    if ys is None:
        axes.plot(xs, values)
        axes.plot(0, float(found.centre), "k*", markersize=10, label="parameters")
        if route is not None:
            losses = np.asarray(found.path_losses, np.float64)
            axes.plot(route[:, 0], losses, ".-", color="tab:red", label="trajectory, at its own losses")
        axes.set(xlabel="x, along the direction", ylabel="mean loss")
    else:
        shown = np.ma.masked_invalid(values)
        _contours(figure, axes, xs, ys, shown)
        if route is not None:
            axes.plot(route[:, 0], route[:, 1], ".-", color="tab:red", label="trajectory")
        axes.plot(0, 0, "k*", markersize=10, label="parameters")
        axes.set(xlabel="x, along the first direction", ylabel="y, along the second")
    axes.legend()
    return finished(figure, path, verdict(found) if title is None else title)


def _contours(figure: "Figure", axes: Any, xs: np.ndarray, ys: np.ndarray, shown: Any) -> None:
    from matplotlib.colors import LogNorm

    low, high = float(shown.min()), float(shown.max())
    if not high > low:
        axes.pcolormesh(xs, ys, shown.T)
        return
    logarithmic = low > 0 and high > 10 * low
    levels = np.geomspace(low, high, 25) if logarithmic else np.linspace(low, high, 25)
    drawn = axes.contourf(xs, ys, shown.T, levels, norm=LogNorm(low, high) if logarithmic else None)
    figure.colorbar(drawn, ax=axes, label="mean loss", format="%.3g")


def _grid(found: "Landscape") -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    values = np.asarray(found.values, np.float64)
    directions = 1 if found.ys is None else 2
    if values.ndim != directions:
        raise ValueError(
            f"landscape: expected one, with values of {directions} axes; got shape {values.shape}. Pick one, such as "
            "landscape[0]."
        )
    return np.asarray(found.xs, np.float64), None if found.ys is None else np.asarray(found.ys, np.float64), values


def _some(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def _least_curvature(xs: np.ndarray, ys: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """The smaller eigenvalue of the matrix of second differences at every inner point."""
    with np.errstate(invalid="ignore"):
        if ys is None:
            return np.diff(values, 2) / (xs[1] - xs[0]) ** 2
        h, k = xs[1] - xs[0], ys[1] - ys[0]
        xx, yy = np.diff(values, 2, axis=0)[:, 1:-1] / h**2, np.diff(values, 2, axis=1)[1:-1] / k**2
        xy = (values[2:, 2:] - values[2:, :-2] - values[:-2, 2:] + values[:-2, :-2]) / (4 * h * k)
        return (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
