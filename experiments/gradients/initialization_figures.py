"""Pictures of the experiment `initialization`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments.building_blocks.propagation import Profile

SHOWN = ("N(0, 1)", "slide S15", "He normal", "orthogonal", "N(0, 0.01^2)")
RESOLVED = 1e-15  # share of the largest singular value below which float64 leaves nothing of the others
LIMIT = 12  # decades at which the colour saturates


def heat_map(
    measured: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    activations: Sequence[str],
    paired: Mapping[str, str],
) -> Figure:
    """One cell a pair, `{initializer: ln variance (activations,)}` in decades."""
    names = list(measured)
    decades = np.stack([measured[name] for name in names]) / np.log(10)
    theory = np.stack([expected[name] for name in names]) / np.log(10)
    figure = Figure(figsize=(1.15 * len(activations) + 2.5, 0.55 * len(names) + 1.6), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(decades, cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    for (row, column), value in np.ndenumerate(decades):
        colour = "white" if abs(value) > 0.6 * LIMIT else "black"
        text = f"{value:.1f}\n({theory[row, column]:.1f})"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    for column, name in enumerate(activations):
        frame = (column - 0.5, names.index(paired[name]) - 0.5)
        axis.add_patch(Rectangle(frame, 1, 1, fill=False, edgecolor="black", linewidth=2))
    axis.set_xticks(range(len(activations)), activations)
    axis.set_yticks(range(len(names)), names)
    figure.colorbar(image, ax=axis, label="log10 variance", extend="both")
    return figure


def by_layer(
    measured: Mapping[str, np.ndarray],
    activations: Sequence[str],
    selu: Profile,
    products: Mapping[str, Mapping[int, np.ndarray]],
) -> Figure:
    """Three panels: ReLU by layer, SELU by layer, singular values by depth."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    relu = activations.index("relu")
    for i, name in enumerate(SHOWN):
        curves = measured[name][..., relu] / np.log(10)
        layers = np.arange(1, curves.shape[1] + 1)
        left.plot(layers, curves.T, color=f"C{i}", alpha=0.25, linewidth=0.7)
        left.plot(layers, curves.mean(0), color=f"C{i}", label=name)
    left.axhline(38.5, color="black", linestyle=":", linewidth=1)
    left.axhline(-37.9, color="black", linestyle=":", linewidth=1, label="range of float32")
    left.set(xlabel="layer", ylabel="log10 variance of pre-activations", title="ReLU")
    for values, name, colour in ((selu.mean, "mean", "C0"), (selu.variance, "variance", "C1")):
        layers = np.arange(1, values.shape[1] + 1)
        middle.plot(layers, values[..., 0].T, color=colour, alpha=0.25, linewidth=0.7)
        middle.plot(layers, values[..., 0].mean(0), color=colour, label=name)
    middle.axhspan(-0.1, 0.1, color="C0", alpha=0.1, linewidth=0)
    middle.axhspan(0.8, 1.2, color="C1", alpha=0.1, linewidth=0)
    middle.set(xlabel="layer", ylabel="of the activations", title="SELU, LeCun's normal start")
    for i, (name, by_depth) in enumerate(products.items()):
        depths = list(by_depth)
        low, median, high = (np.array([np.quantile(drawn, q) for drawn in by_depth.values()]) for q in (0.0, 0.5, 1.0))
        right.plot(depths, median, "o-", color=f"C{i}", label=f"{name}, median")
        right.fill_between(depths, np.maximum(low, RESOLVED * high), high, color=f"C{i}", alpha=0.2, linewidth=0)
    right.set(
        xscale="log", yscale="log", xlabel="matrices multiplied", ylabel="singular values", ylim=(1e-16, 1e2),
        title="products of random matrices",
    )  # fmt: skip
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
