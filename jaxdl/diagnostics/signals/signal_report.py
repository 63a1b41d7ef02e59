"""How a signal fares on its way forward: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_ticks
from jaxdl.diagnostics.reporting.reports import cell, finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds, trend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.signals.signal_propagation import SignalPropagation

KINDS = {1: "infinities", 2: "NaN"}


def table(signals: "SignalPropagation") -> str:
    """One line a layer: mean, variance, q and c of z, variance of a, error signal, saturation, activation."""
    single("signals", signals.length, ("layers",))
    columns = {
        "mean": signals.mean,
        "variance": signals.variance,
        "q": signals.length,
        "c": signals.correlation,
        "passed on": signals.activation_variance,
        "error signal": signals.error_norm,
        "saturated": signals.saturation,
    }
    width = max(len("layer"), *(len(name) for name in signals.layers))
    lines = [" ".join([f"{'layer':<{width}}", *(f"{name:>13}" for name in columns), "  activation"])]
    for i, name in enumerate(signals.layers):
        cells = [f"{cell(float(np.asarray(column)[i])):>13}" for column in columns.values()]
        lines.append(" ".join([f"{name:<{width}}", *cells, f"  {signals.activations[i] or '-'}"]))
    return "\n".join(lines)


def verdict(signals: "SignalPropagation", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence that names the state of the signal, its numbers and the layers to look at.

    A value that is not finite comes before anything else: the first layer with one, and whether it made it. Then the
    root mean square of z along the layers, by the same bounds a layer and in total as the gradient, the output layer
    left out; growth within a layer over the turns of a scan; saturated layers; examples that have become alike.
    """
    single("signals", signals.length, ("layers",))
    sick = _not_finite(signals)
    if sick:
        return sick
    findings = [_forward(signals, thresholds), *_over_turns(signals, thresholds), *_saturated(signals, thresholds)]
    alike = np.asarray(signals.correlation, np.float64)
    chain = [i for i, name in enumerate(signals.activations) if name and alike[i] > thresholds.alike]
    if chain:
        findings.append(
            f"different examples look alike from {signals.layers[chain[0]]} on, mean cosine {alike[chain[0]]:.4f}"
        )
    return "; ".join(findings)


def _not_finite(signals: "SignalPropagation") -> str:
    illness = np.asarray(signals.illness)
    rows, stages = np.nonzero(illness)
    count = f"{len(set(rows))} of {len(illness)} layers"
    if len(rows):
        row, stage = int(rows[0]), int(stages[0])
        what, name = KINDS[int(illness[row, stage])], signals.layers[row]
        if stage == 0 and row == 0:
            how = f"{what} come with the input of {name}"
        elif stage == 0:
            how = f"{what} first arrive at {name}, made after {signals.layers[row - 1]}, whose own values are finite"
        elif stage == 1:
            how = f"{name} makes {what}: what comes in is finite, its output is not"
        else:
            how = f"the activation {signals.activations[row]} of {name} makes {what} of finite pre-activations"
        return f"not finite in {count}: {how}"
    if not np.isfinite(signals.loss):
        return f"the loss is not finite although every layer is: made after {signals.layers[-1]}"
    errors = np.flatnonzero(~np.isfinite(signals.error_norm) & (np.asarray(signals.length) >= 0))
    if len(errors):
        return (
            f"the forward signal is finite, but the error signal is not in {len(errors)} of {len(illness)} layers, "
            f"the last of them {signals.layers[errors[-1]]}"
        )
    return ""


def _forward(signals: "SignalPropagation", thresholds: Thresholds) -> str:
    size = np.sqrt(np.asarray(signals.length, np.float64))
    # Of layers that meet before their activation, as those of input and state in a recurrence, the largest counts.
    groups = [[i for i, first in enumerate(signals.meeting) if first == row] for row in sorted(set(signals.meeting))]
    chain = sorted(max(group, key=lambda i: np.nan_to_num(size[i])) for group in groups)
    chain = [i for i in chain if not np.isnan(size[i])]
    silent = [i for i in chain if size[i] == 0]
    if silent:
        return f"no signal at all in {signals.layers[silent[0]]} ({len(silent)} of {len(chain)} layers have none)"
    chain = chain[:-1]
    if len(chain) < 2:
        return f"only {len(chain)} layer before the output: nothing to compare"
    names, values = [signals.layers[i] for i in chain], size[chain]
    ratios, total = values[1:] / values[:-1], float(values[-1] / values[0])
    word, verb, factor, worst = trend(ratios, total, thresholds)
    return (
        f"signal {verb} x{factor:.2g} per layer over {len(names)} layers, x{total:.2g} from {names[0]} to {names[-1]}: "
        f"{word}; the largest change is x{ratios[worst]:.2g} from {names[worst]} to {names[worst + 1]}"
    )


def _over_turns(signals: "SignalPropagation", thresholds: Thresholds) -> list[str]:
    """Layers that are applied again and again: the second turn is the first with a state."""
    found = []
    for name, lengths in signals.length_by_turn.items():
        sizes = np.sqrt(np.asarray(lengths, np.float64).ravel())
        sizes = sizes[sizes > 0]
        if len(sizes) < 3:
            continue
        total = sizes[-1] / sizes[1]
        factor = total ** (1 / (len(sizes) - 2))
        vanishes = factor < thresholds.shrinks_per_layer or total < thresholds.shrinks_in_total
        if vanishes or factor > thresholds.grows_per_layer or total > thresholds.grows_in_total:
            state, verb = ("vanishing", "shrinks") if vanishes else ("exploding", "grows")
            found.append(f"over its {len(sizes)} turns the signal in {name} {verb} x{factor:.2g} a turn: {state}")
    return found


def _saturated(signals: "SignalPropagation", thresholds: Thresholds) -> list[str]:
    share = np.asarray(signals.saturation, np.float64)
    rows = [i for i in np.argsort(-np.nan_to_num(share), kind="stable") if share[i] > thresholds.saturated]
    named = ", ".join(
        f"{signals.layers[i]} ({signals.activations[i]}, {percent(share[i])} of its entries)" for i in rows
    )
    return [f"saturated: {named}"] if rows else []


def plot(signals: "SignalPropagation", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws one measurement over the layers: q with the error signal, c with the saturation.

    Args:
      signals: with arrays `(layers,)`.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: stacked measurements.
    """
    from matplotlib.figure import Figure

    single("signals", signals.length, ("layers",))
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    positions = np.arange(len(signals.layers))
    passed = np.asarray(signals.activation_variance)
    for label, values, style in (
        ("q, mean square of z", signals.length, "o-"),
        ("variance of a", np.where([name is None for name in signals.activations], np.nan, passed), "s--"),
        ("error signal", signals.error_norm, "^:"),
    ):
        upper.plot(positions, np.asarray(values, np.float64), style, label=label)
    drawn = np.concatenate([line.get_ydata() for line in upper.lines])
    if np.any(drawn[np.isfinite(drawn)] > 0):
        upper.set_yscale("log")
    lower.plot(positions, np.asarray(signals.correlation), "o-", label="c, mean cosine of two examples")
    lower.plot(positions, np.asarray(signals.saturation), "s--", label="share of saturated entries")
    lower.set(ylim=(min(-0.05, 1.1 * np.nan_to_num(lower.dataLim.ymin)), 1.05), xlabel="layer, from input to output")
    layer_ticks(lower, signals.layers)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return finished(figure, path, verdict(signals) if title is None else title)
