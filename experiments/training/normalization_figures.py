"""Picture of the experiment `normalization`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def accuracy_figure(trained: Mapping[Any, Any], arms: Mapping[str, Sequence[str]], dataset: str) -> Figure:
    """One panel a layout: validation accuracy over the epochs, and test accuracies of the seeds at its right edge."""
    figure = Figure(figsize=(5 * len(arms), 4.4), layout="constrained")
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(name for names in arms.values() for name in names))}
    for axis, (layout, names) in zip(np.atleast_1d(figure.subplots(1, len(arms))), arms.items(), strict=True):
        last = 1
        for i, name in enumerate(names):
            result = trained[layout, name]
            epochs = np.arange(1, result.validation.shape[1] + 1)
            last = max(last, len(epochs))
            axis.plot(epochs, result.validation.mean(0), color=colours[name], label=name)
            low, high = result.validation.min(0), result.validation.max(0)
            axis.fill_between(epochs, low, high, color=colours[name], alpha=0.2, linewidth=0)
            place = last * 1.05 + 0.02 * last * i
            axis.plot(np.full(len(result.test), place), result.test, ".", color=colours[name])
        finals = np.concatenate([trained[layout, name].test for name in names])
        axis.set(xlabel="epoch", ylabel=f"accuracy on {dataset} (%)", title=layout, ylim=(finals.min() - 4, 100.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    return figure
