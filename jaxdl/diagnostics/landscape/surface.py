"""The loss along one or two directions in the space of the parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.curvature.streaming import flat, problem
from jaxdl.diagnostics.landscape import surface_report
from jaxdl.diagnostics.landscape.directions import coordinates, flat_path, principal_directions, random_direction
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.preparation import prepared
from jaxdl.tree import Where, is_kernel, leaf_paths, norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
MARGIN = 0.2  # of a trajectory's extent, on either side of it


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Landscape(Stackable):
    """Mean losses on a grid of parameters `params + x d_1 + y d_2`; a pytree of arrays.

    Attributes:
      values: `(..., points)` along one direction, `(..., points, points)` along two, x first.
      xs, ys: `(..., points)`, the coordinates; `ys` is None along one direction.
      centre: `(...)`, the loss at the parameters themselves.
      path: `(..., steps, directions)`, the projected trajectory, or None.
      path_losses: `(..., steps)`, mean losses AT the trajectory, off the plane as it is; or None.
      captured: `(...)`, share of the trajectory's squared displacements that lies within the directions; or None.
      cosine: `(...)`, of the angle between the two directions; 0 for one.
    """

    values: jax.Array
    xs: jax.Array
    ys: jax.Array | None
    centre: jax.Array
    path: jax.Array | None
    path_losses: jax.Array | None
    captured: jax.Array | None
    cosine: jax.Array

    def table(self) -> str:
        """Losses at up to eleven coordinates of each direction, as text."""
        return surface_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: the range of the loss, its lowest point, and how much of the surface is curved upwards."""
        return surface_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws the curve or the contours, and the trajectory on them."""
        return surface_report.plot(self, path, title=title)


def loss_landscape(
    objective: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    *,
    directions: Literal[1, 2, "trajectory"] | Sequence[PyTree] = 1,
    filter_normalization: bool = True,
    where: Where = is_kernel,
    span: float | None = None,
    num_points: int = 25,
    trajectory: PyTree | None = None,
    points_at_once: int = 8,
    batch_size: int | None = None,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> Landscape:
    """The mean loss on a line or a plane through the parameters: `L(x, y) = C(params + x d_1 + y d_2)`.

    A picture of two dimensions out of many: what is convex here may be a saddle elsewhere. Curvature in it depends on
    the parametrisation, which filter normalisation mends for scaled layers only.

    Args:
      objective, params, data, batch_size, model_state, train: as in `hessian_vector_product`.
      directions: 1 or 2 random ones; or a list of one or two pytrees like `params`, taken as they are; or
        "trajectory": the two principal directions of the trajectory's displacements from `params`, of length 1.
      filter_normalization: whether random directions are as long as the parameters, filter by filter; else of length
        1 as a whole. With it, x = 1 changes every filter by its own length.
      where: which leaves random directions move; kernels by default, not biases and scales, as in Li et al.
      span: the grid covers [-span, span] in each direction. None: 1, or with a trajectory what covers it and the
        parameters, and a fifth of that on either side.
      num_points: in each direction; an odd number includes the parameters themselves.
      trajectory: the parameters at several steps, stacked: a pytree like `params` with one leading axis.
      points_at_once: points of the grid that are evaluated side by side; memory grows with it. The others follow in
        the same compiled program.
      key: of random directions, and of random layers where `train`; `jax.random.key(0)` by default.

    Returns:
      `Landscape`.

    Raises:
      ValueError: directions that are not one or two, or unlike the parameters; no trajectory for "trajectory"; an
        argument out of range; what `hessian_vector_product` raises.

    Example:
      >>> found = loss_landscape(
      ...     lambda w, x: x @ w**2, jnp.zeros(2), jnp.ones((1, 2)), directions=[jnp.array([1.0, 0.0])], num_points=5
      ... )
      >>> found.values
      Array([1.  , 0.25, 0.  , 0.25, 1.  ], dtype=float32)

    References:
      Li et al., "Visualizing the loss landscape of neural nets", 2018, section 4 and 7.2.
    """
    given = prepared(objective, params, data, model_state=model_state, key=key)
    checks.whole_number(num_points=num_points, minimum=2, remedy="25 is the default.")
    checks.whole_number(points_at_once=points_at_once, minimum=1, remedy="8 is the default.")
    if span is not None:
        checks.number(span=span, minimum=0, exclusive=True, remedy="It is how far the grid reaches either way.")
    if isinstance(directions, str) and directions == "trajectory" and trajectory is None:
        raise ValueError(
            "trajectory: expected one for directions='trajectory'; got None. Pass the stacked parameters, or "
            "directions=2."
        )
    if isinstance(directions, (int, str)):
        if isinstance(directions, bool) or directions not in (1, 2, "trajectory"):
            raise ValueError(
                f"directions: expected 1, 2, 'trajectory' or a list of one or two pytrees; got {directions!r}."
            )
        rows, kind = None, directions
    else:
        rows, kind = _given(list(directions), given.params), len(directions)
    path = None if trajectory is None else flat_path(trajectory, given.params)
    return _landscape(
        *given, rows, path, None if span is None else jnp.asarray(span, jnp.float32), objective=objective, kind=kind,
        filter_normalization=filter_normalization, where=tuple(where) if isinstance(where, list) else where,
        num_points=num_points, points_at_once=points_at_once, train=train, batch_size=batch_size,
    )  # fmt: skip


def _given(directions: list[PyTree], params: PyTree) -> jax.Array:
    """Directions as rows `(d, n)`."""
    if len(directions) not in (1, 2):
        raise ValueError(f"directions: expected a list of one or two pytrees; got {len(directions)}. Drop the others.")
    directions = [jax.tree.map(jnp.asarray, direction) for direction in directions]
    expected = {path: leaf.shape for path, leaf in leaf_paths(params).items()}
    for direction in directions:
        found = {path: leaf.shape for path, leaf in leaf_paths(direction).items()}
        if found != expected:
            raise ValueError(
                f"directions: expected pytrees like params, with shapes {expected}; got {found}. Make one for example "
                "by jax.tree.map(jnp.subtract, other_params, params)."
            )
    return jnp.stack([flat(direction, argument="directions").point for direction in directions])


@partial(
    jax.jit,
    static_argnames=(
        "objective", "kind", "filter_normalization", "where", "num_points", "points_at_once", "train", "batch_size",
    ),
)  # fmt: skip
def _landscape(
    params: PyTree,
    data: PyTree,
    model_state: PyTree,
    key: jax.Array,
    rows: jax.Array | None,
    path: jax.Array | None,
    span: jax.Array | None,
    *,
    objective: Any,
    kind: Any,
    filter_normalization: bool,
    where: Any,
    num_points: int,
    points_at_once: int,
    train: bool,
    batch_size: int | None,
) -> Landscape:
    model_key, *keys = jax.random.split(key, 3)
    with jax.default_matmul_precision("highest"):
        at = problem(
            objective, params, data, model_state=model_state, key=model_key, train=train, batch_size=batch_size
        )
        moves = None if path is None else path.astype(at.point.dtype) - at.point[None]
        if rows is None and moves is not None and kind == "trajectory":
            rows = principal_directions(moves, 2)
        elif rows is None:
            draw = partial(random_direction, params=params, filter_normalization=filter_normalization, where=where)
            rows = jnp.stack([flat(draw(key)).point for key in keys[:kind]])
        rows = rows.astype(at.point.dtype)
        projected, captured = (None, None) if moves is None else coordinates(moves, rows)
        axes = [_axis(None if projected is None else projected[:, i], span, num_points) for i in range(len(rows))]
        mesh = jnp.stack([axis.ravel() for axis in jnp.meshgrid(*axes, indexing="ij")], 1).astype(at.point.dtype)
        values = jax.lax.map(
            lambda point: at.loss(at.point + jnp.sum(point[:, None] * rows, 0)), mesh, batch_size=points_at_once
        )
        losses = None if path is None else jax.lax.map(at.loss, path.astype(at.point.dtype), batch_size=points_at_once)
        lengths = norm(rows, axis=1)
        product = jnp.vdot(rows[0], rows[-1]) / jnp.where(lengths[0] * lengths[-1] > 0, lengths[0] * lengths[-1], 1)
        return Landscape(
            values=values.reshape([num_points] * len(rows)),
            xs=axes[0],
            ys=axes[1] if len(rows) == 2 else None,
            centre=at.loss(at.point),
            path=projected,
            path_losses=losses,
            captured=captured,
            cosine=product if len(rows) == 2 else jnp.zeros_like(product),
        )


def _axis(visited: jax.Array | None, span: jax.Array | None, num_points: int) -> jax.Array:
    """Coordinates of the grid in one direction."""
    if span is not None or visited is None:
        reach = jnp.ones(()) if span is None else span
        return jnp.linspace(-reach, reach, num_points)
    low, high = jnp.minimum(jnp.min(visited), 0), jnp.maximum(jnp.max(visited), 0)
    margin = jnp.where(high > low, MARGIN * (high - low), 1)
    return jnp.linspace(low - margin, high + margin, num_points)
