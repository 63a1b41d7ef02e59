"""The figures of experiment per_example."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.theory.detection import curve
from jaxdl.data import Examples

COLUMNS = 10


def images(data: Examples, norms: np.ndarray, answers: np.ndarray) -> Figure:
    """Two rows of the images with the largest norms, the largest first, and one of those with the smallest."""
    order = np.argsort(norms)[::-1]
    chosen = np.concatenate([order[: 2 * COLUMNS], order[-COLUMNS:]])
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, i in zip(np.ravel(figure.subplots(3, COLUMNS, squeeze=False)), chosen, strict=False):
        axes.imshow(data.x[i][..., 0], cmap="gray_r", interpolation="nearest")
        taken = "" if answers[i] == data.y[i] else f", seen {answers[i]}"
        axes.set_title(f"{data.y[i]}{taken}\n{norms[i]:.2g}", fontsize=9, color="black" if not taken else "tab:red")
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def detection(hunts: Sequence[Any], shuffled: Sequence[np.ndarray], dataset: str) -> Figure:
    """ROC curves of all seeds with those of the control, and areas by epoch."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for seed, (found, flags) in enumerate(zip(hunts, shuffled, strict=True)):
        kinds = (("wrong labels", found.flags, "tab:blue", "-"), ("control, at random", flags, "gray", ":"))
        for name, flagged, colour, style in kinds:
            label = name if seed == 0 else None
            left.plot(*curve(found.norms, flagged), color=colour, linestyle=style, linewidth=1, label=label)
    left.set(xlabel="right labels taken for wrong", ylabel="wrong labels found", title=f"gradient norm on {dataset}")
    for name, areas in (("gradient norm", [h.by_norm for h in hunts]), ("loss", [h.by_loss for h in hunts])):
        values = np.array(areas)
        epochs = np.arange(1, values.shape[1] + 1)
        (line,) = right.plot(epochs, values.mean(0), ".-", label=name)
        right.fill_between(epochs, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)
    right.set(xlabel="epoch", ylabel="area under the ROC curve")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (left, right):
        axes.legend(loc="lower right")
        axes.grid(alpha=0.3)
    return figure
