"""How the gradient fares from layer to layer: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_curves, layer_ticks
from jaxdl.diagnostics.reporting.reports import cell, finished
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds, trend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.gradient_flow import GradientFlow


def table(flow: "GradientFlow") -> str:
    """One line a layer: error signal, its ratio to the next layer's, weight gradient, update over weight."""
    single("flow", flow.error_signal, ("layers",))
    columns = ("error signal", "ratio to next", "weight gradient", "update/weight")
    values = (flow.error_signal, flow.ratio_to_next, flow.weight_gradient, flow.update_to_weight)
    width = max(len("layer"), *(len(name) for name in flow.layers))
    lines = [" ".join([f"{'layer':<{width}}", *(f"{column:>15}" for column in columns)])]
    for i, name in enumerate(flow.layers):
        numbers = (float(np.asarray(column)[i]) for column in values)
        lines.append(" ".join([f"{name:<{width}}", *(f"{cell(value):>15}" for value in numbers)]))
    lines += [f"{name:<{width}} {'not used with the batch':>15}" for name in flow.unused]
    return "\n".join(lines)


def verdict(flow: "GradientFlow", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence that names the state of the gradient, its numbers and the layers to look at.

    It follows the error signal along the matrices in forward order. A normalization (and the softmax of attention)
    cancels every shift of the outputs before it, so that a bias there has no gradient however well the layer learns;
    in a network with one, the sentence follows the weight gradient instead, with wider bounds per layer. The output
    layer, whose signal is the residual itself, is left out unless the drop before it is a hundredfold.
    """
    single("flow", flow.error_signal, ("layers",))
    signal = np.asarray(flow.error_signal, np.float64)
    weight = np.asarray(flow.weight_gradient, np.float64)
    matrix = np.asarray(flow.matrix, bool)
    sick = np.flatnonzero(np.isinf(signal) | np.isinf(weight) | matrix & np.isnan(weight))
    if len(sick):
        share = f"{len(sick)} of {len(matrix)} layers"
        return f"gradient is not finite in {share}, the first of them {flow.layers[sick[0]]}"
    normalized = np.any(~matrix & np.isfinite(weight)) or np.any(matrix & (signal < thresholds.cancelled * weight))
    what, values = ("weight gradient", weight) if normalized else ("gradient", signal)
    chain = np.flatnonzero(matrix & np.isfinite(values))
    silent = [i for i in chain if values[i] == 0]
    if silent:
        share = f"{len(silent)} of {len(chain)} layers get none"
        return f"no gradient at all arrives at {flow.layers[silent[-1]]} ({share}): blocked, cut off or dead"
    if (
        len(chain) > 1
        and 1 / thresholds.grows_in_total < values[chain[-2]] / values[chain[-1]] < 1 / thresholds.shrinks_in_total
    ):
        chain = chain[:-1]
    if len(chain) < 2:
        return f"only {len(chain)} layer before the output has a gradient of its own: nothing to compare"
    # A weight gradient also grows with the layer's inputs, so only larger factors say something of the gradient.
    slack = 2 if normalized else 1
    return _sentence(what, [flow.layers[i] for i in chain], values[chain], slack, thresholds)


def _sentence(what: str, names: list[str], values: np.ndarray, slack: int, thresholds: Thresholds) -> str:
    ratios, total = values[:-1] / values[1:], float(values[0] / values[-1])
    word, verb, factor, worst = trend(ratios, total, thresholds, slack=slack)
    return (
        f"{what} {verb} x{factor:.2g} per layer over {len(names)} layers, x{total:.2g} from {names[-1]} back to "
        f"{names[0]}: {word}; the largest change is x{ratios[worst]:.2g} from {names[worst + 1]} back to {names[worst]}"
    )


def plot(flow: "GradientFlow", path: Any = None, *, steps: Any = None, title: str | None = None) -> "Figure":
    """Draws a measurement over the layers, or stacked measurements `(time, layers)` as a curve for each layer.

    Args:
      flow: a `GradientFlow` with arrays `(layers,)` or `(time, layers)`.
      path: where to save the picture; the ending sets its kind.
      steps: `(time,)` updates done at each measurement, for the horizontal axis.
      title: above the picture; the verdict by default, for a single measurement.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: arrays of more than two axes.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    signal = np.asarray(flow.error_signal, np.float64)
    if signal.ndim > 2:
        raise ValueError(
            f"flow: expected arrays (layers,) or (time, layers); got shape {signal.shape}. Pick one member: flow[0]."
        )
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    if signal.ndim == 1:
        positions = np.arange(len(flow.layers))
        axes.plot(positions, signal, "o-", label="error signal")
        axes.plot(positions, np.asarray(flow.weight_gradient), "s--", label="weight gradient")
        layer_ticks(axes, flow.layers)
        axes.set_xlabel("layer, from input to output")
        axes.legend()
        title = verdict(flow) if title is None else title
    else:
        times = np.arange(len(signal)) if steps is None else np.asarray(steps)
        layer_curves(axes, times, signal, flow.layers)
        axes.set_xlabel("measurement" if steps is None else "updates done")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if np.any(signal[np.isfinite(signal)] > 0):
        axes.set_yscale("log")
    if not np.any(np.isfinite(signal)):
        axes.text(0.5, 0.5, "nothing finite", transform=axes.transAxes, ha="center")
    axes.set_ylabel("norm" if signal.ndim == 1 else "norm of the error signal")
    axes.grid(alpha=0.3)
    return finished(figure, path, title or "")
