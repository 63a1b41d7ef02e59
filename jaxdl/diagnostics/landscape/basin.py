"""How wide the basin around some parameters is: what random perturbations of a given size cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.diagnostics.curvature.sharpness import sharpness
from jaxdl.diagnostics.curvature.streaming import flat, problem
from jaxdl.diagnostics.landscape.directions import random_direction
from jaxdl.diagnostics.reporting.reports import canvas, cell, finished, text_table
from jaxdl.diagnostics.reporting.stacked import Stackable, single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import Where, is_kernel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Basin(Stackable):
    """Losses around a point, and the sharpness at it; a pytree of arrays.

    Attributes:
      loss: `(...)`, mean loss at the point.
      losses: `(..., radii, directions)`, mean loss at `params + r d` with filter-normalised directions d, the same
        for every radius.
      radii: `(..., radii)`, r, relative to the length of each filter.
      top: `(...)`, largest eigenvalue of the Hessian, as `sharpness` finds it; `residual` beside it.
      residual: `(...)`.
      num_lanczos: iterations that were done for `top`.
    """

    loss: jax.Array
    losses: jax.Array
    radii: jax.Array
    top: jax.Array
    residual: jax.Array
    num_lanczos: int = field(default=0, metadata={"static": True})

    def increases(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean increase of the loss `(..., radii)`, and half the width of its 95 % t-interval over directions."""
        from scipy import stats

        rises = np.asarray(self.losses, np.float64) - np.asarray(self.loss, np.float64)[..., None, None]
        num = rises.shape[-1]
        if num < 2:
            return rises.mean(-1), np.full(rises.shape[:-1], np.inf)
        return rises.mean(-1), stats.t.ppf(0.975, num - 1) * rises.std(-1, ddof=1) / np.sqrt(num)

    def table(self) -> str:
        """One line a radius: mean increase and its interval, as text."""
        single("basin", self.radii, ("radii",))
        rows = [
            [cell(float(r)), cell(mean), cell(mean - half), cell(mean + half)]
            for r, mean, half in zip(np.asarray(self.radii), *self.increases(), strict=True)
        ]
        return text_table(("radius", "mean increase", "95 % low", "95 % high"), rows)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: wide, narrow or neither at the largest radius, with the sharpness, and what that depends on."""
        single("basin", self.radii, ("radii",))
        means, halves = self.increases()
        place = int(np.argmax(np.asarray(self.radii)))
        radius, mean, half = float(self.radii[place]), float(means[place]), float(halves[place])
        if not np.isfinite(float(self.loss)):
            return "basin: the loss is not finite at the parameters themselves"
        if not np.isfinite(mean):
            name = "narrow, the loss is not finite at the rim"
        elif mean <= thresholds.wide_basin:
            name = "wide"
        else:
            name = "narrow" if mean >= thresholds.narrow_basin else "neither wide nor narrow"
        return (
            f"the loss rises from {float(self.loss):.4g} by {mean:.3g} [{mean - half:.3g}, {mean + half:.3g}] on "
            f"average when every filter moves by {radius:g} of its length: {name} (wide up to "
            f"{thresholds.wide_basin:g}, narrow from {thresholds.narrow_basin:g}); largest eigenvalue at least "
            f"{float(self.top):.4g}. Both depend on the parametrisation, the eigenvalue on the scale of the layers too"
        )

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the loss along every direction, the mean and its interval."""
        single("basin", self.radii, ("radii",))
        radii = np.asarray(self.radii)
        order = np.argsort(radii)
        means, halves = (column[order] for column in self.increases())
        losses, centre = np.asarray(self.losses, np.float64)[order], float(self.loss)
        across = np.append(0, radii[order])
        figure, axes = canvas()
        for i, row in enumerate(losses.T):
            axes.plot(across, np.append(centre, row), color="gray", alpha=0.4, label="directions" if i == 0 else None)
        axes.errorbar(
            radii[order], centre + means, yerr=np.nan_to_num(halves, posinf=0), fmt="o-", capsize=4, label="mean, 95 %"
        )
        axes.set(xlabel="radius, relative to the length of each filter", ylabel="mean loss")
        axes.legend()
        return finished(figure, path, self.verdict() if title is None else title)


def basin_width(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    radii: Sequence[float] = (0.05, 0.1, 0.2),
    num_directions: int = 20,
    num_lanczos: int = 20,
    where: Where = is_kernel,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> Basin:
    """How much the mean loss rises under random perturbations: `E_d[C(params + r d)] - C(params)`.

    The directions are filter-normalised (Li et al. 2018), so that scaling a layer up and the next one down, which
    leaves a ReLU network's function as it is, leaves this as it is, too. No measure of width is free of the
    parametrisation, though: the largest eigenvalue, returned beside it, can be made anything by such a scaling
    (Dinh et al. 2017), and of neither does it follow by itself that a wide basin generalises.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      radii: r > 0, relative to the length of each filter.
      num_directions: random directions, the same for all radii; two at least for an interval.
      num_lanczos: iterations for the eigenvalue, as in `sharpness`.
      where: which leaves are moved; kernels by default.
      key: of the directions, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `Basin`.

    Raises:
      ValueError: no radius, one that is not positive, a number below 1; what `hessian_vector_product` raises.

    References:
      Li et al., "Visualizing the loss landscape of neural nets", 2018; Keskar et al., "On large-batch training for
      deep learning", 2017; Dinh et al., "Sharp minima can generalize for deep nets", 2017.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    if not len(radii):
        raise ValueError("radii: expected one at least; got none. Pass for example (0.05, 0.1, 0.2).")
    for radius in radii:
        checks.number(radii=radius, minimum=0, exclusive=True, remedy="0.1 moves each filter by a tenth of its length.")
    checks.whole_number(num_directions=num_directions, minimum=1, remedy="20 is the default.")
    directions_key, sharpness_key = jax.random.split(given.key)
    options: dict[str, Any] = dict(train=train, batch_size=batch_size)
    loss, losses = _around(
        *given[:3], directions_key, jnp.asarray(radii, jnp.float32), objective=objective,
        where=tuple(where) if isinstance(where, list) else where, num_directions=num_directions, **options,
    )  # fmt: skip
    found = sharpness(
        objective, given.params, given.batch, num_lanczos=num_lanczos, model_state=given.model_state,
        key=sharpness_key, **options,
    )  # fmt: skip
    return Basin(loss, losses, jnp.asarray(radii, jnp.float32), found.top, found.residual, found.num_lanczos)


@partial(jax.jit, static_argnames=("objective", "where", "num_directions", "train", "batch_size"))
def _around(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    radii: jax.Array,
    *,
    objective: Any,
    where: Any,
    num_directions: int,
    train: bool,
    batch_size: int | None,
) -> tuple[jax.Array, jax.Array]:
    model_key, directions_key = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )

        def along(key: jax.Array) -> jax.Array:
            direction = flat(random_direction(key, params, where=where)).point.astype(at.point.dtype)
            return jax.lax.map(lambda r: at.loss(at.point + r * direction), radii.astype(at.point.dtype))

        losses = jax.lax.map(along, jax.random.split(directions_key, num_directions))
        return at.loss(at.point), losses.T
