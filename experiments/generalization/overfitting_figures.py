"""The figure of the experiment `overfitting`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.generalization.overfitting_networks import Curves, Reached


def overfitting_figure(
    none: Curves,
    decayed: Curves,
    arms: Mapping[str, Reached],
    sweep: Mapping[tuple[int, str], Reached],
    dataset: str,
) -> Figure:
    """Above: test accuracy and cost over the epochs; below: the cures, and accuracy against the width."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    ((accuracy, cost), (cures, widths)) = figure.subplots(2, 2)
    for curves, name, colour in ((none, "no cure", "tab:red"), (decayed, "weight decay", "tab:green")):
        for axis, values in ((accuracy, curves.test), (cost, curves.cost)):
            epochs = np.arange(1, values.shape[1] + 1)
            axis.plot(epochs, values.mean(0), color=colour, label=name)
            axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
    low = np.quantile(np.concatenate([none.test, decayed.test]), 0.02)
    accuracy.set(xlabel="epoch", ylabel=f"test accuracy on {dataset} (%)", ylim=(low - 1, None))
    cost.set(xlabel="epoch", ylabel="test cost", xscale="log")
    smallest = none.cost.mean(0).argmin()
    cost.plot(smallest + 1, none.cost.mean(0)[smallest], "o", color="tab:red", fillstyle="none", label="its minimum")
    for i, (name, arm) in enumerate(arms.items()):
        cures.barh(i, arm.cost.mean(), color="tab:red" if name == "none" else "tab:green", alpha=0.6)
        cures.plot(arm.cost, np.full(len(arm.cost), i), ".", color="black")
        cures.annotate(f" {arm.test.mean():.1f} %", (arm.cost.max(), i), va="center", fontsize=8)
    cures.set(yticks=range(len(arms)), xlabel="test cost at the end (beside it: test accuracy)")
    cures.set_yticklabels(list(arms))
    cures.invert_yaxis()
    cures.set_xlim(0, 1.15 * max(arm.cost.max() for arm in arms.values()))
    listed = sorted({width for width, _ in sweep})
    for name, colour in (("none", "tab:red"), ("L2", "tab:green")):
        values = np.stack([sweep[width, name].test for width in listed])
        widths.plot(listed, values.mean(1), ".-", color=colour, label="no cure" if name == "none" else "weight decay")
        widths.fill_between(listed, values.min(1), values.max(1), color=colour, alpha=0.2, linewidth=0)
    widths.set(xlabel="hidden units", ylabel="test accuracy (%)", xscale="log", xticks=listed)
    widths.set_xticklabels([str(width) for width in listed])
    widths.minorticks_off()
    for axis in (accuracy, cost, widths):
        axis.legend(fontsize=8)
    for axis in (accuracy, cost, cures, widths):
        axis.grid(alpha=0.3)
    return figure
