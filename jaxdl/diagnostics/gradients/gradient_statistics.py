"""How the gradients of the examples of a batch lie about their mean: the measurement."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.gradients import statistics_report
from jaxdl.diagnostics.gradients.chunks import over_chunks
from jaxdl.diagnostics.gradients.directional import Losses, inner_products, polar, sum_of_gradients, widened
from jaxdl.diagnostics.per_example.chunks import chunk_size
from jaxdl.diagnostics.per_example.norms import (
    MEMORY_LIMIT,
    MicrobatchSize,
    per_example_plan,
    per_layer_gradient_norms,
)
from jaxdl.diagnostics.per_example.plan import make_plan
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.layers import Layer, find_structure
from jaxdl.tree import joint_norm, layer_of, leaf_norms, leaf_paths, norm, num_examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientStatistics(Stackable):
    """Gradients g_i of the examples of a batch and their mean g; layers in forward order. A pytree of arrays.

    Attributes:
      norms: `(..., batch)`, |g_i| over all parameters.
      cosines: `(..., batch)`, <g_i, g> / (|g_i| |g|); NaN for an example without gradient.
      mean_norm: `(..., layers)`, |g| of the layer's parameters, kernel and bias together.
      deviation: `(..., layers)`, root of the total variance: of the trace of the covariance of g_i, unbiased.
      layers: names, the paths of the parameters less their last part; those that no loss depends on come last.
    """

    norms: jax.Array
    cosines: jax.Array
    mean_norm: jax.Array
    deviation: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})

    @property
    def variance(self) -> jax.Array:
        """`(..., layers)`, the trace of the covariance of the g_i; of gradients below 1e-19 it underflows to 0."""
        return jnp.square(self.deviation)

    @property
    def signal_to_noise(self) -> jax.Array:
        """`(..., layers)`, |g| over the deviation of one example; 1 / sqrt(batch) is what pure noise has."""
        noiseless = self.deviation == 0
        ratio = self.mean_norm / jnp.where(noiseless, 1, self.deviation)
        return jnp.where(noiseless, jnp.where(self.mean_norm == 0, jnp.nan, jnp.inf), ratio)

    def table(self) -> str:
        """One line a layer, in forward order, as text."""
        return statistics_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: how much of the mean gradient is signal, and the layers where it is noise."""
        return statistics_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws norms and cosines of the examples, and signal and noise of the layers."""
        return statistics_report.plot(self, path, title=title)


def gradient_statistics(
    losses_fn: Losses, params: PyTree, batch: PyTree, *, microbatch_size: MicrobatchSize = None
) -> GradientStatistics:
    """Signal and noise of the gradient, layer by layer, and how every example's gradient lies to the mean.

    With the per-example norms |g_i| and the gradient of the mean loss g, the total variance of a layer is
    `B / (B - 1) (mean_i |g_i|^2 - |g|^2)`; the cosines take one forward-mode pass in the direction of g. No gradient
    of an example is formed where the norms need none. A variance below 1e-6 of the mean square is rounding.

    Args:
      losses_fn: `losses_fn(params, batch) -> (batch,)`, pure; see `per_example_gradient_norms`.
      params: pytree of parameters.
      batch: pytree of arrays with a leading example axis of two or more.
      microbatch_size: how many examples are taken at a time; None: all; "auto": as many as 1 GiB holds.

    Returns:
      A `GradientStatistics` with arrays `(batch,)` and `(layers,)`, float32 at least.

    Raises:
      ValueError: fewer than two examples, losses that are not one value per example, or a bad `microbatch_size`.

    Example:
      >>> found = gradient_statistics(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0], [3.0, 2.0]]))
      >>> found.mean_norm, found.variance
      (Array([4.2426405], dtype=float32), Array([2.], dtype=float32))
    """
    params, batch = jax.tree.map(jnp.asarray, (params, batch))
    several_examples(batch, argument="batch")
    size = part_size(losses_fn, params, batch, microbatch_size)
    return _measure(params, batch, losses_fn=losses_fn, size=size)


def part_size(
    losses_fn: Losses, params: PyTree, batch: PyTree, microbatch_size: MicrobatchSize, *, own_bytes: int = 0
) -> int | None:
    """How many examples to take at a time, where each needs `own_bytes` beside its norms.

    Raises:
      ValueError, TypeError: as `per_example_gradient_norms`.
    """
    if microbatch_size is None:
        return None
    count = num_examples(batch)
    plan = per_example_plan(losses_fn, params, batch)
    size = chunk_size(microbatch_size, count, plan.bytes + own_bytes, MEMORY_LIMIT)
    if size < count:
        make_plan(losses_fn, params, batch, alone=True)
    return size


def several_examples(data: PyTree, *, argument: str, minimum: int = 2) -> None:
    """Raises ValueError for fewer examples than a variance needs, or one of which each is left out in turn."""
    count = num_examples(data, argument=argument)
    if count < minimum:
        raise ValueError(f"{argument}: expected {minimum} or more examples to vary; got {count}. Pass more of them.")


@partial(jax.jit, static_argnames=("losses_fn", "size"))
def _measure(params: PyTree, batch: PyTree, *, losses_fn: Losses, size: int | None) -> GradientStatistics:
    count = num_examples(batch)
    norms, mean = norms_and_mean(losses_fn, params, batch, size=size)
    layers = forward_layers(losses_fn, params, batch)
    total = norm(jnp.stack(list(norms.values())), axis=0)
    length, direction = polar(mean)

    def along(carry: None, part: PyTree) -> tuple[None, jax.Array]:
        return carry, widened(inner_products(losses_fn, params, part, direction))

    products = over_chunks(along, None, batch, size=size)[1]
    cosines = jnp.where((total > 0) & (length > 0), products / jnp.where(total > 0, total, 1), jnp.nan)
    mean_norms = leaf_norms(mean)
    rows = [joint_norm(mean_norms, paths) for paths in layers.values()]
    deviations = [
        _deviation(norm(jnp.stack([norms[path] for path in paths]), axis=0), row, count)
        for paths, row in zip(layers.values(), rows, strict=True)
    ]
    return GradientStatistics(total, cosines, jnp.stack(rows), jnp.stack(deviations), tuple(layers))


def norms_and_mean(
    losses_fn: Losses, params: PyTree, batch: PyTree, *, size: int | None
) -> tuple[dict[str, jax.Array], PyTree]:
    """Norms of every example's gradient `{path: (batch,)}`, and the gradient of the mean loss, `size` at a time."""
    norms = per_layer_gradient_norms(losses_fn, params, batch, microbatch_size=size).leaves
    zeros = jax.tree.map(lambda p: jnp.zeros_like(widened(p)), params)

    def add(total: PyTree, part: PyTree) -> tuple[PyTree, tuple[()]]:
        return jax.tree.map(jnp.add, total, sum_of_gradients(losses_fn, params, part)), ()

    total, _ = over_chunks(add, zeros, batch, size=size)
    return dict(norms), jax.tree.map(lambda leaf: leaf / num_examples(batch), total)


