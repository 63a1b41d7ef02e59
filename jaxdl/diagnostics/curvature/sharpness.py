"""The largest eigenvalue of the Hessian along training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.diagnostics.curvature.spectrum import lanczos_vectors, top_eigenvalues
from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, text_table
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import num_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sharpness(Stackable):
    """The largest eigenvalue of a Hessian by few Lanczos iterations; stacks under `scan` and `vmap`.

    Attributes:
      top: `(...)`, the largest Ritz value: a lower bound of the largest eigenvalue, beyond rounding.
      residual: `(...)`, |H u - top u|: an eigenvalue lies this near.
      num_lanczos: iterations.
    """

    top: jax.Array
    residual: jax.Array
    num_lanczos: int = field(default=0, metadata={"static": True})

    def table(self) -> str:
        """One line a measurement, as text."""
        tops, residuals = self._series()
        rows = [[str(i), cell(t), cell(r)] for i, (t, r) in enumerate(zip(tops, residuals, strict=True))]
        return text_table(("measurement", "top eigenvalue", "residual"), rows)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: the sharpness, or how it changed along training, and how well it is known."""
        tops, residuals = self._series()
        if not np.isfinite(tops).all():
            first = int(np.flatnonzero(~np.isfinite(tops))[0])
            return f"sharpness is not finite at measurement {first} of {len(tops)}, the first such"
        loose = int(np.sum(residuals > thresholds.unresolved * np.abs(tops)))
        sentence = f"sharpness {tops[0]:.4g}"
        if len(tops) > 1:
            sentence += f" at first, {tops[-1]:.4g} at last, {tops.max():.4g} at most, of {len(tops)} measurements"
        sentence += f" (at least: {self.num_lanczos} Lanczos iterations)"
        return sentence + (f"; {loose} of {len(tops)} not resolved, take more iterations" if loose else "")

    def plot(
        self, path: Any = None, *, steps: Any = None, learning_rate: float | None = None, title: str | None = None
    ) -> "Figure":
        """Draws it over training, with the bound 2/learning_rate that gradient descent is stable below.

        Args:
          path: where to save the picture; the ending sets its kind.
          steps: `(measurements,)` updates done, for the horizontal axis.
          learning_rate: of plain gradient descent, where the bound is to be drawn.
          title: above the picture; the verdict by default.
        """
        tops, residuals = self._series()
        figure, axes = canvas()
        times = np.arange(len(tops)) if steps is None else np.asarray(steps)
        axes.errorbar(times, tops, yerr=np.nan_to_num(residuals), fmt=".-", capsize=2, label="sharpness, bar: residual")
        if learning_rate is not None:
            axes.axhline(2 / learning_rate, color="black", linestyle="--", label="2 / learning rate")
        axes.set(xlabel="measurement" if steps is None else "updates done", ylabel="largest eigenvalue of the Hessian")
        axes.legend()
        return finished(figure, path, self.verdict() if title is None else title)

    def _series(self) -> tuple[np.ndarray, np.ndarray]:
        tops, residuals = (np.atleast_1d(np.asarray(a, np.float64)) for a in (self.top, self.residual))
        if tops.ndim > 1:
            raise ValueError(
                f"sharpness: expected one measurement, or a series (time,); got shape {tops.shape}. Pick one member, "
                "such as sharpness[0]."
            )
        return tops, residuals


def sharpness(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    num_lanczos: int = 10,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> Sharpness:
    """The largest eigenvalue of the Hessian of the mean loss, by `num_lanczos` products with it and one more.

    For the trend along training rather than the last digit: few iterations give a value that is too small, if
    anything. It depends on the parametrisation (Dinh et al. 2017): scaling a layer up and the next one down changes
    it, and not the function.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      num_lanczos: iterations, cut to the number of parameters.
      key: of the start, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `Sharpness` of scalars.

    Raises:
      ValueError: `num_lanczos` below 1; what `hessian_vector_product` raises.

    References:
      Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability", 2021.
    """
    checks.whole_number(num_lanczos=num_lanczos, minimum=1, remedy="10 is the default.")
    given = prepared(objective, params, data, model_state=model_state, key=key)
    found = top_eigenvalues(
        objective, given.params, given.batch, which="largest", num_lanczos=num_lanczos, batch_size=batch_size,
        model_state=given.model_state, key=given.key, train=train,
    )  # fmt: skip
    return Sharpness(
        found.largest[0], found.largest_residuals[0], lanczos_vectors(num_lanczos, num_entries(given.params))
    )


def measure_sharpness(moment: Any, *, num_lanczos: int = 10, train: bool = False) -> Sharpness:
    """`sharpness` on the batch of a step, as a `measure` of `make_train_step`; `measure_every=K` makes it rare.

    The start is the same random vector at every step, so that what changes is the Hessian. With another number of
    iterations: `measure=functools.partial(measure_sharpness, num_lanczos=20)`.

    Args:
      moment: what the step hands to a measure, with `objective, params, model_state, batch`.
      num_lanczos: iterations.
      train: whether the model runs in training mode; its random layers then draw as `jax.random.key(0)` has it.

    Returns:
      A `Sharpness`.

    Raises:
      ValueError: what `sharpness` refuses.
    """
    return sharpness(
        moment.objective, moment.params, moment.batch, model_state=moment.model_state, num_lanczos=num_lanczos,
        train=train,
    )  # fmt: skip
