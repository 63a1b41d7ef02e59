"""Where in a traced program a layer's pre-activations and activations stand."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxdl.diagnostics.structure.layers import Layer, Structure
from jaxdl.diagnostics.structure.nonlinearity import Curve, find_curve
from jaxdl.diagnostics.structure.spreading import Axes, Place, Walk, spread
from jaxdl.jaxprs import Level, Node, Use, all_levels, arriving, carrying, scans_around, written_out
from jaxdl.jaxprs.uses import Where

# The same program for one example more: `shape(where)` of an equation's output, None where there is none.
Reshaped = Callable[[Where], tuple[int, ...] | None]


class Site(NamedTuple):
    """One place at which a layer is applied.

    Attributes:
      product: place of the product.
      data_operands: which of its operands are data.
      place: of the pre-activation, the product with the bias added.
      aval: its shape and dtype.
      axes: its axis of the examples, None where that is not known, then those of the units.
      scans: places and lengths of the scans around it, the outermost first.
      stacked: for each of them, whether every turn has a weight of its own.
      curve: the activation that follows, if there is one.
    """

    product: Where
    data_operands: tuple[int, ...]
    place: Place
    aval: Any
    axes: Axes
    scans: tuple[tuple[Where, int], ...]
    stacked: tuple[bool, ...]
    curve: Curve | None


def find_sites(structure: Structure, *, num_params: int, num_examples: int, reshaped: Reshaped) -> list[list[Site]]:
    """For each layer that multiplies, in forward order, where it does; none where it shares its product with others."""
    program = written_out(structure.jaxpr)
    data = carrying(program, program.inputs[num_params:])
    products = {use.where for layer in structure.layers for use in layer.products}
    homes = {node.where: (level, i) for level in all_levels(program) for i, node in enumerate(level.nodes)}
    operands = [
        number for where in products for number in homes[where][0].nodes[homes[where][1]].inputs if number in data
    ]
    walk = Walk(data, arriving(program, operands), frozenset(products))

    def site(layer: Layer, use: Use) -> Site:
        level, i = homes[use.where]
        node = level.nodes[i]
        example = _example_axis(node, use, num_examples, reshaped)
        number, place, aval, axes, made = _pre_activation(level, i, (example, *(use.feature_axes or ())), layer, walk)
        scans = tuple(scans_around(structure.jaxpr, use.where))
        return Site(
            product=use.where,
            data_operands=tuple(position for position, operand in enumerate(node.inputs) if operand in data),
            place=place,
            aval=aval,
            axes=axes,
            scans=scans,
            stacked=tuple(scan in use.sliced_by for scan, _ in scans),
            curve=find_curve(level, made, number, axes, walk),
        )

    def sites(layer: Layer) -> list[Site]:
        others = {use.where for other in structure.layers if other is not layer for use in other.products}
        if any(use.where in others for use in layer.products):
            return []
        found = [site(layer, use) for use in layer.products]
        # Two products that meet in one sum before the bias have one pre-activation.
        return list({site.place: site for site in found}.values())

    return [sites(layer) for layer in structure.layers if layer.matrix]


def _pre_activation(
    level: Level, start: int, axes: Axes, layer: Layer, walk: Walk
) -> tuple[int, Place, Any, Axes, int]:
    """Number, place, shape, axes and position of the product's output with the layer's bias added."""
    node = level.nodes[start]
    found = spread(level, start, node.outputs[0], axes, walk)
    wheres = {use.where for use in layer.additions}
    for position in range(start + 1, len(level.nodes)):
        later = level.nodes[position]
        if later.where in wheres and later.outputs[0] in found.same:
            node, axes, start = later, found.same[later.outputs[0]].axes, position
            break
    return node.outputs[0], Place(node.where, 0), node.eqn.outvars[0].aval, axes, start


def _example_axis(node: Node, use: Use, num_examples: int, reshaped: Reshaped) -> int | None:
    shape: Sequence[int] = node.eqn.outvars[0].aval.shape
    units = use.feature_axes or ()
    axes = [axis for axis, length in enumerate(shape) if axis not in units and length == num_examples]
    if len(axes) < 2:
        return axes[0] if axes else None
    larger = reshaped(use.where)
    if larger is None or len(larger) != len(shape):
        return None
    axes = [axis for axis in axes if larger[axis] == num_examples + 1]
    return axes[0] if len(axes) == 1 else None
