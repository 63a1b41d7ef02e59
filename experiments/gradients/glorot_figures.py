"""The figures of the experiment `glorot_training`, drawn as the paper has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.curves import draw_curves
from experiments.gradients.glorot_networks import DEPTH, Signals, Trained

BINS = 61


def histograms(found: Mapping[tuple[str, str], Signals]) -> Figure:
    """Above the activations, below the error signals of every layer; a column for each start and time."""
    figure = Figure(figsize=(4 * len(found), 7), layout="constrained")
    axes: Any = figure.subplots(2, len(found), squeeze=False)
    largest = max(3 * float(np.std(d)) for signals in found.values() for d in signals.errors)
    for column, ((name, when), signals) in enumerate(found.items()):
        for axis, layers, limit in (
            (axes[0, column], signals.activations, 1.0),
            (axes[1, column], signals.errors, largest),
        ):
            edges = np.linspace(-limit, limit, BINS)
            for i, values in enumerate(layers):
                heights, _ = np.histogram(np.asarray(values).ravel(), bins=edges, density=True)
                axis.plot((edges[1:] + edges[:-1]) / 2, heights, label=f"layer {i + 1}")
            axis.set(yscale="log")
            axis.grid(alpha=0.3)
        axes[0, column].set(title=f"{name}, {when}", xlabel="activation")
        axes[1, column].set(xlabel="back-propagated gradient")
    axes[0, 0].set(ylabel="density")
    axes[1, 0].set(ylabel="density")
    axes[0, 0].legend(fontsize=8)
    return figure


def course(arms: Mapping[str, Trained], sigmoid: Trained, dataset: str) -> Figure:
    """Left: validation errors; middle: means of the sigmoid layers; right: their relative slopes."""
    figure = Figure(figsize=(14, 4.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_curves(left, {f"{name}, eta {arm.rate:g}": arm.validation for name, arm in arms.items()})
    left.set(xlabel="epoch", ylabel=f"validation error on {dataset} (%)", yscale="log")
    for axis, key, label in ((middle, "mean", "mean activation"), (right, "slope", "mean slope over the largest")):
        layers = {f"layer {i + 1}": sigmoid.watched[key][:, :, i] for i in range(DEPTH)}
        draw_curves(axis, layers, sigmoid.steps)
        axis.set(xlabel="step", ylabel=f"{label} of the sigmoids", ylim=(0, 1))
    return figure
