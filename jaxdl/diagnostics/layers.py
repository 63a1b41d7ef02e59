"""The layers of a traced model in forward order, and how each one's error signal can be had."""

from typing import Any, NamedTuple

import jax
from jax.tree_util import tree_leaves

from jaxdl.diagnostics.uses import Use, find_uses, trace
from jaxdl.losses import batch_mean
from jaxdl.tree import layer_of, leaf_paths

PyTree = Any


class Layer(NamedTuple):
    """A group of parameters that share all but the last name of their path.

    Attributes:
      name: their common path.
      weights: paths of its parameters other than the additive bias.
      bias: path of the parameter that is only ever added to data, if there is one.
      matrix: whether it multiplies by a weight of two or more dimensions.
      shifts: for a matrix without bias, the uses of its weight.
    """

    name: str
    weights: tuple[str, ...]
    bias: str | None
    matrix: bool
    shifts: tuple[Use, ...]


class Structure(NamedTuple):
    """Layers in forward order, the traced mean loss they were found in, and layers no data ever reach."""

    layers: tuple[Layer, ...]
    jaxpr: Any
    unused: tuple[str, ...]


def find_structure(
    objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: Any, train: bool
) -> Structure:
    """Traces the objective's mean loss and lists its layers by first use.

    Raises:
      ValueError: no parameter is used together with the batch.
    """

    def mean_loss(params: PyTree, batch: PyTree) -> jax.Array:
        return batch_mean(objective(params, batch, model_state=model_state, key=key, train=train)[0])

    leaves = leaf_paths(params)
    jaxpr = trace(mean_loss, params, batch)
    uses = find_uses(jaxpr, num_params=len(leaves))
    order = _order_of_first_use(uses, list(leaves))
    if not order:
        raise ValueError(
            f"objective: expected a loss that depends on the parameters and the batch; none of the parameters "
            f"{', '.join(leaves) or '(none)'} meets the batch. Check that the objective applies the model to params."
        )
    layers = tuple(_layer(name, leaves, uses) for name in order)
    unused = tuple(dict.fromkeys(name for name in map(layer_of, leaves) if name not in order))
    return Structure(layers, jaxpr, unused)


def _order_of_first_use(uses: list[Use], paths: list[str]) -> list[str]:
    return list(dict.fromkeys(layer_of(paths[i]) for use in uses for i in sorted(use.params)))


def _layer(name: str, leaves: dict[str, Any], uses: list[Use]) -> Layer:
    paths = list(leaves)
    own = {i: [use for use in uses if i in use.params] for i, path in enumerate(paths) if layer_of(path) == name}
    used = {i: found for i, found in own.items() if found}
    biases = [i for i, found in used.items() if all(use.additive and use.params == {i} for use in found)]
    bias = biases[-1] if biases else None
    weights = tuple(paths[i] for i in own if i != bias)
    products = {i: found for i, found in used.items() if all(use.feature_axes is not None for use in found)}
    matrix = bool(products)
    shifts: tuple[Use, ...] = ()
    if matrix and bias is None:
        # A weight made from several parameters (weight normalization) has its uses listed under each of them.
        shifts = tuple(next(iter(products.values())))
        if len({use.feature_shape for use in shifts}) > 1 or any("while" in use.primitive for use in shifts):
            shifts = ()
    return Layer(name, weights, None if bias is None else paths[bias], matrix, shifts)


def shifted_inputs(params: PyTree, batch: PyTree) -> list[Any]:
    """The inputs of the traced mean loss, flat."""
    return [*tree_leaves(params), *tree_leaves(batch)]
