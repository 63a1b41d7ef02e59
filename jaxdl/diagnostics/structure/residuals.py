"""The residual additions of a traced model: where a value meets what a branch with weights made of it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxdl.diagnostics.structure.layers import Structure
from jaxdl.diagnostics.structure.recurrences import common_path
from jaxdl.jaxprs import Level, Node, Use, Where, written_out

# What leaves a value what it is, but for its shape and precision.
_SAME_VALUE = {"convert_element_type", "copy", "copy_p", "reduce_precision", "reshape", "squeeze", "expand_dims"}


class Residual(NamedTuple):
    """An addition `x + F(x)`.

    Attributes:
      name: common path of the layers in the branch F.
      scans: the scans around it, the outermost first, as equations with their places in the program.
      add: place of the addition in the innermost scan's body, or in the program.
      branch: which operand of the addition is `F(x)`.
      origin: place of the equation that makes x, in the same body; None where x is an input of the body.
      output: as which of its outputs, or of the body's inputs.
      stacked: for each scan, whether it gives the branch other weights in every turn.
    """

    name: str
    scans: tuple[tuple[Where, Any], ...]
    add: Where
    branch: int
    origin: Where | None
    output: int
    stacked: tuple[bool, ...]

    @property
    def place(self) -> Where:
        """Place of the addition in the program."""
        return (*self.scans[-1][0], 0, *self.add) if self.scans else self.add


def find_residuals(structure: Structure) -> list[Residual]:
    """Those in the program and in the bodies of its scans, in forward order."""
    products = [use for use in structure.uses if use.feature_axes is not None]
    return list(_residuals(structure, structure.jaxpr.jaxpr, products, ()))


def _residuals(
    structure: Structure, jaxpr: Any, products: list[Use], scans: tuple[tuple[Where, Any], ...]
) -> Iterator[Residual]:
    graph = written_out(jaxpr)
    producers = graph.producers()
    prefix = (*scans[-1][0], 0) if scans else ()
    within: dict[Where, list[Use]] = {}
    for use in products:
        for node in graph.nodes:
            whole = (*prefix, *node.where)
            if use.where[: len(whole)] == whole:
                within.setdefault(node.where, []).append(use)
    for node in graph.nodes:
        if node.eqn.primitive.name == "scan":
            yield from _residuals(
                structure, node.eqn.params["jaxpr"].jaxpr, products, (*scans, ((*prefix, *node.where), node.eqn))
            )
        if node.eqn.primitive.name not in ("add", "add_any") or len(set(node.differentiable_inputs)) < 2:
            continue
        for branch in (0, 1):
            skip = _root(node.differentiable_inputs[1 - branch], producers)
            if skip not in producers and skip not in graph.inputs:
                continue  # a constant, to which no gradient is wanted
            uses = _branch(graph, skip, node.differentiable_inputs[branch], within)
            if uses:
                layers = list(dict.fromkeys(name for use in uses for name in structure.layers_of(use)))
                stacked = tuple(any(scan in use.sliced_by for use in uses) for scan, _ in scans)
                origin, output = producers[skip] if skip in producers else (None, graph.inputs.index(skip))
                place = None if origin is None else origin.where
                yield Residual(common_path(layers), scans, node.where, branch, place, output, stacked)
                break


def _root(value: int, producers: dict[int, tuple[Node, int]]) -> int:
    """The value that this one is, but for shape and precision."""
    while value in producers and producers[value][0].eqn.primitive.name in _SAME_VALUE:
        (value,) = producers[value][0].differentiable_inputs or (-1,)
    return value


def _branch(graph: Level, skip: int, end: int, within: dict[Where, list[Use]]) -> list[Use]:
    """The products with weights on the paths from a value to another."""
    on_the_way: dict[int, dict[Use, None]] = {skip: {}}

    def join(node: Node, facts: list[dict[Use, None]]) -> dict[Use, None] | None:
        if not facts:
            return None
        own = {use: None for use in within.get(node.where, [])}
        return {use: None for fact in [*facts, own] for use in fact}

    return list(graph.flow(on_the_way, join).get(end, {}))
