"""Pictures of the experiment `signal`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.gradients.signal_networks import Measured

LIMIT = 6  # decades at which the colour saturates


def depth_map(measured: Mapping[str, Measured], starts: Sequence[str]) -> Figure:
    """Two panels, a row for each pair of activation and start, a column for each layer."""
    pairs = [f"{name}, {start}" for name in measured for start in starts]
    forward, backward = (
        np.concatenate([getattr(found, field).mean(0) for found in measured.values()]) / np.log(10) / 2
        for field in ("log_square", "log_error")
    )
    figure = Figure(figsize=(13, 0.38 * len(pairs) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    image = None
    for axis, values, title in (
        (left, forward - forward[:, :1], "signal, relative to the first layer"),
        (right, backward - backward[:, -1:], "error signal, relative to the last layer"),
    ):
        depth = values.shape[1]
        image = axis.imshow(
            values,
            cmap="RdBu_r",
            vmin=-LIMIT,
            vmax=LIMIT,
            aspect="auto",
            extent=(0.5, depth + 0.5, len(pairs) - 0.5, -0.5),
        )
        axis.set(xlabel="layer", title=title)
        for row in range(len(starts), len(pairs), len(starts)):
            axis.axhline(row - 0.5, color="black", linewidth=0.8)
        end = -1 if axis is left else 0
        for row, value in enumerate(values[:, end]):
            place, side = (depth, "right") if axis is left else (1, "left")
            colour = "white" if abs(value) > 0.6 * LIMIT else "black"
            axis.text(place, row, f"{round(value, 1) + 0.0:.1f}", ha=side, va="center", fontsize=8, color=colour)
    left.set_yticks(range(len(pairs)), pairs)
    assert image is not None
    figure.colorbar(image, ax=[left, right], label="log10 of the amplitude", extend="both")
    return figure


def border(
    sigma_w: np.ndarray,
    sigma_b: np.ndarray,
    log_chi: np.ndarray,
    borders: np.ndarray,
    line: tuple[np.ndarray, np.ndarray],
    cosine: np.ndarray,
    predicted: np.ndarray,
) -> Figure:
    """Left: the plane of deviations; right: correlations over sigma_w.

    Args:
      sigma_w, sigma_b: the grid.
      log_chi: `(seeds, sigma_b, sigma_w)`, measured.
      borders: `(seeds, sigma_b)`, where it is 0.
      line: sigma_w and sigma_b of the theory's border.
      cosine: as `log_chi`, of two examples behind the last layer, measured.
      predicted: `(sigma_b, sigma_w)`, the same in theory.
    """
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    mean = log_chi.mean(0)
    limit = np.abs(mean).max()
    mesh = left.contourf(sigma_w, sigma_b, mean, levels=np.linspace(-limit, limit, 21), cmap="RdBu_r")
    left.plot(*line, "k-", label="mean-field theory")
    for draw in borders:
        left.plot(draw, sigma_b, "k.", markersize=6, alpha=0.6)
    left.plot([], [], "k.", label="measured")
    middle = sigma_b[0] + 0.5 * (sigma_b[-1] - sigma_b[0])
    left.text(sigma_w[0] + 0.05, sigma_b[-1] * 0.93, "ordered: vanishing", va="top")
    left.text(sigma_w[-1] - 0.05, middle, "chaotic: exploding", ha="right")
    left.set(
        xlabel="sigma_w", ylabel="sigma_b", xlim=(sigma_w[0], sigma_w[-1]), ylim=(sigma_b[0] - 0.01, sigma_b[-1] + 0.01)
    )
    left.legend(loc="lower right")
    figure.colorbar(mesh, ax=left, label="ln of the factor a layer")
    for i, b in enumerate(sigma_b):
        right.plot(sigma_w, predicted[i], "-", color=f"C{i}", label=f"sigma_b = {b:g}")
        right.plot(sigma_w, cosine[:, i].T, ".", color=f"C{i}", alpha=0.6)
    right.set(xlabel="sigma_w", ylabel="cosine of two examples")
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    return figure
