"""The ends of a spectrum: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, text_table
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.curvature.spectrum import Eigenvalues


def table(found: "Eigenvalues") -> str:
    """One line an eigenvalue: which, value, residual."""
    single("eigenvalues", found.largest, ("eigenvalues",))
    rows = [
        [f"{end} {i + 1}", cell(float(value)), cell(float(residual))]
        for end, values, residuals in _ends(found)
        for i, (value, residual) in enumerate(zip(values, residuals, strict=True))
    ]
    return text_table(("eigenvalue", "value", "residual"), rows)


def verdict(found: "Eigenvalues", thresholds: Thresholds = DEFAULTS) -> str:
    """What the ends say of the curvature, and which of them are not resolved."""
    single("eigenvalues", found.largest, ("eigenvalues",))
    values, residuals = (
        np.concatenate(parts) for parts in ([e[1] for e in _ends(found)], [e[2] for e in _ends(found)])
    )
    if not np.isfinite(values).all():
        return "curvature is not finite: the Hessian holds NaN or infinity"
    top, bottom = (np.asarray(end, np.float64) for end in (found.largest, found.smallest))
    scale = np.abs(values).max()
    flat = thresholds.flat_curvature * scale
    parts = [f"largest eigenvalue {top[0]:.4g}"] * bool(top.size) + [f"smallest {bottom[0]:.4g}"] * bool(bottom.size)
    sentence = f"{', '.join(parts)} of {found.num_parameters}"
    if scale == 0:
        return f"{sentence}: no curvature at all in the directions looked at"
    if top.size and bottom.size:
        sentence += f": {_sign(top[0], bottom[0], flat)}"
    if top.size and top[0] > flat:
        sentence += f"; gradient descent does not overshoot below a learning rate of 2/{top[0]:.3g} = {2 / top[0]:.3g}"
    loose = np.flatnonzero(residuals > thresholds.unresolved * np.abs(values))
    loose = loose[residuals[loose] > flat]
    if len(loose):
        sentence += (
            f"; {len(loose)} of {len(values)} not resolved, residual up to {residuals[loose].max():.2g}: "
            f"raise num_lanczos above {found.num_lanczos}"
        )
    return sentence


def plot(found: "Eigenvalues", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws each eigenvalue with its residual as a bar; see `Eigenvalues.plot`."""
    single("eigenvalues", found.largest, ("eigenvalues",))
    figure, axes = canvas()
    labels = []
    for end, values, residuals in _ends(found):
        places = len(labels) + np.arange(len(values))
        axes.errorbar(places, values, yerr=np.nan_to_num(residuals), fmt="o", capsize=4, label=end)
        labels += [f"{end} {i + 1}" for i in range(len(values))]
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_ylabel("eigenvalue of the Hessian, bar: residual")
    return finished(figure, path, verdict(found) if title is None else title)


def _ends(found: "Eigenvalues") -> list[tuple[str, np.ndarray, np.ndarray]]:
    ends = (
        ("largest", found.largest, found.largest_residuals),
        ("smallest", found.smallest, found.smallest_residuals),
    )
    return [(end, np.asarray(v, np.float64), np.asarray(r, np.float64)) for end, v, r in ends if v.size]


def _sign(top: float, bottom: float, flat: float) -> str:
    if bottom < -flat and top > flat:
        return "indefinite, curved both ways"
    if bottom < -flat:
        return "curved downwards, or flat, everywhere"
    return "curved upwards everywhere" if bottom > flat else "curved upwards or flat everywhere"
