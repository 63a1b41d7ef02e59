"""Picture of the experiment `transfer`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure


def transfer_figure(
    test: Mapping[tuple[str, int], np.ndarray], curves: Mapping[str, np.ndarray], *, dataset: str, labels: int
) -> Figure:
    """Left: test accuracy over the labels a class; right: validation accuracy over the number of reused layers."""
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    arms, counts = list(dict.fromkeys(arm for arm, _ in test)), sorted({count for _, count in test})
    for i, arm in enumerate(arms):
        places = np.arange(len(counts)) + 0.06 * (i - (len(arms) - 1) / 2)
        _with_dots(left, places, [test[arm, count] for count in counts], f"C{i}", arm)
    left.set(xlabel="labels a class", xticks=range(len(counts)), xticklabels=map(str, counts))
    left.set(ylabel=f"test accuracy on {dataset} 5-9 (%)", title="learned on 0-4, reused on 5-9")
    for i, (kind, values) in enumerate(curves.items()):
        _with_dots(right, np.arange(len(values)) + 0.05 * (i - 1), list(values), f"C{i + 4}", kind)
    names = ["none", "conv_0", "+ conv_1", "+ dense_0"]
    length = max((len(values) for values in curves.values()), default=0)
    right.set(xticks=range(length), xticklabels=names[:length], xlabel="reused layers")
    right.set(ylabel="validation accuracy (%)", title=f"how much reuse is best, {labels} labels a class")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def _with_dots(axis, places: np.ndarray, values: Sequence[np.ndarray], colour: str, label: str) -> None:
    axis.plot(places, [each.mean() for each in values], "-", color=colour, label=label)
    for place, each in zip(places, values, strict=True):
        axis.plot(np.full(len(each), place), each, ".", color=colour, alpha=0.6)
