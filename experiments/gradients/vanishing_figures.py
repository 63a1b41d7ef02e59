"""The pictures of `vanishing_gradient`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def start_norms(starts: Mapping[int, np.ndarray], control: np.ndarray, dataset: str) -> Figure:
    """Norms before training over the layers, a panel for each depth and one for the control."""
    panels = [(f"{d} hidden, sigmoid", norms) for d, norms in starts.items() if d > 1]
    panels.append((f"control: {control.shape[1]} hidden, ReLU + He", control))
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axis, (title, norms) in zip(axes, panels, strict=True):
        layers = np.arange(1, norms.shape[1] + 1)
        axis.semilogy(layers, norms.T, ".", color="tab:gray", alpha=0.4)
        axis.semilogy(layers, np.median(norms, 0), "o-", color="tab:red")
        axis.set(title=title, xticks=layers, xlabel="hidden layer, from the input", xlim=(0.5, norms.shape[1] + 0.5))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("norm of the error signal")
    figure.suptitle(f"Before training, {len(control)} random starts, first 1,000 images of {dataset}")
    return figure


def learning_speed(curves: Mapping[int, np.ndarray], stored: Mapping[int, Mapping[int, tuple[float, ...]]]) -> Figure:
    """Norms over the epochs, a panel for each depth: median and range over seeds, the book's run as crosses."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(curves), sharey=True))
    for axis, (d, norms) in zip(axes, curves.items(), strict=True):
        epochs = np.arange(norms.shape[1])
        for layer in range(norms.shape[2]):
            values = norms[..., layer]
            (line,) = axis.semilogy(epochs, np.median(values, 0), label=f"hidden layer {layer + 1}")
            axis.fill_between(epochs, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
            points = {epoch: row[layer] for epoch, row in stored.get(d, {}).items() if epoch < norms.shape[1]}
            axis.semilogy(list(points), list(points.values()), "x", color=line.get_color())
        axis.set(title=f"{d} hidden layers", xlabel="epoch of full-batch gradient descent")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel("norm of the error signal")
    return figure
