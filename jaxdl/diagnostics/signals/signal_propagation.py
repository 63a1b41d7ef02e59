"""How a signal fares on its way forward, layer by layer: the measurement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import signal_report
from jaxdl.diagnostics.signals.readings import Moments, Plan, Signals, make_plan, read_signals, read_slopes
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.tree import norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any
SATURATED_BELOW = 0.05


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SignalPropagation(Stackable):
    """Statistics of signals in forward order of the layers that multiply; a pytree, so it stacks under scan and vmap.

    The pre-activation z of a layer is its product with the bias added; the activation a is what the first bend makes
    of it, behind a normalization and a sum with other signals if there are any, and z itself where there is none.
    Layers inside a scan are pooled over its turns, layers that are applied several times over their places. Layers that
    share one product, as gates whose kernels are concatenated, can't be told apart: their rows are NaN. What is no
    function of one entry, such as maxout or the softmax of attention, is no activation.

    Attributes:
      mean, variance: `(..., layers)`, of the entries of z over units, positions and examples.
      length: `(..., layers)`, q, the mean square of the entries of z.
      correlation: `(..., layers)`, c, the mean cosine between the z of two different examples; NaN for one example.
      activation_mean, activation_variance: `(..., layers)`, of the entries of a.
      error_norm: `(..., layers)`, root mean square over the examples of the norm of dC/dz, C the example's loss.
      error_variance: `(..., layers)`, of the entries of dC/dz.
      saturation: `(..., layers)`, share of the entries at which the activation's derivative is smaller in size than
        the bound; NaN for a layer without activation, such as the last.
      illness: `(..., layers, 3)` int8, of what comes in, of z and of a: 0 finite, 1 with infinities, 2 with NaN.
      loss: `(...)`, the mean loss.
      length_by_turn: for each layer inside scans, q with their lengths last.
      layers: names, the paths of the parameters less their last part.
      activations: names of the functions that follow; None where a layer has none.
      meeting: for each layer the row of the first one that shares its activation, most often its own.
    """

    mean: jax.Array
    variance: jax.Array
    length: jax.Array
    correlation: jax.Array
    activation_mean: jax.Array
    activation_variance: jax.Array
    error_norm: jax.Array
    error_variance: jax.Array
    saturation: jax.Array
    illness: jax.Array
    loss: jax.Array
    length_by_turn: dict[str, jax.Array]
    layers: tuple[str, ...] = field(metadata={"static": True})
    activations: tuple[str | None, ...] = field(metadata={"static": True})
    meeting: tuple[int, ...] = field(metadata={"static": True})

    def table(self) -> str:
        """One line a layer, in forward order, as text."""
        return signal_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: healthy, vanishing, exploding, saturated or not finite, and where."""
        return signal_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws lengths, correlations, error signals and saturation over the layers; see `signal_report.plot`."""
        return signal_report.plot(self, path, title=title)


def signal_propagation(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = True,
    saturated_below: float = SATURATED_BELOW,
) -> SignalPropagation:
    """Measures how large, how alike and how saturated the signals of a batch are in every layer.

    For pre-activations z of N entries per example: q = mean z^2 and c = mean cosine of two examples' z (Poole et al.
    2016), which `mean_field` predicts for random networks. The program is traced, so that any model will do, unedited:
    Linen, NNX or plain functions. Two forward and backward passes.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      model_state: the model's other collections, such as running statistics.
      key: for random layers such as dropout; `jax.random.key(0)` by default.
      train: whether the model runs in training mode.
      saturated_below: entries at which the activation's derivative is smaller in size count as saturated: for tanh
        those with |z| > 2.18, for the logistic function |z| > 2.88, for ReLU z <= 0.

    Returns:
      A `SignalPropagation` with arrays `(layers,)`, float32 at least.

    Raises:
      ValueError: losses that are not one value per example, parameters that no loss depends on, or no layer that
        multiplies.
      TypeError: `objective` of the wrong kind.

    Example:
      >>> losses = lambda p, x: jnp.square(jnp.tanh(x @ p["a"]["w"]) @ p["b"]["w"]).sum(-1)
      >>> weights = {"a": {"w": jnp.eye(2)}, "b": {"w": jnp.eye(2)}}
      >>> signal_propagation(losses, weights, jnp.ones((3, 2))).length.shape
      (2,)

    References:
      Poole et al., "Exponential expressivity in deep neural networks through transient chaos", 2016; Glorot and
      Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    checks.number(saturated_below=saturated_below, minimum=0, remedy="It bounds the size of a derivative.")
    subject = prepared(objective, params, batch, model_state=model_state, key=key)
    return _measure(*subject, jnp.asarray(saturated_below), objective=objective, train=train)


def measure_signal_propagation(moment: Any) -> SignalPropagation:
    """`signal_propagation` as a `measure` of `make_train_step`.

    Args:
      moment: what the step hands to a measure, with `objective, params, model_state, batch, key`.

    Returns:
      A `SignalPropagation`, arrays `(layers,)`.

    Raises:
      ValueError: a model without a layer that multiplies by a matrix or a filter.
    """
    context: dict[str, Any] = dict(model_state=moment.model_state, key=moment.key, train=True)
    plan = make_plan(moment.objective, moment.params, moment.batch, **context)
    return _assembled(plan, moment.params, moment.batch, jnp.asarray(SATURATED_BELOW))


