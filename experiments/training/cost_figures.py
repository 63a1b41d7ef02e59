"""Pictures of the experiment `costs`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.training.one_neuron import Curve

COLOURS = {"quadratic": "tab:red", "cross-entropy": "tab:blue"}


def neuron_figure(neuron: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """The output of one neuron over the steps, one panel for each start."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    starts = list(next(iter(neuron.values())))
    axes = figure.subplots(1, len(starts), sharey=True)
    for axis, start in zip(np.ravel(axes), starts, strict=True):
        for name, curves in neuron.items():
            style = "-" if name in COLOURS else "--"
            axis.plot(curves[start].output, style, color=COLOURS.get(name, COLOURS["cross-entropy"]), label=name)
        axis.set(xlabel="step", ylabel="output (the target is 0)", title=start, ylim=(0, 1))
        axis.grid(alpha=0.3)
    np.ravel(axes)[0].legend(fontsize=8)
    return figure


def networks_figure(
    curves: Mapping[tuple[int, str], np.ndarray],
    tuning: Mapping[str, Mapping[float, float]],
    early: Mapping[str, np.ndarray],
    dataset: str,
) -> Figure:
    """Left: test accuracy over the epochs, every seed; right: accuracy of the first updates against the rate."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (width, cost), values in curves.items():
        epochs = np.arange(1, values.shape[1] + 1)
        style = "-" if width == min(w for w, _ in curves) else "--"
        lines = left.plot(epochs, values.T, style, color=COLOURS[cost], alpha=0.7, linewidth=1)
        lines[0].set_label(f"{cost}, {width} hidden")
    usual = np.concatenate([values.ravel() for values in curves.values()])
    left.set(xlabel="epoch", ylabel=f"test accuracy on {dataset} (%)", ylim=(max(0, np.quantile(usual, 0.01) - 2), 100))
    for cost, by_rate in tuning.items():
        right.plot(list(by_rate), list(by_rate.values()), "o-", color=COLOURS[cost], label=f"{cost}, tuning seeds")
        best = max(by_rate, key=lambda eta: by_rate[eta])
        right.plot(np.full(len(early[cost]), best), early[cost], "x", color="black", markersize=5)
    right.set(
        xlabel="learning rate", xscale="log", ylabel="accuracy after the first updates (%)", title="crosses: judged"
    )
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
