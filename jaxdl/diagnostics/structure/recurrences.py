"""The recurrences of a traced model: scans whose parameters meet what the scan carries."""

import itertools
from typing import Any, NamedTuple

from jaxdl.diagnostics.structure.layers import Structure
from jaxdl.jaxprs import Node, Use, Where, is_floating, scan_counts, written_out


class State(NamedTuple):
    """One array that a recurrence makes anew in every turn.

    Attributes:
      where: place of the equation in the scan's body that makes it anew in every turn.
      output: as which of that equation's outputs.
      shape, dtype: of the array in one turn.
    """

    where: Where
    output: int
    shape: tuple[int, ...]
    dtype: Any


class Recurrence(NamedTuple):
    """A scan in which the same weights meet a carried state in every turn.

    Attributes:
      name: common path of the layers in it or, failing that, of those that meet the state.
      scan: the equation in the flat program.
      states: what is carried, floating-point and made anew in every turn.
      carried: numbers, among all that the scan carries, of what changes from turn to turn and has a gradient; a value
        that is carried for two turns has two.
    """

    name: str
    scan: Node
    states: tuple[State, ...]
    carried: tuple[int, ...]


def find_recurrences(structure: Structure) -> list[Recurrence]:
    """Those outside of other loops, in forward order.

    A scan that takes another slice of every weight in every turn is a stack of layers, and one whose weights meet
    only its inputs, such as a sum over parts of a batch, is none either.
    """
    found = []
    for node in written_out(structure.jaxpr.jaxpr).nodes:
        if node.eqn.primitive.name == "scan":
            inside = [use for use in structure.uses if _repeats(use, node.where)]
            recurrent = _meeting_state(inside, node)
            states, carried = _states(node)
            if recurrent and states:
                name = _shared_path(_layers(structure, inside)) or common_path(_layers(structure, recurrent))
                found.append(Recurrence(name, node, states, carried))
    return found


def common_path(layers: list[str]) -> str:
    """The path that layers share, or a list of them."""
    return _shared_path(layers) or ", ".join(layers)


def _shared_path(layers: list[str]) -> str:
    levels = zip(*(layer.split("/") for layer in layers), strict=False)
    return "/".join(names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, levels))


def _layers(structure: Structure, uses: list[Use]) -> list[str]:
    return list(dict.fromkeys(name for use in uses for name in structure.layers_of(use)))


def _repeats(use: Use, scan: Where) -> bool:
    """Whether a weight multiplies data in the scan, and is the same in every turn."""
    return use.feature_axes is not None and use.where[: len(scan)] == scan and scan not in use.sliced_by


def _states(scan: Node) -> tuple[tuple[State, ...], tuple[int, ...]]:
    body = scan.eqn.params["jaxpr"].jaxpr
    graph = written_out(body)
    producers = graph.producers()
    first, num_carry = scan_counts(scan.eqn)
    found: dict[int, State] = {}
    carried = []
    for i, (value, var) in enumerate(zip(graph.outputs[:num_carry], body.outvars, strict=False)):
        if value is None or value == graph.inputs[first + i] or not is_floating(var.aval):
            continue
        carried.append(i)
        if value in producers:
            node, output = producers[value]
            found[value] = State((*scan.where, 0, *node.where), output, var.aval.shape, var.aval.dtype)
    return tuple(found.values()), tuple(carried)


def _meeting_state(inside: list[Use], scan: Node) -> list[Use]:
    """The uses in which a weight meets what was made from the carried state."""
    body = scan.eqn.params["jaxpr"].jaxpr
    graph = written_out(body)
    first, num_carry = scan_counts(scan.eqn)
    carried = [i for i in range(first, first + num_carry) if is_floating(body.invars[i].aval)]
    reached: set[Where] = set()

    def mark(node: Node, facts: list[bool]) -> bool | None:
        if facts:
            reached.add(node.where)
        return True if facts else None

    graph.flow({graph.inputs[i]: True for i in carried}, mark)
    depth = len(scan.where) + 1
    return [use for use in inside if any(use.where[depth : depth + len(place)] == place for place in reached)]
