"""What share of the gradient flows through skip connections: the table, the verdict and the picture, on the host."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_ticks
from jaxdl.diagnostics.reporting.reports import finished, percent
from jaxdl.diagnostics.reporting.stacked import single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.diagnostics.signals.skips import SkipShare


def table(skips: "SkipShare") -> str:
    """One line a block, in forward order, as text."""
    width = max(len("block"), *map(len, skips.blocks))
    lines = [f"{'block':<{width}} {'identity':>12} {'branch':>12} {'share of skip':>14}"]
    for name, identity, branch, share in zip(skips.blocks, *_columns(skips), strict=True):
        lines.append(f"{name:<{width}} {identity:>12.4g} {branch:>12.4g} {share:>14.3g}")
    return "\n".join(lines)


def verdict(skips: "SkipShare", thresholds: Thresholds = DEFAULTS) -> str:
    """A sentence with its numbers: healthy, or which blocks have an idle branch or drown their skip."""
    identity, branch, share = _columns(skips)
    blocks, count = skips.blocks, f"{len(skips.blocks)} residual block" + "s" * (len(skips.blocks) > 1)
    broken = [name for name, total in zip(blocks, identity + branch, strict=True) if not np.isfinite(total)]
    if broken:
        return f"gradient is not finite at {len(broken)} of {count}, the first of them {broken[0]}"
    silent = [name for name, total in zip(blocks, identity + branch, strict=True) if total == 0]
    if silent:
        return f"no gradient at all arrives at {len(silent)} of {count}, the last of them {silent[-1]}"
    drowned = [name for name, value in zip(blocks, share, strict=True) if value < thresholds.drowned_skip]
    idle = [name for name, value in zip(blocks, share, strict=True) if 1 - value < thresholds.idle_branch]
    sick = [f"the branch drowns the skip at {', '.join(drowned)}"] if drowned else []
    sick += [f"the branch is idle at {', '.join(idle)}"] if idle else []
    least, most = int(np.argmin(share)), int(np.argmax(share))
    return (
        f"{percent(share.mean(), 2)} of the gradient flows through the skips of {count}, from "
        f"{percent(share[least], 2)} at {blocks[least]} to {percent(share[most], 2)} at {blocks[most]}: "
        f"{' and '.join(sick) or 'healthy'}"
    )


def plot(skips: "SkipShare", path: Any = None, *, title: str | None = None) -> "Figure":
    """Draws the two shares of every block as one bar; no bar where nothing finite arrives.

    Args:
      skips: one measurement.
      path: where to save the picture; the ending sets its kind.
      title: above the picture; the verdict by default.

    Returns:
      The matplotlib figure, not shown.
    """
    from matplotlib.figure import Figure

    share = _columns(skips)[2]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(share))
    through, branch = np.nan_to_num(share), np.nan_to_num(1 - share)
    axes.bar(positions, through, label="through the skip")
    axes.bar(positions, branch, bottom=through, label="through the branch")
    axes.set_ylim(0, 1)
    layer_ticks(axes, skips.blocks)
    axes.set_xlabel("residual block, from input to output")
    axes.set_ylabel("share of the gradient norms")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return finished(figure, path, verdict(skips) if title is None else title)


def _columns(skips: "SkipShare") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    single("skips", skips.identity, ("blocks",))
    identity, branch = np.asarray(skips.identity, np.float64), np.asarray(skips.branch, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return identity, branch, identity / (identity + branch)
