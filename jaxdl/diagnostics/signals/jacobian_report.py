"""Singular values of the Jacobians from layer to layer: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_ticks, short_names
from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds, trend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.signals.jacobians import JacobianSpectrum


def table(spectrum: "JacobianSpectrum") -> str:
    """One line a map, in forward order, means over the examples; the whole network last. `~`: an estimate."""
    columns = [np.asarray(column).mean(1) for column in _columns(spectrum)]
    names = _names(spectrum)
    width = max(len("map"), *map(len, names))
    lines = [f"{'map':<{width}} {'mean':>11} {'smallest':>11} {'largest':>11} {'gain':>11}"]
    for i, name in enumerate(names):
        cells = [f"{'' if spectrum.exact[i] else '~'}{column[i]:.4g}" for column in columns]
        values = " ".join(f"{cell:>11}" for cell in cells)
        lines.append(f"{name:<{width}} " + (f"-  {spectrum.reasons[i]}" if spectrum.reasons[i] else values))
    return "\n".join(lines)


def verdict(spectrum: "JacobianSpectrum", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence with its numbers that names the sick maps.

    It goes by the gain, which does not depend on the widths of layers: by the geometric mean over the maps from layer
    to layer, and by the network's as a whole.
    """
    mean, smallest, largest, gains = (np.asarray(column, np.float64).mean(1) for column in _columns(spectrum))
    names = _names(spectrum)
    there = np.array([not reason for reason in spectrum.reasons])
    sick = np.flatnonzero(there & ~np.isfinite(gains))
    if len(sick):
        return f"Jacobian is not finite in {len(sick)} of {there.sum()} maps, the first of them {names[sick[0]]}"
    if not there.any():
        return f"no Jacobian from layer to layer: {spectrum.reasons[-1]}"
    silent = np.flatnonzero(there & (gains == 0))
    if len(silent):
        return f"nothing gets through {names[silent[0]]}: its Jacobian is 0, the map blocked, cut off or dead"
    chain = np.flatnonzero(there[:-1])
    whole = gains[-1] if there[-1] else gains[chain].prod()
    # One map alone, such as past a recurrence, has no factor per layer.
    ratios = gains[chain] if len(chain) > 1 else gains[:0]
    word, verb, factor, worst = trend(ratios, whole, thresholds)
    per_layer = f"x{factor:.2g} per layer over {len(chain)} maps, " if len(chain) > 1 else ""
    sentence = f"a signal {verb} {per_layer}x{whole:.2g} from {spectrum.sources[-1]} to {spectrum.targets[-1]}: {word}"
    if len(chain) > 1:
        sentence += f"; the largest change is x{ratios[worst]:.2g} in {names[chain[worst]]}"
    if there[-1]:
        near = smallest[-1] >= 1 / thresholds.isometry and largest[-1] <= thresholds.isometry
        sentence += f"; singular values from end to end lie in {smallest[-1]:.2g} ... {largest[-1]:.2g}, mean "
        sentence += f"{mean[-1]:.2g}: {'near' if near else 'no'} isometry"
    return sentence


def plot(spectrum: "JacobianSpectrum", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws mean, gain and range of the singular values over the maps there are, each the mean over the examples.

    Args:
      spectrum: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.
    """
    from matplotlib.figure import Figure

    there = np.flatnonzero([not reason for reason in spectrum.reasons])
    mean, smallest, largest, gain = (np.asarray(column).mean(1)[there] for column in _columns(spectrum))
    ends = (short_names(layers[:-1], 16) for layers in (spectrum.sources, spectrum.targets))
    names = [*map(" → ".join, zip(*ends, strict=True)), "whole network"]
    positions = np.arange(len(there))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    positive = np.concatenate([column[np.isfinite(column) & (column > 0)] for column in (mean, largest, gain)])
    # What rounding leaves of a singular value 0 would press all others together.
    floor = positive.min() * 1e-3 if len(positive) else 0
    axes.vlines(positions, np.maximum(smallest, floor), largest, lw=6, alpha=0.3, label="smallest to largest")
    axes.plot(positions, mean, "o", label="mean singular value")
    axes.plot(positions, gain, "x", color="black", label="gain")
    axes.axhline(1, color="grey", lw=1)
    layer_ticks(axes, [names[i] for i in there], longest=35)
    axes.set_ylabel("singular values of the Jacobian")
    if len(positive):
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "no finite singular value above 0", transform=axes.transAxes, ha="center")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return finished(figure, path, verdict(spectrum) if title is None else title)


def _names(spectrum: "JacobianSpectrum") -> list[str]:
    return [f"{source} -> {target}" for source, target in zip(spectrum.sources, spectrum.targets, strict=True)]


def _columns(spectrum: "JacobianSpectrum") -> tuple[Any, ...]:
    single("spectrum", spectrum.mean, ("maps", "examples"))
    return spectrum.mean, spectrum.smallest, spectrum.largest, spectrum.gain
