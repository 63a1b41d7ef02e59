"""How the gradient fares from layer to layer: the measurement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import checks
from jaxdl.diagnostics.gradients import flow_report
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.structure.layers import Layer, Structure, find_structure, flat_inputs
from jaxdl.diagnostics.structure.preparation import as_objective, prepared
from jaxdl.jaxprs import Edit, Use, evaluate_edited, vector_shape
from jaxdl.losses import batch_mean
from jaxdl.tree import joint_norm, leaf_norms, leaf_paths, norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientFlow(Stackable):
    """Gradient norms in forward layer order; a pytree of arrays, so it stacks under `scan` and `vmap`.

    Attributes:
      error_signal: `(..., layers)`, Euclidean norm over the units of the mean over the examples of dC/db, the
        derivative of an example's loss with respect to the bias of the layer (Nielsen 2015, ch. 5). For a matrix
        without bias, of the bias it could have; NaN for a layer without units of its own, such as a scale alone.
      weight_gradient: `(..., layers)`, Euclidean norm of the mean gradient of its other parameters; NaN without any.
      update_to_weight: `(..., layers)`, norm of the update of those parameters over their norm; NaN where no
        optimizer was given or all of them are zero.
      layers: names, the paths of the parameters less their last part.
      matrix: for each layer, whether it multiplies by a weight matrix or filter; the verdict looks at these.
      unused: layers that the loss does not depend on through the batch.
    """

    error_signal: jax.Array
    weight_gradient: jax.Array
    update_to_weight: jax.Array
    layers: tuple[str, ...] = field(metadata={"static": True})
    matrix: tuple[bool, ...] = field(metadata={"static": True})
    unused: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def ratio_to_next(self) -> jax.Array:
        """`(..., layers)`, error signal over that of the next layer: below 1 it shrinks towards the input; last NaN."""
        ratios = self.error_signal[..., :-1] / self.error_signal[..., 1:]
        return jnp.concatenate([ratios, jnp.full_like(self.error_signal[..., -1:], jnp.nan)], -1)

    def table(self) -> str:
        """One line a layer, in forward order, as text."""
        return flow_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence with its numbers: healthy, vanishing, exploding, blocked or not finite, and where."""
        return flow_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, steps: Any = None, title: str | None = None) -> "Figure":
        """Draws the norms over the layers, or over time if measurements are stacked; see `flow_report.plot`."""
        return flow_report.plot(self, path, steps=steps, title=title)


def gradient_flow(
    objective: Callable[..., Any],
    params: PyTree,
    batch: PyTree,
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = True,
    tx: optax.GradientTransformation | None = None,
    opt_state: PyTree | None = None,
) -> GradientFlow:
    """Measures, layer by layer in forward order, how much gradient arrives.

    The program is traced and its layers are found where parameters meet the batch, so that any model will do,
    unedited: Linen, NNX or plain functions. One forward and backward pass; a second one if there are matrices
    without bias.

    Args:
      objective: an objective such as `jaxdl.training.supervised(model, loss)`, or a plain
        `losses_fn(params, batch) -> (batch,)`.
      params: pytree of parameters, or a `TrainState`, which brings its `model_state` along.
      batch: what the objective takes, such as `(x, y)`; the leading axis is the examples'.
      model_state: the model's other collections, such as running statistics.
      key: for random layers such as dropout; `jax.random.key(0)` by default.
      train: whether the model runs in training mode.
      tx: an optax chain; with it, `update_to_weight` is measured for the update it would make.
      opt_state: state of `tx`; a fresh one by default.

    Returns:
      A `GradientFlow` with arrays `(layers,)` float32.

    Raises:
      ValueError: losses that are not one value per example, or parameters that no loss depends on.
      TypeError: `objective` or `tx` of the wrong kind.

    Example:
      >>> flow = gradient_flow(lambda w, x: jnp.tanh(x @ w).sum(-1), jnp.eye(2), jnp.ones((3, 2)))
      >>> flow.error_signal.shape
      (1,)
    """
    ready = prepared(objective, params, batch, model_state=model_state, key=key)
    if tx is not None:
        checks.optimizer(tx)
        opt_state = tx.init(ready.params) if opt_state is None else opt_state
    return _measure(*ready, opt_state, objective=objective, train=train, tx=tx)


