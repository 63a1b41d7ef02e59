"""The figure of the experiment `data_size`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def size_figure(
    network: Mapping[int, np.ndarray], machines: Mapping[int, float], stored: Mapping[int, tuple[float, float]]
) -> Figure:
    """Accuracy and, where it would lie on one line, error on a logarithmic axis."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    sizes = list(network)
    means = np.array([network[size].mean() for size in sizes])
    for axis, shown, label in zip(
        figure.subplots(1, 2), (lambda v: v, lambda v: 100 - v), ("accuracy", "error"), strict=True
    ):
        axis.plot(sizes, shown(means), "-", color="tab:blue", label="network")
        for size in sizes:
            axis.plot(np.full(len(network[size]), size), shown(network[size]), ".", color="tab:blue")
        axis.plot(list(machines), shown(np.array(list(machines.values()))), "s-", color="tab:orange", label="SVM")
        for column, colour in enumerate(("tab:blue", "tab:orange")):
            figures = np.array([pair[column] for pair in stored.values()])
            axis.plot(list(stored), shown(figures), "x", color=colour, markersize=9)
        axis.set(xlabel="training images", ylabel=f"validation {label} (%)", xscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
        if label == "error":
            axis.set(yscale="log")
    return figure
