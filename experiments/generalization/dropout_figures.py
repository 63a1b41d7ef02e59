"""The figures of the experiments `dropout` and `dropout_curves`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def table_figure(errors: Mapping[str, np.ndarray], published: Mapping[str, float], dataset: str) -> Figure:
    """Left: test errors of every arm and seed; right: means relative to the first arm, ours and the published ones."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(errors)
    for i, name in enumerate(names):
        colour = "tab:green" if name.startswith("dropout") else "tab:blue"
        left.barh(i, errors[name].mean(), color=colour, alpha=0.5)
        left.plot(errors[name], np.full(len(errors[name]), i), ".", color="black")
        ratio = errors[name].mean() / errors[names[0]].mean()
        right.plot(ratio, i, "o", color=colour, label="here" if i == 0 else None)
        right.plot(published[name] / published[names[0]], i, "D", color="black", fillstyle="none",
                   label="published" if i == 0 else None)  # fmt: skip
    spread = np.concatenate(list(errors.values()))
    left.set_xlim(max(0.0, spread.min() - 0.5 * np.ptp(spread)), None)
    left.set(xlabel=f"test error on {dataset} (%), the axis cut", yticks=range(len(names)), yticklabels=names)
    right.set(xlabel=f"test error relative to {names[0]}", yticks=range(len(names)), yticklabels=names)
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.invert_yaxis()
        axis.grid(alpha=0.3)
    return figure
