"""Which examples of a batch pull the same way: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.gradient_similarity import GradientSimilarity


def table(similarity: "GradientSimilarity") -> str:
    """One line an example: its norm, its mean cosine to the others, the most alike and the most opposed one."""
    cosines, norms = _others(similarity), np.asarray(similarity.norms)
    columns = ("norm", "mean cosine", "most alike", "", "most opposed", "")
    lines = [" ".join([f"{'example':>7}", *(f"{column:>12}" for column in columns)])]
    for i, row in enumerate(cosines):
        known = np.flatnonzero(~np.isnan(row))
        cells = [f"{norms[i]:.4g}"] + ["-"] * 5
        if len(known):
            alike, opposed = known[np.argmax(row[known])], known[np.argmin(row[known])]
            cells[1:] = [
                f"{row[known].mean():.3f}",
                f"{alike}",
                f"{row[alike]:.3f}",
                f"{opposed}",
                f"{row[opposed]:.3f}",
            ]
        lines.append(" ".join([f"{i:>7}", *(f"{cell:>12}" for cell in cells)]))
    return "\n".join(lines)


def verdict(similarity: "GradientSimilarity", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence: how alike two examples are in the mean, how many pairs are opposed, and the extreme pairs."""
    cosines, norms = _others(similarity), np.asarray(similarity.norms)
    sick = np.flatnonzero(~np.isfinite(norms))
    if len(sick):
        return f"gradient is not finite for {len(sick)} of {len(norms)} examples, the first of them example {sick[0]}"
    first, second = np.triu_indices(len(cosines), 1)
    pairs = cosines[first, second]
    known = np.flatnonzero(~np.isnan(pairs))
    if not len(known):
        return f"only {int(np.sum(norms > 0))} of {len(norms)} examples has a gradient: nothing to compare"
    mean, opposed = pairs[known].mean(), np.mean(pairs[known] < thresholds.opposed_gradients)
    if opposed > thresholds.opposed_pairs:
        word = "conflicting"
    else:
        word = "alike" if mean > thresholds.alike_gradients else "diverse"
    alike, worst = known[np.argmax(pairs[known])], known[np.argmin(pairs[known])]
    return (
        f"mean cosine {mean:.3g} over {len(known)} pairs of gradients, {percent(opposed)} of them below "
        f"{thresholds.opposed_gradients:g}: {word}; the most alike are examples {first[alike]} and {second[alike]} "
        f"({pairs[alike]:.3g}), the most opposed {first[worst]} and {second[worst]} ({pairs[worst]:.3g})"
    )


def plot(
    similarity: "GradientSimilarity", path: Any = None, *, order: Any = None, title: str | None = None
) -> "Figure":
    """Draws the matrix of cosines.

    Args:
      similarity: one measurement.
      path: where to save the picture; the ending sets its kind.
      order: `(batch,)`, in which order the examples stand, such as `np.argsort(labels)`.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: stacked measurements, or an `order` that does not hold every example once.
    """
    from matplotlib.figure import Figure

    _others(similarity)
    cosines = np.asarray(similarity.cosines)
    order = np.arange(len(cosines)) if order is None else np.asarray(order)
    if sorted(order.tolist()) != list(range(len(cosines))):
        raise ValueError(
            f"order: expected each of the {len(cosines)} examples once; got shape {order.shape}. "
            "Pass for example np.argsort(labels)."
        )
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(cosines[order][:, order], vmin=-1, vmax=1, cmap="RdBu", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="cosine of two gradients", shrink=0.85)
    axes.set(xlabel="example, as ordered", ylabel="example, as ordered")
    return finished(figure, path, verdict(similarity) if title is None else title)


def _others(similarity: "GradientSimilarity") -> np.ndarray:
    """The cosines without those of an example to itself."""
    cosines = np.array(similarity.cosines, np.float64)
    single("similarity", cosines, ("batch", "batch"))
    np.fill_diagonal(cosines, np.nan)
    return cosines
