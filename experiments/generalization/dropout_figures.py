"""The figures of the experiments `dropout` and `dropout_curves`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def table_figure(errors: Mapping[str, np.ndarray], published: Mapping[str, float], dataset: str) -> Figure:
    """Left: test errors of every arm and seed; right: means relative to the first arm, ours and the published ones."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(errors)
    for i, name in enumerate(names):
        colour = "tab:green" if name.startswith("dropout") else "tab:blue"
        left.plot(errors[name], np.full(len(errors[name]), i), ".", color="tab:gray")
        left.plot(errors[name].mean(), i, "D", color=colour, label="mean" if i == 0 else None)
        ratio = errors[name].mean() / errors[names[0]].mean()
        right.plot(ratio, i, "o", color=colour, label="here" if i == 0 else None)
        right.plot(published[name] / published[names[0]], i, "D", color="black", fillstyle="none",
                   label="published" if i == 0 else None)  # fmt: skip
    left.set(xlabel=f"test error on {dataset} (%)", yticks=range(len(names)), yticklabels=names)
    right.set(xlabel=f"test error relative to {names[0]}", yticks=range(len(names)), yticklabels=names)
    for axis in (left, right):
        axis.legend(fontsize=8)
        axis.invert_yaxis()
        axis.grid(alpha=0.3)
    return figure


def curves_figure(
    width: Mapping[float, np.ndarray],
    product: Mapping[float, np.ndarray],
    by_images: Mapping[int, np.ndarray],
    plain: np.ndarray,
    dropped: np.ndarray,
    dataset: str,
) -> Figure:
    """Error over the retain probability, error over the number of images, and activations of two auto-encoders."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for errors, colour, name in ((width, "tab:blue", "width n fixed"), (product, "tab:orange", "p n fixed")):
        _band(left, list(errors), np.stack(list(errors.values())), colour, name)
    left.set(xlabel="probability p to retain a hidden unit", ylabel=f"test error on {dataset} (%)", yscale="log")
    left.axvspan(0.4, 0.8, color="tab:gray", alpha=0.15, label="flat in the paper")
    errors = np.stack(list(by_images.values()), 1)
    for values, colour, name in zip(errors, ("tab:red", "tab:green"), ("no dropout", "dropout"), strict=True):
        _band(middle, list(by_images), values, colour, name)
    middle.set(xlabel="training images", ylabel="test error (%)", xscale="log", yscale="log")
    bins = np.linspace(0, float(np.quantile(plain, 0.995)) + 1e-6, 60)
    for values, colour, name in ((plain, "tab:red", "no dropout"), (dropped, "tab:green", "dropout 0.5")):
        label = f"{name}: mean {values.mean():.2f}"
        right.hist(values.ravel(), bins=bins.tolist(), density=True, histtype="step", color=colour, label=label)
    right.set(xlabel="activation of a unit of the auto-encoder's code", ylabel="density", yscale="log")
    for axis in (left, middle, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    return figure


def _band(axis: Any, places: Sequence[float], values: np.ndarray, colour: str, name: str) -> None:
    axis.plot(places, values.mean(1), ".-", color=colour, label=name)
    axis.fill_between(places, values.min(1), values.max(1), color=colour, alpha=0.2, linewidth=0)
