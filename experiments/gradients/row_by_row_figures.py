"""The pictures of `row_by_row`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure


def learning_figure(curves: Mapping[str, np.ndarray], dataset: str) -> Figure:
    """Validation accuracy over the epochs, mean and range over the seeds."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis = figure.subplots()
    for arm, curve in curves.items():
        epochs = np.arange(1, curve.shape[1] + 1)
        (line,) = axis.plot(epochs, curve.mean(0), ".-", label=arm)
        axis.fill_between(epochs, curve.min(0), curve.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set(xlabel="epoch", ylabel=f"validation accuracy on {dataset} (%)", ylim=(0, 101))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def gradient_figure(growth: Mapping[str, np.ndarray], within: float, dataset: str) -> Figure:
    """Powers of ten of |dh_T/dh_t| over the lag T - t: all arms, and those that stay within sight of 1."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    whole, close = figure.subplots(1, 2)
    for arm, logs in growth.items():
        lags = np.arange(logs.shape[1] - 1, -1, -1)
        for axis in (whole, close):
            (line,) = axis.plot(lags, np.median(logs, 0), ".-", label=arm)
            axis.fill_between(lags, logs.min(0), logs.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    for axis in (whole, close):
        axis.axhspan(-within, within, color="grey", alpha=0.15)
        axis.set_xlabel("lag T - t, steps")
        axis.grid(alpha=0.3)
    whole.set(ylim=(-40, 3), ylabel=f"log10 |dh_T/dh_t| before training, {dataset}", title="all arms")
    close.set(ylim=(-3.5, 1.5), title="near 1")
    whole.legend(fontsize=8)
    return figure
