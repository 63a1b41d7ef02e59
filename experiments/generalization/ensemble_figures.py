"""The figure of the experiment `ensembles`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def ensembles_figure(
    seeds: Any,
    bagging: Any,
    by_size: np.ndarray,
    weights: Mapping[str, np.ndarray],
    averaged: Mapping[str, np.ndarray],
    dataset: str,
) -> Figure:
    """Left: members and what they reach together; middle: over the number of members; right: averaged weights."""
    figure = Figure(figsize=(14, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    places = np.arange(len(seeds.together))
    for found, offset, colour, name in ((seeds, -0.15, "tab:blue", "seeds"), (bagging, 0.15, "tab:orange", "bagging")):
        members = found.members.shape[1]
        left.plot(np.repeat(places + offset, members), found.members.ravel(), ".", color=colour, alpha=0.35)
        left.plot(
            places + offset, found.members.mean(1), "_", color=colour, markersize=14, label=f"{name}: mean member"
        )
        left.plot(places + offset, found.together, "D", color=colour, label=f"{name}: average")
        left.plot(places + offset, found.vote, "x", color="black", label="vote" if name == "seeds" else None)
    left.set(xlabel="ensemble", xticks=places, ylabel=f"test accuracy on {dataset} (%)")
    sizes = np.arange(1, len(by_size) + 1)
    middle.plot(sizes, by_size, ".-", color="tab:blue")
    middle.axhline(seeds.loss.mean(), color="tab:gray", linestyle="--", label="mean member")
    middle.axvline(seeds.members.shape[1], color="tab:gray", linestyle=":", label="an ensemble here")
    middle.set(xlabel="members whose probabilities are averaged", ylabel="test loss (nats)")
    names = list(weights)
    for i, name in enumerate(names):
        mean = averaged.get(name, seeds.members.mean(1)).mean()
        right.bar(i - 0.2, mean, 0.38, color="tab:gray", label="networks averaged" if i == 0 else None)
        right.bar(i + 0.2, weights[name].mean(), 0.38, color="tab:green", label="mean weights" if i == 0 else None)
        right.plot(np.full(len(weights[name]), i + 0.2), weights[name], ".", color="black", markersize=4)
    right.set(xticks=range(len(names)), ylabel="test accuracy (%)", title="averages of weights")
    right.set_xticklabels([name.replace(" ", "\n", 1) for name in names])
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure
