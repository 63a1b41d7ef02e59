"""The gradient noise scale: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.noise_scale import NoiseScale


def table(found: "NoiseScale") -> str:
    """The scale and what it is made of, then steps and examples for batches from a tenth to ten times the scale."""
    single("scales", found.scale)
    named = {
        "noise scale, examples": found.scale,
        f"{percent(found.confidence)} interval, low": found.low,
        f"{percent(found.confidence)} interval, high": found.high,
        "tr(Sigma)": found.variance,
        "|G|^2": found.gradient_squared,
        "examples measured": found.num_examples,
    }
    lines = [f"{name:<24} {float(value):>10.4g}" for name, value in named.items()]
    sizes = _batch_sizes(found)
    if len(sizes):
        lines += ["", f"{'batch size':>12} {'steps':>12} {'examples':>12}  (times the fewest possible)"]
        lines += [f"{n:>12.4g} {float(found.steps(n)):>12.3g} {float(found.examples(n)):>12.3g}" for n in sizes]
    return "\n".join(lines)


def verdict(found: "NoiseScale", thresholds: Thresholds = DEFAULTS, *, batch_size: int | None = None) -> str:
    """A sentence: the scale with its interval, and on which side of it a batch size lies."""
    single("scales", found.scale)
    scale, low, high = float(found.scale), float(found.low), float(found.high)
    if np.isnan(scale):
        return f"no noise scale: the gradients of the {found.num_examples} examples are 0 or not finite"
    if not np.isfinite(scale):
        return (
            f"no signal in the gradients of {found.num_examples} examples: the noise scale is above {low:.3g} with "
            f"{percent(0.5 + found.confidence / 2, 4)} confidence; measure more examples"
        )
    sentence = (
        f"gradient noise scale {scale:.3g} examples ({percent(found.confidence)} interval {low:.3g} to {high:.3g})"
    )
    if batch_size is None:
        wide = high > thresholds.uncertain_scale * max(low, np.finfo(float).tiny) and high > 1
        return sentence + (": uncertain, measure more examples" if wide else "")
    steps, examples = 1 + scale / batch_size, 1 + batch_size / scale if scale > 0 else np.inf
    sentence += f"; batches of {batch_size} take x{steps:.3g} the fewest steps and x{examples:.3g} the fewest examples"
    if batch_size * thresholds.far_from_noise_scale < low:
        return sentence + ": small, more examples a step cost little"
    if batch_size > thresholds.far_from_noise_scale * high:
        return sentence + ": large, most of its examples are wasted"
    return sentence + ": about right"


def plot(found: "NoiseScale", path: Any = None, *, title: str | None = None) -> "Figure":
    """Steps and examples against the batch size, each in units of the fewest possible, with the scale's interval.

    Args:
      found: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: stacked measurements.
    """
    from matplotlib.figure import Figure

    single("scales", found.scale)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    sizes = _batch_sizes(found, points=60)
    if len(sizes):
        axes.plot(sizes, np.asarray(found.steps(sizes)), label="steps, over the fewest")
        axes.plot(sizes, np.asarray(found.examples(sizes)), "--", label="examples, over the fewest")
        left, right = sizes[[0, -1]]
        ends = np.clip([float(found.low), float(found.high)], left, right)
        axes.axvspan(*ends, color="gray", alpha=0.2, label=f"{percent(found.confidence)} interval of the scale")
        axes.axvline(float(found.scale), color="black", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlim=(left, right))
        axes.legend()
    axes.set(xlabel="batch size", ylabel="cost")
    axes.grid(alpha=0.3)
    return finished(figure, path, verdict(found) if title is None else title)


def _batch_sizes(found: "NoiseScale", points: int = 5) -> np.ndarray:
    """From a tenth to ten times the scale, or none without one."""
    scale = float(found.scale)
    return scale * np.logspace(-1, 1, points) if np.isfinite(scale) and scale > 0 else np.zeros(0)
