"""Per-example gradient norms: the result, its table, verdict and picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxdl.diagnostics.per_example.plan import Method
from jaxdl.diagnostics.reporting.reports import finished, percent
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerExampleNorms:
    """Gradient norms of every example; a pytree of arrays.

    Attributes:
      total: `(B,)`, norm over all parameters.
      losses: `(B,)`, the losses themselves, which come along.
      leaves: `{path: (B,)}`, norm of each parameter.
      methods: paths in forward order, and how each was had; see `Method`.
    """

    total: jax.Array
    losses: jax.Array
    leaves: Mapping[str, jax.Array]
    methods: tuple[tuple[str, Method], ...] = field(metadata={"static": True})

    def table(self) -> str:
        """One line a parameter: how its norms were had, their mean and largest, and why if it took `vmap(grad)`."""
        width = max(len("parameter"), *(len(path) for path in self.leaves))
        lines = [f"{'parameter':<{width}} {'method':>12} {'mean':>11} {'largest':>11}"]
        for path, method in self.methods:
            norms = np.asarray(self.leaves[path], np.float64)
            reason = f"  {method.reason}" if method.reason else ""
            lines.append(f"{path:<{width}} {method.name:>12} {norms.mean():>11.4g} {norms.max():>11.4g}{reason}")
        total = np.asarray(self.total, np.float64)
        lines.append(f"{'all':<{width}} {'':>12} {total.mean():>11.4g} {total.max():>11.4g}")
        return "\n".join(lines)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: how far the norms of the examples lie apart, and which examples outweigh the rest."""
        total = np.asarray(self.total, np.float64)
        sick = np.flatnonzero(~np.isfinite(total))
        if len(sick):
            share = f"{len(sick)} of {len(total)} examples"
            return f"gradient is not finite for {share}, the first of them example {sick[0]}"
        median, largest = float(np.median(total)), int(np.argmax(total))
        if median == 0:
            return f"no gradient at all from {np.sum(total == 0)} of {len(total)} examples"
        bound = thresholds.outlying_norm * median
        out = np.flatnonzero(total > bound)
        share = float(np.sum(np.square(total[out])) / np.sum(np.square(total)))
        spread = f"gradient norms of {len(total)} examples: median {median:.3g}, largest {total[largest]:.3g}"
        if not len(out):
            return f"{spread} (example {largest}): none beyond {thresholds.outlying_norm:g} times the median"
        return (
            f"{spread} (example {largest}): {len(out)} beyond {thresholds.outlying_norm:g} times the median, with "
            f"{percent(share)} of the sum of squares"
        )

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the norms of all examples, in order of size, and of each parameter's as a band of their quartiles."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        total = np.sort(np.asarray(self.total, np.float64))
        left.plot(np.arange(1, len(total) + 1), total, ".-")
        left.set_xlabel("examples, by size of gradient")
        left.set_ylabel("norm of the gradient")
        names = [path for path, _ in self.methods]
        values = [np.asarray(self.leaves[path], np.float64) for path in names]
        right.boxplot(values, orientation="horizontal", flierprops={"markersize": 3})
        right.set_yticks(range(1, len(names) + 1), names, fontsize=max(4, min(10, 200 // len(names))))
        right.invert_yaxis()
        right.set_xlabel("norm of an example's gradient")
        if all(np.all(np.isfinite(v)) for v in values) and np.any([np.any(v > 0) for v in values]):
            right.set_xscale("log")
        for axes in (left, right):
            axes.grid(alpha=0.3)
        return finished(figure, path, self.verdict() if title is None else title)
