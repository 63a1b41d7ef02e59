"""How the gradients of the examples of a batch lie about their mean: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_ticks
from jaxdl.diagnostics.reporting.reports import cell, finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.gradient_statistics import GradientStatistics


def table(statistics: "GradientStatistics") -> str:
    """One line a layer: norm of the mean gradient, deviation of one example's, their ratio, and that of the mean."""
    single("statistics", statistics.norms, ("batch",))
    size = np.shape(statistics.norms)[0]
    ratio = np.asarray(statistics.signal_to_noise, np.float64)
    columns = ("mean gradient", "deviation", "signal/noise", f"of {size} examples")
    values = (statistics.mean_norm, statistics.deviation, ratio, ratio * np.sqrt(size))
    width = max(len("layer"), *(len(name) for name in statistics.layers))
    lines = [" ".join([f"{'layer':<{width}}", *(f"{column:>15}" for column in columns)])]
    for i, name in enumerate(statistics.layers):
        cells = (float(np.asarray(column)[i]) for column in values)
        lines.append(" ".join([f"{name:<{width}}", *(f"{cell(value):>15}" for value in cells)]))
    return "\n".join(lines)


def verdict(statistics: "GradientStatistics", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence: what is signal in the mean gradient, where it is none, and how many examples pull the other way.

    Of pure noise |g|^2 is about the variance over the batch size, in the mean of many batches.
    """
    single("statistics", statistics.norms, ("batch",))
    norms = np.asarray(statistics.norms, np.float64)
    size, sick = len(norms), np.flatnonzero(~np.isfinite(norms))
    if len(sick):
        return f"gradient is not finite for {len(sick)} of {size} examples, the first of them example {sick[0]}"
    signal, noise = (np.asarray(a, np.float64) for a in (statistics.mean_norm, statistics.deviation))
    if not np.any(norms > 0):
        return f"no example of {size} has a gradient: blocked, cut off or learned by heart"
    ratio = np.linalg.norm(signal) / max(np.linalg.norm(noise), np.finfo(float).tiny)
    cosines = np.asarray(statistics.cosines, np.float64)
    against = int(np.sum(cosines < 0))
    heard = f"x{ratio * np.sqrt(size):.3g}" if np.any(noise) else "infinitely"
    used = np.flatnonzero((signal > 0) | (noise > 0))
    drowned = [i for i in used if size * signal[i] ** 2 < thresholds.noisy_gradient * noise[i] ** 2]
    parts = [
        f"the mean gradient of {size} examples is {heard} its noise",
        f"{against} of {size} examples pull against it",
    ]
    if len(drowned) == len(used):
        parts.append("it cannot be told from noise in any layer: noise")
    elif drowned:
        parts.append(
            f"it cannot be told from noise in {len(drowned)} of {len(used)} layers, the first of them "
            f"{statistics.layers[drowned[0]]}: noisy"
        )
    else:
        parts.append(f"signal in each layer, {len(used)} in all: clear")
    longest = int(np.argmax(norms))
    share = norms[longest] ** 2 / np.sum(np.square(norms))
    if share > thresholds.dominant_example and size > 1 / thresholds.dominant_example:
        parts.append(f"example {longest} alone has {percent(share)} of the squared norms")
    return "; ".join(parts)


def plot(statistics: "GradientStatistics", path: Any = None, *, title: str | None = None) -> "Figure":
    """Left: norm and cosine of every example; right: signal and noise of every layer.

    Args:
      statistics: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: stacked measurements.
    """
    from matplotlib.figure import Figure

    single("statistics", statistics.norms, ("batch",))
    size = np.shape(statistics.norms)[0]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(np.asarray(statistics.norms), np.asarray(statistics.cosines), ".", alpha=0.6)
    left.axhline(0, color="gray", linewidth=0.8)
    left.set(xlabel="norm of an example's gradient", ylabel="cosine to the mean gradient", ylim=(-1.05, 1.05))
    noise = np.asarray(statistics.deviation)
    positions = np.arange(len(statistics.layers))
    right.plot(positions, np.asarray(statistics.mean_norm), "o-", label="mean gradient")
    right.plot(positions, noise, "s--", label="deviation of one example")
    right.plot(positions, noise / np.sqrt(size), "^:", label=f"deviation of the mean of {size}")
    layer_ticks(right, statistics.layers)
    right.set(xlabel="layer, from input to output", ylabel="norm")
    if np.any(noise[np.isfinite(noise)] > 0):
        right.set_yscale("log")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return finished(figure, path, verdict(statistics) if title is None else title)
