"""Which training examples moved the loss of a test example: table, verdict and picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.reports import finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.gradients.influence import Influence


def table(influence: "Influence") -> str:
    """One line a rank: the proponent and the opponent of that rank, with their scores."""
    scores, proponents, opponents = _ranked(influence)
    columns = ("rank", "proponent", "score", "opponent", "score")
    lines = [" ".join(f"{column:>11}" for column in columns)]
    for rank, (up, down) in enumerate(zip(proponents, opponents, strict=True), 1):
        cells = (f"{rank}", f"{up}", f"{scores[up]:.4g}", f"{down}", f"{scores[down]:.4g}")
        lines.append(" ".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def verdict(influence: "Influence", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence: what the training examples did to the loss together, who did most, and how much of it few hold."""
    scores, proponents, opponents = _ranked(influence)
    sick = np.flatnonzero(~np.isfinite(scores))
    if len(sick):
        return f"influence is not finite for {len(sick)} of {len(scores)} examples, the first of them {sick[0]}"
    size = np.abs(scores).sum()
    if size == 0:
        return f"none of the {len(scores)} training examples moves the loss: no gradient, or none in common"
    helped, hurt = scores[scores > 0].sum(), -scores[scores < 0].sum()
    strongest = np.union1d(proponents, opponents)
    share = np.abs(scores[strongest]).sum() / size
    few = share > thresholds.concentrated_influence and len(strongest) < thresholds.concentrated_influence * len(scores)
    first, last = proponents[0], opponents[0]
    return (
        f"{percent(np.mean(scores > 0))} of {len(scores)} training examples lower the loss, by {helped:.3g} in all, "
        f"the others raise it by {hurt:.3g}; the strongest are example {first} ({scores[first]:+.3g}) and example "
        f"{last} ({scores[last]:+.3g}); the first {len(proponents)} of either side hold {percent(share)}: "
        f"{'few decide' if few else 'spread over many'}"
    )


def plot(influence: "Influence", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the strongest proponents and opponents as bars with their numbers, beside all scores in order.

    Args:
      influence: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.

    Raises:
      ValueError: stacked measurements.
    """
    from matplotlib.figure import Figure

    scores, proponents, opponents = _ranked(influence)
    listed = [*proponents, *(i for i in opponents[::-1] if i not in set(proponents))]
    figure = Figure(figsize=(10, 0.6 * 4 + 0.18 * len(listed)), layout="constrained")
    left, right = figure.subplots(1, 2)
    positions = np.arange(len(listed))
    colours = ["tab:blue" if scores[i] > 0 else "tab:red" for i in listed]
    left.barh(positions, scores[listed], color=colours)
    left.set_yticks(positions, [str(i) for i in listed], fontsize=7)
    left.invert_yaxis()
    left.set(xlabel="influence", ylabel="training example")
    right.plot(np.sort(scores)[::-1], color="tab:blue")
    right.axhline(0, color="gray", linewidth=0.8)
    right.set(xlabel="rank among all training examples", ylabel="influence")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return finished(figure, path, verdict(influence) if title is None else title)


def _ranked(influence: "Influence") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.asarray(influence.scores, np.float64)
    single("influence", scores, ("train",))
    return scores, np.asarray(influence.proponents), np.asarray(influence.opponents)
