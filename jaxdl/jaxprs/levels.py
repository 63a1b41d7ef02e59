"""A traced program with its calls written out: what happens to a value can be followed from equation to equation.

Calls (jit, remat) are inlined. The bodies of scans and the branches of conditionals are levels of their own, since a
value there stands for many. Calls with a derivative of their own, and while loops, stay single nodes.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

from jax.extend.core import Literal

from jaxdl.jaxprs.elementwise import is_floating
from jaxdl.jaxprs.evaluation import open_jaxpr, scan_counts
from jaxdl.jaxprs.uses import Where, inner_jaxprs


class Node(NamedTuple):
    """One equation.

    Attributes:
      where: its place, as in `Use.where`.
      eqn: the equation.
      inputs: numbers of the values that come in; None for a literal.
      outputs: numbers of those that go out.
      calls: names of the inlined calls it lies in, the outermost first, each with the place of the call.
      inner: the body of a scan, the branches of a conditional.
    """

    where: Where
    eqn: Any
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    calls: tuple[tuple[Where, str], ...]
    inner: tuple["Level", ...]

    @property
    def differentiable_inputs(self) -> list[int]:
        """The values through which a gradient may pass: floating-point ones."""
        pairs = zip(self.inputs, self.eqn.invars, strict=True)
        return [value for value, atom in pairs if value is not None and is_floating(atom.aval)]


class Level(NamedTuple):
    """Equations that run equally often, in order; a value has one number in the whole program.

    Attributes:
      nodes: the equations.
      inputs: numbers of what the level is given.
      outputs: numbers of what it hands out; None for a literal.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]

    def producers(self) -> dict[int, tuple[Node, int]]:
        """For each value but the inputs, the equation that gives it, and as which of its outputs."""
        return {value: (node, i) for node in self.nodes for i, value in enumerate(node.outputs)}

    def flow(self, start: dict[int, Any], join: Callable[[Node, list[Any]], Any]) -> dict[int, Any]:
        """Carries facts about values from the inputs on, along all paths that a gradient may take in this level.

        Args:
          start: facts of some inputs.
          join: `join(node, facts)` gives that of a node's outputs from those its inputs have, or None for no fact.
        """
        facts = dict(start)
        for node in self.nodes:
            fact = join(node, [facts[value] for value in node.differentiable_inputs if value in facts])
            if fact is not None:
                facts.update((value, fact) for value in node.outputs)
        return facts


def written_out(jaxpr: Any) -> Level:
    """The outermost level of a program, a jaxpr open or closed."""
    return _level(open_jaxpr(jaxpr), (), (), count())


def all_levels(level: Level) -> list[Level]:
    """The level and those inside it, however deep."""
    return [level, *(found for node in level.nodes for inner in node.inner for found in all_levels(inner))]


def carrying(level: Level, sources: Sequence[int]) -> frozenset[int]:
    """Numbers of all values into which one of the `sources` has entered, inner levels included."""
    marked = set(sources)
    while True:
        before = len(marked)
        _mark_forward(level, marked)
        if len(marked) == before:
            return frozenset(marked)


def arriving(level: Level, targets: Sequence[int]) -> frozenset[int]:
    """Numbers of all values that enter into one of the `targets`, inner levels included."""
    marked = set(targets)
    while True:
        before = len(marked)
        _mark_backward(level, marked)
        if len(marked) == before:
            return frozenset(marked)


def _level(jaxpr: Any, where: Where, calls: tuple[tuple[Where, str], ...], numbers: Any) -> Level:
    values = {var: next(numbers) for var in (*jaxpr.constvars, *jaxpr.invars)}
    nodes: list[Node] = []
    _write_out(jaxpr, values, where, calls, numbers, nodes)
    ins = tuple(values[var] for var in jaxpr.invars)
    return Level(tuple(nodes), ins, tuple(_number(var, values) for var in jaxpr.outvars))


def _write_out(
    jaxpr: Any, values: dict[Any, int], where: Where, calls: tuple[tuple[Where, str], ...], numbers: Any, nodes: list
) -> None:
    for position, eqn in enumerate(jaxpr.eqns):
        here, name = (*where, position), eqn.primitive.name
        ins = tuple(_number(atom, values) for atom in eqn.invars)
        inside = [] if name == "while" else list(inner_jaxprs(eqn))
        if inside and name not in ("scan", "cond"):
            ((tag, body, _),) = inside
            given = (next(numbers) if number is None else number for number in ins)
            within = {var: next(numbers) for var in body.constvars} | dict(zip(body.invars, given, strict=True))
            named = (*calls, (here, str(eqn.params.get("name", name))))
            _write_out(body, within, (*here, *tag), named, numbers, nodes)
            for outvar, atom in zip(eqn.outvars, body.outvars, strict=True):
                number = _number(atom, within)
                values[outvar] = next(numbers) if number is None else number
            continue
        outs = tuple(next(numbers) for _ in eqn.outvars)
        values.update(zip(eqn.outvars, outs, strict=True))
        inner = tuple(_level(body, (*here, *tag), calls, numbers) for tag, body, _ in inside)
        nodes.append(Node(here, eqn, ins, outs, calls, inner))


def _number(atom: Any, values: dict[Any, int]) -> int | None:
    return None if isinstance(atom, Literal) else values[atom]


def _pairs(node: Node) -> tuple[list[tuple[int | None, int]], list[tuple[int | None, int]]]:
    """What a scan or conditional hands in, `(outside, inside)`, and what it hands out or round, `(inside, outside)`."""
    handed_in, handed_out = [], []
    for level in node.inner:
        scan = node.eqn.primitive.name == "scan"
        handed_in += zip(node.inputs if scan else node.inputs[1:], level.inputs, strict=True)
        handed_out += zip(level.outputs, node.outputs, strict=True)
        if scan:
            consts, carried = scan_counts(node.eqn)
            handed_out += zip(level.outputs[:carried], level.inputs[consts : consts + carried], strict=True)
    return handed_in, handed_out


def _mark_forward(level: Level, marked: set[int]) -> None:
    for node in level.nodes:
        handed_in, handed_out = _pairs(node)
        marked.update(inside for outside, inside in handed_in if outside in marked)
        for inner in node.inner:
            _mark_forward(inner, marked)
        marked.update(target for source, target in handed_out if source in marked)
        if not node.inner and marked.intersection(node.inputs):
            marked.update(node.outputs)


def _mark_backward(level: Level, marked: set[int]) -> None:
    for node in reversed(level.nodes):
        handed_in, handed_out = _pairs(node)
        marked.update(source for source, target in handed_out if target in marked and source is not None)
        for inner in node.inner:
            _mark_backward(inner, marked)
        marked.update(outside for outside, inside in handed_in if inside in marked and outside is not None)
        if not node.inner and marked.intersection(node.outputs):
            marked.update(number for number in node.inputs if number is not None)
