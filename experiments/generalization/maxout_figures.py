"""The figure of the experiment `maxout`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.generalization.maxout_networks import BOUND, Trained


def maxout_figure(networks: Mapping[str, Trained], dataset: str) -> Figure:
    """Validation errors over the epochs, test errors of every seed, and the norms under the bound."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for i, (name, trained) in enumerate(networks.items()):
        epochs, colour = np.arange(1, trained.curve.shape[1] + 1), f"C{i}"
        left.plot(epochs, np.nanmean(trained.curve, 0), color=colour, label=name)
        left.fill_between(
            epochs, np.nanmin(trained.curve, 0), np.nanmax(trained.curve, 0), color=colour, alpha=0.2, linewidth=0
        )
        middle.barh(i, trained.test.mean(), color=colour, alpha=0.5)
        middle.plot(trained.test, np.full(len(trained.test), i), ".", color="black")
        right.hist(trained.norms.ravel(), bins=np.linspace(0, 1.02 * BOUND, 60).tolist(), density=True,
                   histtype="step", color=colour, label=name)  # fmt: skip
    left.set(xlabel="epoch", ylabel=f"validation error on {dataset} (%)", yscale="log")
    middle.set(xlabel="test error at the best validation accuracy (%)", yticks=range(len(networks)))
    middle.set_yticklabels([f"{name}\n{each.parameters:,} parameters" for name, each in networks.items()], fontsize=8)
    middle.invert_yaxis()
    right.axvline(BOUND, color="black", linestyle="--", label="bound")
    right.set(xlabel="norm of the weights into a unit and piece", ylabel="density", yscale="log")
    for axis in (left, right):
        axis.legend(fontsize=8)
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
    return figure