def _deviation(norms: jax.Array, mean_norm: jax.Array, count: int) -> jax.Array:
    """Root of `B / (B - 1) mean_i (|g_i|^2 - |g|^2)`, the squares of numbers of ordinary size."""
    unit = jax.lax.stop_gradient(jnp.maximum(jnp.max(norms), jnp.finfo(norms.dtype).tiny))
    unit = jnp.where(jnp.isfinite(unit), unit, 1)
    # As products, since the difference of two squares that nearly agree keeps fewer digits.
    squares = (norms - mean_norm) / unit * ((norms + mean_norm) / unit)
    variance = count / (count - 1) * jnp.mean(squares)
    return unit * jnp.sqrt(jnp.maximum(variance, 0))


def forward_layers(losses_fn: Losses, params: PyTree, batch: PyTree) -> dict[str, tuple[str, ...]]:
    """`{layer: paths of its parameters}` in forward order; what no loss depends on comes last."""

    def objective(params: PyTree, batch: PyTree, **_: Any) -> tuple[jax.Array, None]:
        return losses_fn(params, batch), None

    found = find_structure(objective, params, batch, model_state={}, key=None, train=False).layers
    layers = {layer.name: _paths(layer) for layer in found}
    met = {path for paths in layers.values() for path in paths}
    for path in leaf_paths(params):
        if path not in met:
            layers[layer_of(path)] = (*layers.get(layer_of(path), ()), path)
    return layers


def _paths(layer: Layer) -> tuple[str, ...]:
    return layer.weights if layer.bias is None else (*layer.weights, layer.bias)
