"""The kind of a point: counts, table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, text_table
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.curvature.critical_points import CriticalPoint, Kind, Signs


def signs(point: "CriticalPoint", thresholds: Thresholds) -> "Signs":
    """How many eigenvalues lie below, within and above the tolerance; none anywhere if they are not finite."""
    from jaxdl.diagnostics.curvature.critical_points import Signs

    single("point", point.eigenvalues, ("eigenvalues",))
    values = np.asarray(point.eigenvalues, np.float64)
    if not np.isfinite(values).all():
        return Signs(0, 0, 0)
    flat = thresholds.flat_curvature * np.abs(values).max()
    return Signs(int(np.sum(values < -flat)), int(np.sum(np.abs(values) <= flat)), int(np.sum(values > flat)))


def kind(point: "CriticalPoint", thresholds: Thresholds) -> "Kind":
    """The class of a point; see `CriticalPoint.kind`."""
    count = signs(point, thresholds)
    gradient = float(point.gradient_norm)
    if not sum(count) or not np.isfinite(gradient) or not np.isfinite(float(point.loss)):
        return "not finite"
    if gradient > thresholds.critical_gradient:
        return "not critical"
    if count.negative and count.positive:
        return "saddle"
    if count.flat or not point.complete:
        return "degenerate"
    return "maximum" if count.negative else "minimum"


def table(point: "CriticalPoint", thresholds: Thresholds = DEFAULTS) -> str:
    """One line: the numbers that decide."""
    count, values = signs(point, thresholds), np.asarray(point.eigenvalues, np.float64)
    header = ("kind", "loss", "gradient norm", "negative", "flat", "positive", "smallest", "largest")
    numbers = (float(point.loss), float(point.gradient_norm), *map(float, count), values[0], values[-1])
    return text_table(header, [[kind(point, thresholds), *map(cell, numbers)]])


def verdict(point: "CriticalPoint", thresholds: Thresholds = DEFAULTS) -> str:
    """The kind of point, its index, and the tolerances it was judged by."""
    count, found = signs(point, thresholds), kind(point, thresholds)
    loss, gradient = float(point.loss), float(point.gradient_norm)
    at = f"at loss {loss:.4g}, gradient norm {gradient:.2g}"
    if found == "not finite":
        what = "gradient" if np.isfinite(loss) and not np.isfinite(gradient) else "Hessian"
        return f"not finite: the {what if np.isfinite(loss) else 'loss'} holds NaN or infinity"
    known = f"{point.num_parameters} eigenvalues" if point.complete else f"{sum(count)} Ritz values"
    share = f"{count.negative} of {known} negative, {count.flat} flat, {count.positive} positive"
    bounds = f"flat: within {thresholds.flat_curvature:g} of the largest magnitude"
    if found == "not critical":
        return f"not critical {at}, above {thresholds.critical_gradient:g}: {share} ({bounds})"
    bounds = f"critical: gradient norm up to {thresholds.critical_gradient:g}; {bounds}"
    at_least = "" if point.complete else "at least "
    sentences = {
        "saddle": f"saddle of index {at_least}{count.negative} {at}",
        "minimum": f"minimum {at}",
        "maximum": f"maximum {at}",
        "degenerate": f"degenerate {at}, {_reason(point, count)}",
    }
    return f"{sentences[found]}: {share} ({bounds})"


def plot(point: "CriticalPoint", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the eigenvalues in rising order; see `CriticalPoint.plot`."""
    single("point", point.eigenvalues, ("eigenvalues",))
    values = np.asarray(point.eigenvalues, np.float64)
    places, negative = np.arange(1, len(values) + 1), values < 0
    figure, axes = canvas()
    axes.plot(places[negative], values[negative], ".", color="tab:red", label="negative")
    axes.plot(places[~negative], values[~negative], ".", color="tab:blue", label="not negative")
    axes.axhline(0, color="black", linewidth=0.8)
    largest = np.abs(values[np.isfinite(values)]).max(initial=0)
    if largest > 0:
        axes.set_yscale("symlog", linthresh=10 ** np.ceil(np.log10(DEFAULTS.flat_curvature * largest)))
    axes.set(xlabel="in rising order", ylabel="eigenvalue of the Hessian")
    axes.legend()
    return finished(figure, path, verdict(point) if title is None else title)


def _reason(point: "CriticalPoint", count: "Signs") -> str:
    if not count.negative and not count.positive:
        return "flat in every direction looked at"
    if count.negative:
        return "a maximum unless a flat or unseen direction leads up"
    return "a minimum unless a flat or unseen direction leads down"
