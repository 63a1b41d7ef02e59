"""Pictures of the experiment `weight_decay`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.generalization.penalized_networks import Arm, zeros

COLOURS = {"none": "tab:red", "L2": "tab:green", "L1, subgradient": "tab:orange", "L1, proximal": "tab:blue"}
UNITS = 6


def accuracy_figure(arms: Mapping[str, Arm], dataset: str) -> Figure:
    """Left: test accuracy over the epochs; right: training and test accuracy at the end."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, arm) in enumerate(arms.items()):
        epochs = np.arange(1, arm.test.shape[1] + 1)
        left.plot(epochs, arm.test.mean(0), color=COLOURS[name], label=name)
        left.fill_between(epochs, arm.test.min(0), arm.test.max(0), color=COLOURS[name], alpha=0.15, linewidth=0)
        last = arm.test[:, -1]
        right.plot([i] * 2, [arm.train.mean(), last.mean()], "-", color=COLOURS[name], linewidth=3, alpha=0.4)
        right.plot(np.full(len(last), i), last, "o", color=COLOURS[name], markersize=4)
        right.plot(np.full(len(last), i), arm.train, "^", color=COLOURS[name], markersize=5)
    bottom = min(np.quantile(arm.test, 0.1) for arm in arms.values())
    left.set(xlabel="epoch", ylabel=f"test accuracy on {dataset} (%)", ylim=(bottom - 0.5, None))
    left.legend(fontsize=8)
    right.set(ylabel="accuracy after the last epoch (%)", title="triangles: training images, dots: test images")
    right.set_xticks(range(len(arms)), list(arms))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def weights_figure(arms: Mapping[str, Arm], before: np.ndarray, shape: Sequence[int]) -> Figure:
    """A row for each arm: six units' incoming weights as images, and the histogram of all of them."""
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    rows = {"before training": (before, "tab:gray")}
    rows |= {name: (arm.kernels, COLOURS[name]) for name, arm in arms.items()}
    grid = figure.add_gridspec(len(rows), UNITS + 4)
    edges = np.linspace(-3, 3, 121).tolist()
    for row, (name, (kernels, colour)) in enumerate(rows.items()):
        limit = float(np.quantile(np.abs(kernels[0][:, :UNITS]), 0.995)) or 1.0
        for unit in range(UNITS):
            axis = figure.add_subplot(grid[row, unit])
            image = kernels[0][:, unit].reshape(shape)
            axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if unit == 0:
                axis.set_ylabel(name, fontsize=9)
        axis = figure.add_subplot(grid[row, UNITS:])
        axis.hist(kernels.ravel(), edges, color=colour, alpha=0.7)
        axis.set(yscale="log", xlim=(edges[0], edges[-1]))
        axis.text(0.02, 0.9, f"exactly 0: {zeros(kernels).mean():.1%}", transform=axis.transAxes, va="top", fontsize=9)
        axis.grid(alpha=0.3)
    return figure
