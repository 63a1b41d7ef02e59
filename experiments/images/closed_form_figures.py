"""The figure of the experiment `closed_forms`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxdl.data import Examples


def closed_forms_figure(
    train: Examples,
    weights: np.ndarray,
    shape: Sequence[int],
    accuracies: Mapping[str, float],
    published: Mapping[str, float],
) -> Figure:
    """What each classifier has learned, and what it reaches."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    above, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(2, 2.6))))
    # Times the deviation of the pixel: pixels that hardly ever vary have huge weights, which matter little.
    templates = weights[:-1] * train.x.std(0)[:, None]
    limit = float(np.quantile(np.abs(templates), 0.995))
    for digit, (mean, template) in enumerate(above.subplots(2, 10).T):
        mean.imshow(train.x[train.y == digit].mean(0).reshape(shape), cmap="gray_r")
        mean.set_title(str(digit), fontsize=9)
        template.imshow(templates[:, digit].reshape(shape), cmap="RdBu_r", vmin=-limit, vmax=limit)
        for axis in (mean, template):
            axis.set(xticks=[], yticks=[])
    left, right = below.subplots(1, 2)
    sums = train.x.sum(1)
    edges = np.linspace(float(np.quantile(sums, 0.001)), float(np.quantile(sums, 0.999)), 50)
    for digit in range(10):
        left.hist(sums[train.y == digit], edges, histtype="step", density=True, color=f"C{digit}", label=str(digit))
    left.set(xlabel="sum of the pixels", ylabel="density")
    left.legend(fontsize=8, ncols=2)
    names = list(accuracies)
    right.barh(names, list(accuracies.values()), color="tab:gray", alpha=0.6)
    for name in names:
        right.annotate(f" {accuracies[name]:.2f}", (accuracies[name], name), va="center", fontsize=9)
        if name in published:
            right.plot(published[name], name, "kx", markersize=8)
    right.set(xlabel="test accuracy (%); crosses: published or computed before", xlim=(0, 112))
    right.invert_yaxis()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure
