"""The figure of the experiment `batch_size`."""

import numpy as np
from matplotlib.figure import Figure

from experiments.generalization.batch_size_networks import RADII, Trained


def batch_size_figure(small: Trained, large: Trained, sizes: tuple[int, int], dataset: str) -> Figure:
    """Training losses over updates, accuracies of both batch sizes joined by seed, and how the loss rises around."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for trained, size, colour in ((small, sizes[0], "tab:green"), (large, sizes[1], "tab:red")):
        epochs = np.arange(1, trained.curve.shape[1] + 1)
        left.plot(epochs, np.median(trained.curve, 0), color=colour, label=f"batches of {size:,}")
        left.fill_between(epochs, trained.curve.min(0), trained.curve.max(0), color=colour, alpha=0.2, linewidth=0)
        mean = trained.rise.mean(0)
        right.plot(RADII, mean, ".-", color=colour, label=f"batches of {size:,}")
        right.fill_between(RADII, trained.rise.min(0), trained.rise.max(0), color=colour, alpha=0.2, linewidth=0)
    left.set(xlabel="epoch", ylabel="training loss of the batches", xscale="log", yscale="log")
    for seed in range(len(small.test)):
        middle.plot([0, 1], [small.test[seed], large.test[seed]], ".-", color="tab:gray")
    middle.plot([0, 1], [small.test.mean(), large.test.mean()], "D-", color="black", label="mean")
    middle.set(xticks=[0, 1], ylabel=f"test accuracy on {dataset} (%), a line is a seed")
    middle.set_xticklabels([f"batches of {size:,}" for size in sizes])
    right.set(xlabel="move of each unit's weights, relative to their length", ylabel="rise of the training loss")
    right.set(xscale="log", yscale="log")
    for axis in (left, middle, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    return figure
