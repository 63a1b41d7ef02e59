"""Phases of random networks: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.signals.mean_field import MeanField


def phase(field: "MeanField", thresholds: Thresholds = DEFAULTS) -> str:
    """The phase by chi: `critical` within the threshold of 1."""
    single("field", field.chi)
    if np.isinf(field.length):
        return "unbounded"
    chi = float(field.chi)
    if abs(chi - 1) <= thresholds.critical:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def table(field: "MeanField") -> str:
    """One line a quantity."""
    single("field", field.chi)
    rows = {
        "q*": field.length,
        "c*": field.correlation,
        "chi_1": field.chi,
        "xi_q": field.length_scale,
        "xi_c": field.correlation_scale,
    }
    return "\n".join(f"{name:<6}{float(value):>12.6g}" for name, value in rows.items())


def verdict(field: "MeanField", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence that names the phase, what happens to signals and gradients, and over how many layers."""
    found = phase(field, thresholds)
    q, c, chi, scale = (float(v) for v in (field.length, field.correlation, field.chi, field.correlation_scale))
    lengths = "die out" if q == 0 else "grow without bound" if np.isinf(q) else f"run to q* = {q:.4g}"
    start = f"{found}: chi_1 = {chi:.4g}, lengths {lengths}"
    if found == "critical":
        return f"{start}; gradients pass through any depth"
    within = f" within some {scale:.3g} layers" if np.isfinite(scale) else ""
    if np.isnan(c) or q == 0 or np.isinf(q):
        examples = ""
    elif c == 1:
        examples = f"examples become alike{within}, and "
    else:
        examples = f"examples run to correlation {round(c, 6):.3g}{within}, and "
    return f"{start}; {examples}gradients {'vanish' if chi < 1 else 'explode'} by x{np.sqrt(chi):.3g} a layer"


def plot(field: "MeanField", path: Any = None, *, title: str | None = None, depth: int = 50) -> "Figure":
    """Draws over the depth by what factors gradients and the distances to q* and c* change.

    Args:
      field: a single `MeanField`.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.
      depth: how far the axis goes.

    Returns:
      The matplotlib figure, not shown.
    """
    from matplotlib.figure import Figure

    single("field", field.chi)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    layers = np.arange(depth + 1)
    for label, logarithm, style in (
        ("size of the gradient, going back", 0.5 * np.log(float(field.chi)), "-"),
        ("distance of q to q*", -1 / float(field.length_scale), "--"),
        ("distance of c to c*", -1 / float(field.correlation_scale), ":"),
    ):
        axes.plot(layers, np.exp(logarithm * layers), style, label=label)
    axes.set(yscale="log", xlabel="layers", ylabel="factor")
    axes.grid(alpha=0.3)
    axes.legend()
    return finished(figure, path, verdict(field) if title is None else title)
