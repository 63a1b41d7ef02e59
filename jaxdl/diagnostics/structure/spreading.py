"""How far a layer's output goes before something bends it: through rearrangements, sums, scalings, normalizations."""

import math
from typing import Any, NamedTuple

from jaxdl.jaxprs import Level, Node, elementwise
from jaxdl.jaxprs.uses import Where

# The axis of the examples, then those of the units; None for one that was lost on the way.
Axes = tuple[int | None, ...]

_SUMS = ("add", "add_any", "sub")
_PLAIN = (*_SUMS, "neg", "convert_element_type", "copy", "copy_p", "reduce_precision", "stop_gradient")
_MOVES = ("reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "slice", "dynamic_slice", "split",
          "rev", "pad", "reduce_window", "reduce_window_max", "reduce_window_sum")  # fmt: skip


class Place(NamedTuple):
    """An output of an equation."""

    where: Where
    output: int


class Walk(NamedTuple):
    """What is known of the whole program: values that are data, those that reach a product, places of the products."""

    data: frozenset[int]
    arriving: frozenset[int]
    products: frozenset[Where]

    def data_of(self, node: Node) -> list[int]:
        """The data among what comes into a node."""
        return [number for number in node.inputs if number is not None and number in self.data]


class Moved(NamedTuple):
    """A value that is the layer's output still, and where its axes are.

    Attributes:
      axes: of examples and units.
      known: shape and axes when all of them were last known: a reshape back restores them.
    """

    axes: Axes
    known: tuple[tuple[int, ...], Axes]


class Spread(NamedTuple):
    """What became of a layer's output within its level.

    Attributes:
      same: values that are it, moved, shifted, scaled or normalized.
      bends: positions of the nodes that first bend it, in order; those that only serve a normalization left out.
      made: position of the node that made each of `same`.
    """

    same: dict[int, Moved]
    bends: list[int]
    made: dict[int, int]


def linear(node: Node, walk: Walk) -> bool:
    """Whether an entry-by-entry node is linear in all data that come to it together."""
    name, data = node.eqn.primitive.name, walk.data_of(node)
    if name in _PLAIN:
        return True
    if name == "mul":
        return len(data) < 2
    if name == "div":
        return node.inputs[1] not in data
    return name == "select_n" and node.inputs[0] not in data


def spread(level: Level, start: int, number: int, axes: Axes, walk: Walk) -> Spread:
    """Follows a value made at a position through the later nodes of its level.

    A normalization divides by a statistic, which is bent itself (squares, an inverse root) but comes back to the value
    it was taken from; what bends only on the way to a statistic is no activation.
    """
    shape = next(var.aval.shape for var, out in _outputs(level.nodes[start]) if out == number)
    same: dict[int, Moved] = {number: Moved(axes, (shape, axes))}
    made = {number: start}
    bent: dict[int, frozenset[int]] = {}  # bent values and statistics, with the positions where they were bent first
    statistics: set[int] = set()
    serving: set[int] = set()
    bends: list[int] = []
    for position in range(start + 1, len(level.nodes)):
        node = level.nodes[position]
        data = walk.data_of(node)
        known = [value for value in data if value in same or value in bent]
        if not known or node.where in walk.products or node.inner:
            continue
        before = frozenset().union(*(bent.get(value, frozenset()) for value in known))
        whole = [value for value in data if value in same]
        apart = [value for value in data if value not in same]
        complete = len(known) == len(data)
        if complete and (set(data) <= statistics or _reduces(node)):
            statistics.update(node.outputs)
            bent.update((out, before) for out in node.outputs)
        elif elementwise(node.eqn):
            normalizes = whole and set(apart) <= statistics and bool(apart)
            if whole and not set(apart) & (bent.keys() - statistics) and (
                linear(node, walk) or (normalizes and _scales(node, whole))
            ):  # fmt: skip
                serving.update(*(bent[value] for value in apart if value in statistics))
                same[node.outputs[0]] = same[whole[0]]
                made[node.outputs[0]] = position
            elif complete and not apart:
                bends.append(position)
                bent[node.outputs[0]] = frozenset((position,))
            elif before or complete:
                bent.update((out, before) for out in node.outputs)
        elif node.eqn.primitive.name in _MOVES and len(data) == 1:
            for var, out in _outputs(node):
                if whole:
                    same[out] = _moved(node, same[whole[0]], var.aval.shape)
                    made[out] = position
                else:
                    bent[out] = before
    return Spread(same, [position for position in bends if position not in serving], made)


def _outputs(node: Node) -> list[tuple[Any, int]]:
    return list(zip(node.eqn.outvars, node.outputs, strict=True))


def _reduces(node: Node) -> bool:
    name = node.eqn.primitive.name
    return name.startswith("reduce_") and not name.startswith("reduce_window") and name not in _PLAIN


def _scales(node: Node, whole: list[int]) -> bool:
    """Whether the layer's output is multiplied or divided by something else, once."""
    name = node.eqn.primitive.name
    return len(whole) == 1 and (name == "mul" or (name == "div" and node.inputs[0] == whole[0]))


def _moved(node: Node, moved: Moved, shape: tuple[int, ...]) -> Moved:
    eqn, name = node.eqn, node.eqn.primitive.name
    axes = moved.axes
    if name == "transpose":
        axes = tuple(_at(axis, eqn.params["permutation"].index) for axis in axes)
    elif name == "broadcast_in_dim":
        axes = tuple(_at(axis, eqn.params["broadcast_dimensions"].__getitem__) for axis in axes)
    elif name in ("reshape", "squeeze", "expand_dims"):
        old = next(atom.aval.shape for atom in eqn.invars)
        if shape == moved.known[0]:
            axes = moved.known[1]
        else:
            axes = tuple(_at(axis, lambda axis: _kept(old, axis, shape)) for axis in axes)
    known = moved.known if None in axes and None not in moved.known[1] else (shape, axes)
    return Moved(axes, known)


def _at(axis: int | None, place: Any) -> int | None:
    return None if axis is None else place(axis)


def _kept(old: tuple[int, ...], axis: int, new: tuple[int, ...]) -> int | None:
    """The axis of a reshaped array that is this axis of the old one."""
    after = math.prod(old[axis + 1 :])
    return next((i for i in range(len(new)) if new[i] == old[axis] and math.prod(new[i + 1 :]) == after), None)
