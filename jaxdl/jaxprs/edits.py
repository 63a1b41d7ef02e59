"""Running a traced program with the outputs of chosen uses edited, or measured.

An edit brings a vector, and a function says what becomes of a use's output and that vector: a virtual bias is added, a
measurement is taken. Where a scan takes another slice of a stacked parameter in every turn, it takes another slice of
the vector, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.jaxprs.evaluation import bind, evaluate, scan_counts
from jaxdl.jaxprs.uses import Use, Where, inner_jaxprs

# `alter(output, vector, use)` gives what stands in the output's place.
Alter = Callable[[jax.Array, jax.Array, Use], jax.Array]
# `measure(output, vector, use)` gives a reading of the vector's shape and dtype.
Measure = Callable[[jax.Array, jax.Array, Use], jax.Array]
# What stands in the output's place, and the reading.
_Visit = Callable[[jax.Array, jax.Array, Use], tuple[jax.Array, jax.Array]]


class Edit(NamedTuple):
    """A use and the vector that comes to it; `vector` has the lengths of the scans that slice the parameter first."""

    use: Use
    vector: jax.Array


def vector_shape(closed_jaxpr: Any, use: Use, own: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a use's vector: lengths of the scans that slice the parameter, then `own`, that of one turn."""
    return (*(_length_of(closed_jaxpr.jaxpr, scan) for scan in use.sliced_by), *own)


def evaluate_edited(closed_jaxpr: Any, inputs: Sequence[Any], edits: Sequence[Edit], alter: Alter) -> list[Any]:
    """Evaluates a closed jaxpr with `alter` applied to the outputs of the edits' uses."""

    def visit(output: jax.Array, vector: jax.Array, use: Use) -> tuple[jax.Array, jax.Array]:
        return alter(output, vector, use), jnp.zeros_like(vector)

    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), edits, visit)[0]


def readings(closed_jaxpr: Any, inputs: Sequence[Any], edits: Sequence[Edit], measure: Measure) -> list[jax.Array]:
    """What `measure` says of each edit's use, each in the shape of its vector; the program computes what it did.

    Readings of a use that is met several times, in a loop, are summed, unless every turn has a vector of its own; one
    in a branch that is not taken is 0.
    """

    def visit(output: jax.Array, vector: jax.Array, use: Use) -> tuple[jax.Array, jax.Array]:
        return output, measure(output, vector, use)

    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), edits, visit)[1]


def _length_of(jaxpr: Any, where: Where) -> int:
    position, *rest = where
    eqn = jaxpr.eqns[position]
    if not rest:
        return eqn.params["length"]
    inner = {tag: jaxpr for tag, jaxpr, _ in inner_jaxprs(eqn)}[(rest[0],)]
    return _length_of(inner, tuple(rest[1:]))


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], where: Where, edits: Sequence[Edit], visit: _Visit
) -> tuple[list[Any], list[jax.Array]]:
    """Outputs, and a reading for every edit: 0 for those whose use is elsewhere."""
    found = [jnp.zeros_like(edit.vector) for edit in edits]

    def rule(position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        here = (*where, position)
        inside = [i for i, edit in enumerate(edits) if edit.use.where[: len(here)] == here]
        if not inside:
            return None
        if edits[inside[0]].use.where == here:
            (output,) = bind(eqn, arguments)
            for i in inside:
                output, found[i] = visit(output, edits[i].vector, edits[i].use)
            return [output]
        outputs, read = _evaluate_inside(eqn, arguments, here, [edits[i] for i in inside], visit)
        for i, reading in zip(inside, read, strict=True):
            found[i] = reading
        return outputs

    return evaluate(jaxpr, consts, inputs, rule), found


def _evaluate_inside(
    eqn: Any, arguments: list[Any], here: Where, edits: Sequence[Edit], visit: _Visit
) -> tuple[Sequence[Any], Sequence[jax.Array]]:
    if eqn.primitive.name == "scan":
        return _scan(eqn, arguments, here, edits, visit)
    if eqn.primitive.name == "cond":
        branches = [
            lambda *operands, tag=tag, jaxpr=jaxpr, consts=closed.consts: _evaluate(
                jaxpr, consts, operands, (*here, *tag), edits, visit
            )
            for (tag, jaxpr, _), closed in zip(inner_jaxprs(eqn), eqn.params["branches"], strict=True)
        ]
        return jax.lax.switch(arguments[0], branches, *arguments[1:])
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return _evaluate(jaxpr, getattr(inner, "consts", ()), arguments, (*here, *tag), edits, visit)


def _scan(
    eqn: Any, arguments: list[Any], here: Where, edits: Sequence[Edit], visit: _Visit
) -> tuple[list[Any], list[jax.Array]]:
    params = eqn.params
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = arguments[:num_consts], arguments[num_consts:]
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    is_sliced = [here in edit.use.sliced_by for edit in edits]

    def body(carry: list[Any], turn: tuple[list[Any], list[jax.Array]]) -> tuple[list[Any], Any]:
        x, vectors = turn
        slices = iter(vectors)
        now = [edit._replace(vector=next(slices)) if own else edit for edit, own in zip(edits, is_sliced, strict=True)]
        outputs, read = _evaluate(jaxpr, params["jaxpr"].consts, [*consts, *carry, *x], (*here, *tag), now, visit)
        return outputs[:num_carry], (outputs[num_carry:], read)

    carry, (ys, read) = jax.lax.scan(
        body,
        rest[:num_carry],
        (rest[num_carry:], [edit.vector for edit, own in zip(edits, is_sliced, strict=True) if own]),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    summed = [reading if own else reading.sum(0) for reading, own in zip(read, is_sliced, strict=True)]
    return [*carry, *ys], summed