def measure_gradient_flow(moment: Any) -> GradientFlow:
    """`gradient_flow` as a `measure` of `make_train_step`: it reuses the step's own gradient and update.

    Args:
      moment: what the step hands to a measure, with `objective, params, model_state, batch, key, grads, updates`.

    Returns:
      A `GradientFlow`, arrays `(layers,)`.
    """
    structure = find_structure(
        moment.objective, moment.params, moment.batch, model_state=moment.model_state, key=moment.key, train=True
    )
    return _assembled(structure, moment.params, moment.batch, moment.grads, moment.updates)


@partial(jax.jit, static_argnames=("objective", "train", "tx"))
def _measure(
    params: PyTree,
    batch: PyTree,
    model_state: PyTree,
    key: jax.Array,
    opt_state: PyTree,
    *,
    objective: Callable[..., Any],
    train: bool,
    tx: optax.GradientTransformation | None,
) -> GradientFlow:
    objective = as_objective(objective)
    context: dict[str, Any] = dict(model_state=model_state, key=key, train=train)
    structure = find_structure(objective, params, batch, **context)
    grads = jax.grad(lambda p: batch_mean(objective(p, batch, **context)[0]))(params)
    updates = None if tx is None else tx.update(grads, opt_state, params)[0]
    return _assembled(structure, params, batch, grads, updates)


def _assembled(
    structure: Structure, params: PyTree, batch: PyTree, grads: PyTree, updates: PyTree | None
) -> GradientFlow:
    shift_norms = _shift_norms(structure, params, batch)
    grad_norms, weight_norms = leaf_norms(grads), leaf_norms(params)
    update_norms = None if updates is None else leaf_norms(updates)
    missing = jnp.full((), jnp.nan, jnp.float32)

    def error_signal(layer: Layer) -> jax.Array:
        return grad_norms[layer.bias] if layer.bias is not None else shift_norms.get(layer.name, missing)

    def weight_gradient(layer: Layer) -> jax.Array:
        return joint_norm(grad_norms, layer.weights) if layer.weights else missing

    def update_to_weight(layer: Layer) -> jax.Array:
        if update_norms is None or not layer.weights:
            return missing
        weight = joint_norm(weight_norms, layer.weights)
        ratio = joint_norm(update_norms, layer.weights) / jnp.where(weight > 0, weight, 1)
        return jnp.where(weight > 0, ratio, jnp.nan)

    def row(quantity: Callable[[Layer], jax.Array]) -> jax.Array:
        return jnp.stack([jnp.asarray(quantity(layer), jnp.float32) for layer in structure.layers])

    return GradientFlow(
        error_signal=row(error_signal),
        weight_gradient=row(weight_gradient),
        update_to_weight=row(update_to_weight),
        layers=tuple(layer.name for layer in structure.layers),
        matrix=tuple(layer.matrix for layer in structure.layers),
        unused=structure.unused,
    )


def _shift_norms(structure: Structure, params: PyTree, batch: PyTree) -> dict[str, jax.Array]:
    """Error signals of the matrices without bias, by one backward pass for all of them; none needed costs nothing.

    Every use of such a matrix is given one shared zero vector, added along the units. The gradient of the mean loss
    with respect to it is the mean over the examples of dC/db of the bias the layer lacks.
    """
    shifted = [layer for layer in structure.layers if layer.shifts]
    if not shifted:
        return {}
    dtype = jnp.result_type(*leaf_paths(params).values())

    def loss(vectors: list[jax.Array]) -> jax.Array:
        edits = [Edit(use, vector) for layer, vector in zip(shifted, vectors, strict=True) for use in layer.shifts]
        return evaluate_edited(structure.jaxpr, flat_inputs(params, batch), edits, _shift)[0]

    first_uses = [layer.shifts[0] for layer in shifted]
    zeros = [jnp.zeros(vector_shape(structure.jaxpr, use, use.feature_shape), dtype) for use in first_uses]
    return {layer.name: norm(grad) for layer, grad in zip(shifted, jax.grad(loss)(zeros), strict=True)}


def _shift(output: jax.Array, vector: jax.Array, use: Use) -> jax.Array:
    """The output with the bias added along the units that its layer could have."""
    others = [axis for axis in range(output.ndim) if axis not in (use.feature_axes or ())]
    return output + jnp.expand_dims(vector.astype(output.dtype), others)
