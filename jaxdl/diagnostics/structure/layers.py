"""The layers of a traced model in forward order, and how each one's error signal can be had."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import tree_leaves

from jaxdl.jaxprs import Use, find_uses, trace
from jaxdl.losses import batch_mean
from jaxdl.tree import layer_of, leaf_paths

PyTree = Any


class Layer(NamedTuple):
    """A group of parameters that share all but the last name of their path.

    Attributes:
      name: their common path.
      weights: paths of its parameters other than the additive bias.
      bias: path of the parameter that is only ever added to data, if there is one.
      matrix: whether it multiplies data by a weight of two or more dimensions.
      shifts: for a matrix without bias, the uses of its weight; none where they cannot be told apart.
      products: the uses in which it multiplies.
      additions: those in which its bias is added.
    """

    name: str
    weights: tuple[str, ...]
    bias: str | None
    matrix: bool
    shifts: tuple[Use, ...]
    products: tuple[Use, ...]
    additions: tuple[Use, ...]


class Structure(NamedTuple):
    """Layers in forward order, the traced mean loss they were found in, and layers no loss depends on.

    Attributes:
      layers, jaxpr, unused: these.
      uses: all uses of parameters, in forward order.
      owners: the layer of each parameter leaf.
    """

    layers: tuple[Layer, ...]
    jaxpr: Any
    unused: tuple[str, ...]
    uses: tuple[Use, ...]
    owners: tuple[str, ...]

    def layers_of(self, use: Use) -> list[str]:
        """Names of the layers whose parameters enter at a use."""
        return list(dict.fromkeys(self.owners[i] for i in sorted(use.params)))


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
    owners = _owners(leaves, uses)
    order = list(dict.fromkeys(owners[i] for use in uses for i in sorted(use.params)))
    if not order:
        raise ValueError(
            f"objective: expected a loss that depends on the parameters and the batch; none of the parameters "
            f"{', '.join(leaves) or '(none)'} meets the batch. Check that the objective applies the model to params."
        )
    layers = tuple(_layer(name, leaves, owners, uses) for name in order)
    unused = tuple(dict.fromkeys(name for name in owners if name not in order))
    return Structure(layers, jaxpr, unused, tuple(uses), tuple(owners))


def _owners(leaves: dict[str, Any], uses: list[Use]) -> list[str]:
    """The layer of each leaf: its path but for the last name, or all of it where that name holds several layers."""
    names = [layer_of(path) for path in leaves]
    biases = [names[i] for i in range(len(names)) if _is_bias(i, uses)]
    crowded = {name for name in biases if biases.count(name) > 1}
    return [path if name in crowded else name for path, name in zip(leaves, names, strict=True)]


def _is_bias(leaf: int, uses: list[Use]) -> bool:
    own = [use for use in uses if leaf in use.params]
    return bool(own) and all(use.additive and leaf in use.rearranged for use in own)


def _layer(name: str, leaves: dict[str, Any], owners: list[str], uses: list[Use]) -> Layer:
    paths = list(leaves)
    own = [i for i, owner in enumerate(owners) if owner == name]
    biases = [i for i in own if _is_bias(i, uses)]
    weights = tuple(paths[i] for i in own if i not in biases)
    products = [use for use in uses if use.feature_axes is not None and any(_multiplies(i, leaves, use) for i in own)]
    bias = paths[biases[0]] if biases else None
    shifts = tuple(products) if bias is None and _separable(own, products, leaves, uses) else ()
    additions = tuple(use for use in uses if use.params.intersection(biases))
    return Layer(name, weights, bias, bool(products), shifts, tuple(products), additions)


def _multiplies(leaf: int, leaves: dict[str, Any], use: Use) -> bool:
    return leaf in use.params and jnp.ndim(list(leaves.values())[leaf]) >= 2


def _separable(own: list[int], products: list[Use], leaves: dict[str, Any], uses: list[Use]) -> bool:
    """Whether one virtual bias can stand at all uses of a layer's weight, and for this layer alone."""
    kernels = [i for i in own if any(_multiplies(i, leaves, use) for use in products)]
    everywhere = [use for use in uses if any(i in use.params for i in kernels)]
    alone = all(i in own for use in products for i in use.params if _multiplies(i, leaves, use))
    alike = len({(use.primitive, use.feature_shape, len(use.sliced_by)) for use in products}) == 1
    return alone and alike and len(everywhere) == len(products)


def flat_inputs(params: PyTree, batch: PyTree) -> list[Any]:
    """The inputs of the traced mean loss."""
    return [*tree_leaves(params), *tree_leaves(batch)]
