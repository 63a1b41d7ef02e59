"""Which layer's output is made from which: the maps from layer to layer of a traced model."""

from typing import NamedTuple

from jaxdl.diagnostics.structure.layers import Layer, Structure
from jaxdl.jaxprs import Where, is_floating, written_out

INPUT = "input"


class LayerMap(NamedTuple):
    """From the output of one layer, or the inputs, to the output of another.

    Attributes:
      source, target: names of the layers; the source may be `INPUT`.
      start: place of the source's product; None for the inputs.
      leaves: for the inputs, their numbers among those of the program.
      end: place of the target's product; None where there is no such map.
      reason: why there is none.
    """

    source: str
    target: str
    start: Where | None
    leaves: tuple[int, ...]
    end: Where | None
    reason: str = ""


def layer_maps(structure: Structure, num_params: int) -> list[LayerMap]:
    """For each matrix layer the map from the last layer before it that all its inputs come through; then the whole.

    In a chain of layers that is the layer before. Where a skip connection passes some layers by, it is the one from
    which the skip starts or, failing that, the network's input.
    """
    graph = written_out(structure.jaxpr.jaxpr)
    places = {node.where for node in graph.nodes}
    layers = [layer for layer in structure.layers if layer.matrix]
    reasons = [_obstacle(layer, places, layers[:i]) for i, layer in enumerate(layers)]
    at = {layer.products[0].where: i for i, layer in enumerate(layers) if not reasons[i]}
    inputs = [i for i, var in enumerate(structure.jaxpr.jaxpr.invars) if i >= num_params and is_floating(var.aval)]
    # What every path to a layer comes through, by the layers' numbers and -1 for the input; and the inputs on it.
    above: dict[int, frozenset[int]] = {}
    leaves: dict[int, frozenset[int]] = {}

    def through(node, facts):
        layer = at.get(node.where)
        if not facts and layer is None:
            return None
        common = frozenset.intersection(*facts) if facts else frozenset()
        if layer is None:
            return common
        above[layer] = common
        return common | {layer}

    def origin(node, facts):
        if not facts:
            return None
        joined = frozenset.union(*facts)
        if node.where in at:
            leaves[at[node.where]] = joined
        return joined

    graph.flow({graph.inputs[i]: frozenset((-1,)) for i in inputs}, through)
    graph.flow({graph.inputs[i]: frozenset((i,)) for i in inputs}, origin)

    def between(source: int, target: int) -> LayerMap:
        end, own = layers[target].products[0].where, tuple(sorted(leaves.get(target, ())))
        if source < 0:
            return LayerMap(INPUT, layers[target].name, None, own, end)
        return LayerMap(layers[source].name, layers[target].name, layers[source].products[0].where, (), end)

    maps = []
    for i, layer in enumerate(layers):
        if reasons[i] or not above.get(i):
            reason = reasons[i] or _sourceless(i, leaves)
            maps.append(LayerMap("-", layer.name, None, (), None, reason))
        else:
            maps.append(between(max(above[i]), i))
    last = max(above, default=None)
    if last is None or not (last in leaves or above[last]):
        name = layers[-1].name if layers else "-"
        return [*maps, LayerMap(INPUT, name, None, (), None, "no two layers are joined by a path that has a gradient")]
    return [*maps, between(-1 if last in leaves else min(above[last]), last)]


def _obstacle(layer: Layer, places: set[Where], before: list[Layer]) -> str:
    places_used = [use.where for use in layer.products]
    if len(places_used) > 1:
        return f"its weight is used in {len(places_used)} places"
    if places_used[0] not in places:
        return "it lies inside a loop or a branch"
    sharing = [other.name for other in before if places_used[0] in [use.where for use in other.products]]
    return f"it shares its product with {sharing[0]}" if sharing else ""


def _sourceless(layer: int, leaves: dict[int, frozenset[int]]) -> str:
    if layer in leaves:
        return "paths from several starts meet before it"
    return "no input or layer that can be shifted comes before it"
