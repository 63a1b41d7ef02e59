"""Pictures of the ladder of baselines."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

REFERENCES = {
    "linear": (85.0, "lecture"),
    "softmax": (90.0, "lecture"),
    "network": (98.0, "lecture"),
    "dropout": (98.40, "Keras"),
    "dropout, falling rate": (98.40, "Keras"),
    "lenet": (99.25, "Keras"),
}


def ladder_figure(fixed: Mapping[str, float], trained: Mapping[str, np.ndarray], dataset: str) -> Figure:
    """Test errors on a logarithmic axis: accuracies near 100 % would lie on one line."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axis = figure.subplots()
    names = [*fixed, *trained]
    errors = [100 - fixed[name] if name in fixed else 100 - trained[name].mean() for name in names]
    colours = ["tab:gray" if name in fixed else "tab:blue" for name in names]
    axis.bar(names, errors, color=colours, alpha=0.6)
    for name, values in trained.items():
        axis.plot([name] * len(values), 100 - values, ".", color="black", markersize=4)
        if dataset == "mnist":
            axis.plot(name, 100 - REFERENCES[name][0], "x", color="tab:red", markersize=9)
            axis.annotate(
                REFERENCES[name][1],
                (name, 100 - REFERENCES[name][0]),
                (6, 4),
                textcoords="offset points",
                fontsize=8,
                color="tab:red",
            )
    for name, error in zip(names, errors, strict=True):
        axis.annotate(f"{100 - error:.2f} %", (name, 0.13), ha="center", fontsize=8)
    axis.set(yscale="log", ylim=(0.1, 150), ylabel=f"test error on {dataset} (%)", title="accuracy in each bar")
    for label in axis.get_xticklabels():
        label.set(rotation=20, ha="right")
    axis.grid(axis="y", alpha=0.3)
    return figure


def curves_figure(curves: Mapping[str, np.ndarray], dataset: str) -> Figure:
    """Accuracies over the epochs; the axis begins where the linear classifier ends."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for name, curve in curves.items():
        epochs = np.arange(1, curve.shape[1] + 1)
        (line,) = axis.plot(epochs, np.nanmean(curve, 0), label=name)
        axis.fill_between(
            epochs, np.nanmin(curve, 0), np.nanmax(curve, 0), color=line.get_color(), alpha=0.2, linewidth=0
        )
    axis.set(xscale="log", xlabel="epoch", ylabel=f"accuracy on {dataset} (%)", ylim=(80, 100))
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure
