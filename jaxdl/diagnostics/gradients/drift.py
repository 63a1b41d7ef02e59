"""How far the parameters of every layer are from where they started."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.diagnostics.reporting.layer_axis import layer_ticks
from jaxdl.diagnostics.reporting.reports import finished
from jaxdl.diagnostics.reporting.stacked import Stackable, single
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.tree import divisor, layer_of, leaf_paths, norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ParameterDrift(Stackable):
    """Where every layer's parameters are, seen from their start.

    Attributes:
      cosine: `(..., layers)`, between the parameters and those at the start; NaN where either is all zero.
      distance: `(..., layers)`, norm of the difference over the norm at the start; infinite for a layer that left a
        start of zero; NaN where the parameters are not finite.
      layers: names, the paths of the parameters less their last part.
    """

    cosine: jax.Array
    distance: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})

    def table(self) -> str:
        """One line a layer."""
        width = max(len("layer"), *map(len, self.layers))
        lines = [f"{'layer':<{width}} {'cosine':>10} {'distance':>10}"]
        for name, cosine, distance in zip(self.layers, *_columns(self), strict=True):
            lines.append(f"{name:<{width}} {cosine:>10.4f} {distance:>10.4g}")
        return "\n".join(lines)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence: how much of the start there still is, and the layers that stand still or left it behind."""
        cosine, distance = _columns(self)
        broken = np.flatnonzero(np.isnan(distance))
        if len(broken):
            share = f"{len(broken)} of {len(distance)} layers"
            return f"parameters are not finite in {share}, the first of them {self.layers[broken[0]]}"
        known = np.flatnonzero(np.isfinite(distance))
        if not len(known):
            return f"all {len(distance)} layers started at zero and left it"
        farthest, nearest = known[np.argmax(distance[known])], known[np.argmin(distance[known])]
        still = [self.layers[i] for i in known if distance[i] < thresholds.stands_still]
        return (
            f"relative distance from the start {np.median(distance[known]):.2g} in the median of {len(known)} layers, "
            f"most in {self.layers[farthest]} ({distance[farthest]:.2g}, cosine {cosine[farthest]:.2f}), least in "
            f"{self.layers[nearest]} ({distance[nearest]:.2g}, cosine {cosine[nearest]:.2f}): "
            + (f"{', '.join(still)} stood still" if still else "all layers moved")
        )

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws cosine and distance over the layers."""
        from matplotlib.figure import Figure

        cosine, distance = _columns(self)
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        positions = np.arange(len(self.layers))
        upper.plot(positions, distance, "o-")
        upper.set_ylabel("relative distance")
        lower.plot(positions, cosine, "o-")
        lower.set_ylabel("cosine to the start")
        layer_ticks(lower, self.layers)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
        return finished(figure, path, self.verdict() if title is None else title)


def parameter_drift(params: PyTree, start: PyTree, *, layers: Sequence[str] | None = None) -> ParameterDrift:
    """How much of the start survives training: for each layer `<w, w_0> / |w||w_0|` and `|w - w_0| / |w_0|`.

    Args:
      params: pytree of parameters, or a `TrainState`.
      start: the parameters at the start, of the same structure and shapes, or a `TrainState`.
      layers: names in the order wanted, such as `flow.layers` of a `GradientFlow` for the forward order; by default
        by name, numbers in it by their size.

    Returns:
      A `ParameterDrift` with arrays `(layers,)` float32.

    Raises:
      ValueError: other parameters or shapes than at the start, or `layers` that are none of the model's.

    Example:
      >>> float(parameter_drift({"dense": {"w": 3 * jnp.ones(4)}}, {"dense": {"w": jnp.ones(4)}}).distance[0])
      2.0
    """
    now, before = (leaf_paths(getattr(tree, "params", tree)) for tree in (params, start))
    shapes = [{path: jnp.shape(leaf) for path, leaf in leaves.items()} for leaves in (now, before)]
    if shapes[0] != shapes[1] or not now:
        differing = [path for path in shapes[0] | shapes[1] if shapes[0].get(path) != shapes[1].get(path)]
        raise ValueError(
            f"start: expected the same parameters as params, of the same shapes, at least one; got others at "
            f"{', '.join(differing) or '(no parameter)'}. Pass the params of the state that training began with."
        )
    groups: dict[str, list[str]] = {}
    for path in now:
        groups.setdefault(layer_of(path), []).append(path)
    names = sorted(groups, key=_by_number) if layers is None else list(layers)
    strange = [name for name in names if name not in groups]
    if strange:
        raise ValueError(
            f"layers: expected names among {', '.join(groups)}; got {', '.join(strange)}. Leave layers out for all."
        )

    def row(name: str) -> jax.Array:
        vectors = [_vector([leaves[path] for path in groups[name]]) for leaves in (now, before)]
        sizes = [norm(vector) for vector in vectors]
        units = [vector / divisor(size) for vector, size in zip(vectors, sizes, strict=True)]
        there = (sizes[0] != 0) & (sizes[1] != 0)
        cosine = jnp.where(there, jnp.sum(units[0] * units[1]), jnp.nan)
        moved = norm(vectors[0] - vectors[1])
        from_zero = jnp.where(moved == 0, 0, jnp.inf)
        distance = jnp.where(sizes[1] == 0, from_zero, moved / divisor(sizes[1]))
        distance = jnp.where(jnp.isfinite(sizes[0]) & jnp.isfinite(sizes[1]), distance, jnp.nan)
        return jnp.stack([cosine, distance]).astype(jnp.float32)

    return ParameterDrift(*jnp.stack([row(name) for name in names], 1), layers=tuple(names))


def _vector(leaves: list[Any]) -> jax.Array:
    flat = [jnp.ravel(jnp.asarray(leaf)) for leaf in leaves]
    return jnp.concatenate([leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in flat])


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """`Dense_10` after `Dense_2`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _columns(drift: ParameterDrift) -> tuple[np.ndarray, np.ndarray]:
    single("drift", drift.cosine, ("layers",))
    return np.asarray(drift.cosine, np.float64), np.asarray(drift.distance, np.float64)