@partial(jax.jit, static_argnames=("objective", "train"))
def _measure(
    params: PyTree,
    batch: PyTree,
    model_state: PyTree,
    key: jax.Array,
    saturated_below: jax.Array,
    *,
    objective: Callable[..., Any],
    train: bool,
) -> SignalPropagation:
    plan = make_plan(as_objective(objective), params, batch, model_state=model_state, key=key, train=train)
    return _assembled(plan, params, batch, saturated_below)


def _assembled(plan: Plan, params: PyTree, batch: PyTree, bound: jax.Array) -> SignalPropagation:
    if not plan.names:
        raise ValueError(
            "objective: expected a layer that multiplies by a matrix or a filter; got a program without one. "
            "Measure it by gradient_flow, which also looks at scales and biases."
        )
    loss, read = read_signals(plan, params, batch)
    slopes = read_slopes(plan, params, batch)
    outputs = [_pooled([signals.output for signals in layer]) for layer in read]
    passed = [_pooled([signals.passed for signals in layer]) for layer in read]
    errors = [_errors(layer, plan.num_examples) for layer in read]

    def row(values: list[jax.Array]) -> jax.Array:
        return jnp.stack(jnp.broadcast_arrays(*values))

    turns = {
        name: layer[0].output.square
        for name, sites, layer in zip(plan.names, plan.sites, read, strict=True)
        if sites and sites[0].scans
    }
    return SignalPropagation(
        mean=row([layer.mean for layer in outputs]),
        variance=row([layer.variance for layer in outputs]),
        length=row([layer.square for layer in outputs]),
        correlation=row([layer.alike for layer in outputs]),
        activation_mean=row([layer.mean for layer in passed]),
        activation_variance=row([layer.variance for layer in passed]),
        error_norm=row([error for error, _ in errors]),
        error_variance=row([variance for _, variance in errors]),
        saturation=row([_saturation(layer, bound) for layer in slopes]),
        illness=jnp.stack([_illnesses(layer) for layer in read]),
        loss=loss,
        length_by_turn=turns,
        layers=plan.names,
        activations=plan.activations,
        meeting=plan.meeting,
    )


def _weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    total = weights.sum()
    mean = jnp.where(weights > 0, weights * values, 0).sum() / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, jnp.nan)


def _pooled(parts: list[Moments]) -> Moments:
    """Moments over all turns and places together; an array is as heavy as any other that the layer makes."""
    if not parts:
        missing = jnp.full((), jnp.nan, jnp.float32)
        return Moments(*(missing,) * 6)
    joined = Moments(*(jnp.concatenate([leaf.ravel() for leaf in leaves]) for leaves in zip(*parts, strict=True)))
    mean = _weighted_mean(joined.mean, joined.taken)
    variance = _weighted_mean(joined.variance + jnp.square(joined.mean - mean), joined.taken)
    alike = _weighted_mean(joined.alike, jnp.where(jnp.isnan(joined.alike), 0, joined.taken))
    square = _weighted_mean(joined.square, joined.taken)
    return Moments(mean, variance, square, alike, joined.illness.max(), joined.taken.max())


def _errors(layer: list[Signals], num_examples: int) -> tuple[jax.Array, jax.Array]:
    """Root mean square norm of the examples' error signals, and the variance of their entries."""
    if not layer:
        return jnp.full((), jnp.nan), jnp.full((), jnp.nan)
    # The gradient is that of the mean loss, so an example's share of it is 1/n of its own.
    visits = sum((signals.output.taken.sum() for signals in layer), jnp.zeros(()))
    root = norm(jnp.stack([norm(signals.gradient) for signals in layer])) * jnp.sqrt(num_examples / visits)

    def over_entries(fn: Callable[[jax.Array], jax.Array]) -> jax.Array:
        means = [fn(num_examples * signals.gradient.astype(root.dtype)) for signals in layer]
        own = [tuple(range(signals.output.taken.ndim, mean.ndim)) for signals, mean in zip(layer, means, strict=True)]
        rows = [mean.mean(axes).ravel() for mean, axes in zip(means, own, strict=True)]
        return _weighted_mean(
            jnp.concatenate(rows), jnp.concatenate([signals.output.taken.ravel() for signals in layer])
        )

    mean = over_entries(lambda entries: entries)
    return root, over_entries(lambda entries: jnp.square(entries - mean))


def _saturation(layer: list[Any], bound: jax.Array) -> jax.Array:
    if not layer:
        return jnp.full((), jnp.nan, jnp.float32)
    shares, taken = [], []
    for _, slope, met in layer:
        own = tuple(range(met.ndim, slope.ndim))
        small = (jnp.abs(slope) < bound).astype(jnp.float32)
        shares.append(jnp.where(jnp.isnan(slope), jnp.nan, small).mean(own).ravel())
        taken.append(met.ravel())
    return _weighted_mean(jnp.concatenate(shares), jnp.concatenate(taken))


def _illnesses(layer: list[Signals]) -> jax.Array:
    if not layer:
        return jnp.zeros(3, jnp.int8)
    stages = [(signals.given.max(), signals.output.illness.max(), signals.passed.illness.max()) for signals in layer]
    return jnp.stack([jnp.stack(stage) for stage in stages]).max(0)
