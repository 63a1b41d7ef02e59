"""The density of a spectrum: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, percent, text_table
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.curvature.density import SpectralDensity


def table(found: "SpectralDensity", thresholds: Thresholds = DEFAULTS) -> str:
    """One line a share or moment, with its standard error over the probes."""
    single("density", found.grid, ("points",))
    quantities = {
        **_shares(found, thresholds), "mean eigenvalue": found.moment(1), "mean square": found.moment(2),
    }  # fmt: skip
    rows = [[name, cell(float(value)), cell(float(error))] for name, (value, error) in quantities.items()]
    return text_table(("quantity", "value", "standard error"), rows)


def verdict(found: "SpectralDensity", thresholds: Thresholds = DEFAULTS) -> str:
    """Where the eigenvalues are, and what shares of them are negative, flat and positive."""
    single("density", found.grid, ("points",))
    nodes = np.asarray(found.nodes, np.float64)
    if not np.isfinite(nodes).all():
        return "spectrum is not finite: the Hessian holds NaN or infinity"
    shares = ", ".join(f"{percent(value)} {name}" for name, (value, _) in _shares(found, thresholds).items())
    return (
        f"{found.num_parameters} eigenvalues from {nodes.min():.4g} to {nodes.max():.4g}: {shares} "
        f"({nodes.shape[0]} probes, flat: within {_flat(found, thresholds):.2g}, broadened by "
        f"{float(found.deviation):.2g})"
    )


def plot(found: "SpectralDensity", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the density over the eigenvalue, down to a thousandth of an eigenvalue per broadening."""
    single("density", found.grid, ("points",))
    figure, axes = canvas()
    density = np.asarray(found.density, np.float64)
    axes.plot(np.asarray(found.grid), density)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="eigenvalue of the Hessian", ylabel="share of the eigenvalues per unit")
    if np.isfinite(density).all():
        floor = 1e-3 / (found.num_parameters * float(found.deviation))
        axes.set_yscale("log")
        axes.set_ylim(floor, 2 * density.max())
    return finished(figure, path, verdict(found) if title is None else title)


def _flat(found: "SpectralDensity", thresholds: Thresholds) -> float:
    """The tolerance; a subspace of k dimensions puts a node every 1/k of the range, and the flat ones on the next."""
    nodes = np.asarray(found.nodes, np.float64)
    k = nodes.shape[-1]
    resolved = 0 if k >= found.num_parameters else (nodes.max() - nodes.min()) / k
    return max(thresholds.flat_curvature * float(np.abs(nodes).max()), float(resolved))


def _shares(found: "SpectralDensity", thresholds: Thresholds) -> dict[str, tuple[Any, Any]]:
    flat = _flat(found, thresholds)
    nodes = np.asarray(found.nodes)
    masks = {"negative": nodes < -flat, "flat": np.abs(nodes) <= flat, "positive": nodes > flat}
    return {name: found.share_of(mask) for name, mask in masks.items()}
