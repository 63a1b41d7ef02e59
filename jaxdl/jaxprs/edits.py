"""Running a traced program with the outputs of chosen uses edited.

An edit brings a vector, and a function says what becomes of a use's output and that vector: a virtual bias is added, a
measurement taps the output. Where a scan takes another slice of a stacked parameter in every turn, it takes another
slice of the vector, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jaxdl.jaxprs.evaluation import bind, evaluate, scan_counts
from jaxdl.jaxprs.uses import Use, Where, inner_jaxprs

# `alter(output, vector, use)` gives what stands in the output's place.
Alter = Callable[[jax.Array, jax.Array, Use], jax.Array]


class Edit(NamedTuple):
    """A use and the vector that comes to it; `vector` has the lengths of the scans that slice the parameter first."""

    use: Use
    vector: jax.Array


def vector_shape(closed_jaxpr: Any, use: Use, own: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a use's vector: lengths of the scans that slice the parameter, then `own`, that of one turn."""
    return (*(_length_of(closed_jaxpr.jaxpr, scan) for scan in use.sliced_by), *own)


def evaluate_edited(closed_jaxpr: Any, inputs: Sequence[Any], edits: Sequence[Edit], alter: Alter) -> list[Any]:
    """Evaluates a closed jaxpr with `alter` applied to the outputs of the edits' uses."""
    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), edits, alter)


def _length_of(jaxpr: Any, where: Where) -> int:
    position, *rest = where
    eqn = jaxpr.eqns[position]
    if not rest:
        return eqn.params["length"]
    inner = {tag: jaxpr for tag, jaxpr, _ in inner_jaxprs(eqn)}[(rest[0],)]
    return _length_of(inner, tuple(rest[1:]))


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], where: Where, edits: Sequence[Edit], alter: Alter
) -> list[Any]:
    def rule(position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        here = (*where, position)
        inside = [edit for edit in edits if edit.use.where[: len(here)] == here]
        if not inside:
            return None
        if inside[0].use.where == here:
            (output,) = bind(eqn, arguments)
            for edit in inside:
                output = alter(output, edit.vector, edit.use)
            return [output]
        return _evaluate_inside(eqn, arguments, here, inside, alter)

    return evaluate(jaxpr, consts, inputs, rule)


def _evaluate_inside(eqn: Any, arguments: list[Any], here: Where, edits: Sequence[Edit], alter: Alter) -> Sequence[Any]:
    if eqn.primitive.name == "scan":
        return _scan(eqn, arguments, here, edits, alter)
    if eqn.primitive.name == "cond":
        branches = [
            lambda *operands, tag=tag, jaxpr=jaxpr, consts=closed.consts: _evaluate(
                jaxpr, consts, operands, (*here, *tag), edits, alter
            )
            for (tag, jaxpr, _), closed in zip(inner_jaxprs(eqn), eqn.params["branches"], strict=True)
        ]
        return jax.lax.switch(arguments[0], branches, *arguments[1:])
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return _evaluate(jaxpr, getattr(inner, "consts", ()), arguments, (*here, *tag), edits, alter)


def _scan(eqn: Any, arguments: list[Any], here: Where, edits: Sequence[Edit], alter: Alter) -> list[Any]:
    params = eqn.params
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = arguments[:num_consts], arguments[num_consts:]
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    sliced = [edit for edit in edits if here in edit.use.sliced_by]
    whole = [edit for edit in edits if here not in edit.use.sliced_by]

    def body(carry: list[Any], turn: tuple[list[Any], list[jax.Array]]) -> tuple[list[Any], list[Any]]:
        x, vectors = turn
        now = whole + [edit._replace(vector=vector) for edit, vector in zip(sliced, vectors, strict=True)]
        outputs = _evaluate(jaxpr, params["jaxpr"].consts, [*consts, *carry, *x], (*here, *tag), now, alter)
        return outputs[:num_carry], outputs[num_carry:]

    carry, ys = jax.lax.scan(
        body,
        rest[:num_carry],
        (rest[num_carry:], [edit.vector for edit in sliced]),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys]
