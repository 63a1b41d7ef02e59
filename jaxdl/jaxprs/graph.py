"""A traced program as one flat list of equations, its calls opened: who depends on whom, asked across them."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import Literal

from jaxdl.jaxprs.uses import Where, inner_jaxprs

_LOOPS = ("scan", "while", "cond")


class Node(NamedTuple):
    """An equation; loops, branches and functions with a derivative of their own are nodes as a whole.

    Attributes:
      where: its place, as in `Use.where`.
      eqn: the equation itself.
      inputs, outputs: numbers of the values that it takes and gives; None for a literal.
    """

    where: Where
    eqn: Any
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]

    @property
    def differentiable_inputs(self) -> list[int]:
        """The values through which a gradient may pass: floating-point ones."""
        pairs = zip(self.inputs, self.eqn.invars, strict=True)
        return [value for value, atom in pairs if value is not None and is_floating(atom.aval)]


class Graph(NamedTuple):
    """Values are numbered in the order in which they come to be, the inputs first; a call's are its body's."""

    inputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int | None, ...]

    def producers(self) -> dict[int, tuple[Node, int]]:
        """For each value but the inputs, the equation that gives it, and as which of its outputs."""
        return {value: (node, i) for node in self.nodes for i, value in enumerate(node.outputs)}

    def flow(self, start: dict[int, Any], join: Callable[[Node, list[Any]], Any]) -> dict[int, Any]:
        """Carries facts about values from the inputs on, along all paths that a gradient may take.

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


def is_floating(aval: Any) -> bool:
    """Whether arrays of this kind have a gradient."""
    return jnp.issubdtype(getattr(aval, "dtype", jnp.int32), jnp.inexact)


def flatten(jaxpr: Any) -> Graph:
    """The graph of an open jaxpr."""
    numbers = itertools.count()
    nodes: list[Node] = []

    def walk(jaxpr: Any, inputs: Sequence[int | None], where: Where) -> list[int | None]:
        values: dict[Any, int | None] = dict(zip(jaxpr.invars, inputs, strict=True))
        values.update((var, next(numbers)) for var in jaxpr.constvars)
        number_of = lambda atom: None if isinstance(atom, Literal) else values[atom]  # noqa: E731
        for position, eqn in enumerate(jaxpr.eqns):
            here, ins = (*where, position), tuple(map(number_of, eqn.invars))
            inside = [] if eqn.primitive.name in _LOOPS else list(inner_jaxprs(eqn))
            if inside:
                ((tag, inner, _),) = inside
                outs: Sequence[int | None] = walk(inner, ins, (*here, *tag))
            else:
                node = Node(here, eqn, ins, tuple(next(numbers) for _ in eqn.outvars))
                nodes.append(node)
                outs = node.outputs
            values.update(zip(eqn.outvars, outs, strict=True))
        return [number_of(atom) for atom in jaxpr.outvars]

    inputs = tuple(next(numbers) for _ in jaxpr.invars)
    outputs = walk(jaxpr, inputs, ())
    return Graph(inputs, tuple(nodes), tuple(outputs))
