"""What becomes of gradients through the turns of a recurrence: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import short_names
from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.through_time import GradientsThroughTime

_MOST_LINES = 12


def table(through: "GradientsThroughTime") -> str:
    """For each recurrence a line a time step, of many steps a dozen: gradient and growth of the products."""
    lines = []
    for name, gradient, log_growth in _rows(through):
        steps = len(gradient)
        chosen = range(steps) if steps <= _MOST_LINES else np.linspace(0, steps - 1, _MOST_LINES).round().astype(int)
        lines += [name, f"{'step':>6} {'gradient':>12} {'|dh_T/dh_t|':>12}"]
        lines += [f"{step + 1:>6} {gradient[step]:>12.4g} {_power(log_growth[step]):>12}" for step in chosen]
    return "\n".join(lines)


def verdict(through: "GradientsThroughTime", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence for each recurrence: what it makes of a gradient itself, and what there is of the loss's gradient.

    It goes by the products of recurrent Jacobians, which tell of the recurrence even where the loss is not finite.
    """
    judged = sorted((_judged(*row, thresholds) for row in _rows(through)), key=lambda pair: not pair[0])
    return "; ".join(sentence for _, sentence in judged)


def _judged(name: str, gradient: np.ndarray, log_growth: np.ndarray, thresholds: Thresholds) -> tuple[bool, str]:
    """Whether a recurrence is sick, and the sentence."""
    steps = len(gradient)
    beside = "" if np.isfinite(gradient).all() else "; the gradient of the loss is not finite there"
    if np.isnan(log_growth).any() or np.isposinf(log_growth).any():
        step = int(np.flatnonzero(~(log_growth < np.inf))[-1]) + 1
        return True, f"the recurrence {name} has a Jacobian that is not finite after step {step} of {steps}{beside}"
    if steps < 2:
        return False, f"the recurrence {name} has one step: nothing to compare{beside}"
    if np.isneginf(log_growth).any():
        step = int(np.flatnonzero(np.isneginf(log_growth))[-1]) + 1
        return True, f"in the recurrence {name} nothing comes back to step {step} of {steps}: vanishing{beside}"
    factor, low, high = (
        np.exp(log_growth[0] / (steps - 1)),
        np.log(thresholds.shrinks_through_time),
        np.log(thresholds.grows_through_time),
    )
    # Over a short sequence the total says little, so that the bounds per layer count for a step, too.
    if log_growth[0] > high or factor > thresholds.grows_per_layer:
        word, verb = "exploding", "grows"
    elif log_growth[0] < low or factor < thresholds.shrinks_per_layer:
        word, verb = "vanishing", "shrinks"
    else:
        word, verb = "healthy", "changes"
    total = f"x{_power(log_growth[0])} over {steps - 1} step" + "s" * (steps > 2)
    sentence = f"in the recurrence {name} a gradient {verb} x{factor:.2g} per step back, {total}: {word}"
    return word != "healthy", sentence + beside


def plot(through: "GradientsThroughTime", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws growth of the Jacobian products and gradient of the loss over the time steps, on logarithmic axes.

    Args:
      through: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    growth_axes, gradient_axes = figure.subplots(1, 2, sharex=True)
    rows = _rows(through)
    # In powers of ten, since products of many Jacobians leave the range of floating-point numbers.
    growths = [_finite(log_growth / np.log(10)) for _, _, log_growth in rows]
    gradients = [_finite(gradient) for _, gradient, _ in rows]
    for axes, curves in ((growth_axes, growths), (gradient_axes, gradients)):
        for name, curve in zip(short_names(through.cells), curves, strict=True):
            axes.plot(np.arange(1, len(curve) + 1), curve, ".-", label=name)
        if all(np.isnan(curve).all() for curve in curves):
            axes.text(0.5, 0.5, "nothing finite", transform=axes.transAxes, ha="center")
    if any((gradient > 0).any() for gradient in gradients):
        gradient_axes.set_yscale("log")
    growth_axes.axhline(0, color="grey", lw=1)
    growth_axes.set_ylabel("growth from the last step back, log10 |dh_T/dh_t|")
    gradient_axes.set_ylabel("gradient of the loss, |dC/dh_t|")
    for axes in (growth_axes, gradient_axes):
        axes.set_xlabel("time step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    growth_axes.legend(fontsize=8)
    return finished(figure, path, verdict(through) if title is None else title)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _power(log: float) -> str:
    """e to the power of `log`, beyond the range of floating-point numbers, too."""
    if not np.isfinite(log) or abs(log) < 300:
        return f"{np.exp(log):.4g}"
    exponent = int(np.floor(log / np.log(10)))
    return f"{10 ** (log / np.log(10) - exponent):.2f}e{exponent:+d}"


def _rows(through: "GradientsThroughTime") -> list[tuple[str, np.ndarray, np.ndarray]]:
    columns = [[np.asarray(values, np.float64) for values in rows] for rows in (through.gradient, through.log_growth)]
    for values in columns[0]:
        single("through_time", values, ("steps",))
    return list(zip(through.cells, *columns, strict=True))
