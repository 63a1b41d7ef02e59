"""The activation behind a layer: a chain of entry-by-entry equations with one source."""

from typing import Any, NamedTuple

from jaxdl.diagnostics.structure.spreading import Axes, Place, Spread, Walk, linear, spread
from jaxdl.jaxprs import Level, Node, elementwise, open_jaxpr


class Curve(NamedTuple):
    """An activation in a program.

    Attributes:
      start, end: places of what it is applied to, and of what comes out.
      start_aval: shape and dtype of the former.
      axes: axes of the examples and of the units there.
      name: that of the function called, such as `relu`, or of its primitives.
    """

    start: Place
    end: Place
    start_aval: Any
    axes: Axes
    name: str


def find_curve(level: Level, position: int, number: int, axes: Axes, walk: Walk) -> Curve | None:
    """The first activation that a value, made at a position, runs into on its way to a later product; None without."""
    found = spread(level, position, number, axes, walk)
    for bend in found.bends:
        sources = {_source(level, found, value, number, walk) for value in walk.data_of(level.nodes[bend])}
        if len(sources) != 1:
            continue
        (source,) = sources
        end = _end(level, source, found.made[source], bend, walk)
        if end.outputs[0] in walk.arriving:
            maker = level.nodes[found.made[source]]
            index = maker.outputs.index(source)
            aval = maker.eqn.outvars[index].aval
            start = Place(maker.where, index)
            name = _name(level.nodes[position], level.nodes[bend], end)
            return Curve(start, Place(end.where, 0), aval, found.same[source].axes, name)
    return None


def _source(level: Level, found: Spread, value: int, first: int, walk: Walk) -> int:
    """Back through changes by one number for all entries: they belong to the activation, such as that of a swish."""
    while value != first:
        node = level.nodes[found.made[value]]
        others = [atom for atom, number in zip(node.eqn.invars, node.inputs, strict=True) if number not in walk.data]
        single = len(walk.data_of(node)) == 1 and all(atom.aval.size == 1 for atom in others)
        if not (single and elementwise(node.eqn) and linear(node, walk)):
            break
        (value,) = walk.data_of(node)
    return value


def _end(level: Level, source: int, made: int, bend: int, walk: Walk) -> Node:
    """The node where all ways from the source through the bend have met, and nothing bends the value further."""
    inside = {source}
    region: list[Node] = []
    for node in level.nodes[made + 1 :]:
        data = walk.data_of(node)
        if data and inside.issuperset(data) and elementwise(node.eqn) and not node.inner:
            inside.update(node.outputs)
            region.append(node)
    end = level.nodes[bend]
    while True:
        down = _downstream(end, region, walk)
        meets = [
            node for node in region if down.intersection(walk.data_of(node)) and not down.issuperset(walk.data_of(node))
        ]
        further = meets[-1] if meets else _bent_further(level, end, region, walk)
        if further is None:
            return _whole_call(level, level.nodes[made], level.nodes[bend], end, region)
        end = further


def _whole_call(level: Level, maker: Node, first: Node, end: Node, region: list[Node]) -> Node:
    """The end of the function called, where the activation is one: a scale behind the last bend is part of it."""
    calls = set(first.calls).intersection(end.calls).difference(maker.calls)
    while True:
        takers = _takers(level, end)
        if len(takers) != 1 or takers[0] not in region or not calls.intersection(takers[0].calls):
            return end
        (end,) = takers


def _takers(level: Level, node: Node) -> list[Node]:
    """The nodes that take what comes out of a node; none where the level hands it out, too."""
    out = set(node.outputs)
    return [] if out.intersection(level.outputs) else [taker for taker in level.nodes if out.intersection(taker.inputs)]


def _downstream(start: Node, region: list[Node], walk: Walk) -> set[int]:
    down = set(start.outputs)
    for node in region:
        if down.intersection(walk.data_of(node)):
            down.update(node.outputs)
    return down


def _bent_further(level: Level, end: Node, region: list[Node], walk: Walk) -> Node | None:
    """The next bend, where nothing else takes what comes before it."""
    while True:
        takers = _takers(level, end)
        if len(takers) != 1 or takers[0] not in region:
            return None
        (end,) = takers
        if not linear(end, walk):
            return end


def _name(layer: Node, first: Node, last: Node) -> str:
    shared = [call for call in first.calls if call in last.calls and call not in layer.calls]
    if shared:
        return shared[0][1]
    names = list(dict.fromkeys(_called(node) for node in (first, last)))
    return " to ".join(names)


def _called(node: Node) -> str:
    """The name of a function with a derivative of its own, or of the primitive."""
    inside = next((node.eqn.params[key] for key in ("call_jaxpr", "fun_jaxpr") if key in node.eqn.params), None)
    if inside is None:
        return node.eqn.primitive.name
    named = [eqn.params["name"] for eqn in open_jaxpr(inside).eqns if "name" in eqn.params]
    return str(node.eqn.params.get("name", named[0] if named else node.eqn.primitive.name))
