"""The gradient that a bias would have, for layers that have none.

Every use of such a layer's weight is given one shared zero vector, added to its outputs along the units. The gradient
of the mean loss with respect to that vector is the mean over the examples of dC/db of the bias the layer lacks. Where
a scan takes another slice of a stacked weight in every turn, it takes another slice of the vector, too.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.uses import Use, Where, inner_jaxprs
from jaxdl.jaxprs import bind, evaluate, scan_counts


class Shift(NamedTuple):
    """A vector to add where a weight is used; `vector` has the scans' lengths first, then the units."""

    use: Use
    vector: jax.Array


def shift_shape(closed_jaxpr: Any, use: Use) -> tuple[int, ...]:
    """The shape of a use's vector: lengths of the scans that slice the weight, then the units of the layer."""
    return (*(_length_of(closed_jaxpr.jaxpr, scan) for scan in use.sliced_by), *use.feature_shape)


def evaluate_shifted(closed_jaxpr: Any, inputs: Sequence[Any], shifts: Sequence[Shift]) -> list[Any]:
    """Evaluates a jaxpr with the shifts added to the outputs of their uses."""
    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), shifts)


def _length_of(jaxpr: Any, where: Where) -> int:
    position, *rest = where
    eqn = jaxpr.eqns[position]
    if not rest:
        return eqn.params["length"]
    inner = {tag: jaxpr for tag, jaxpr, _ in inner_jaxprs(eqn)}[(rest[0],)]
    return _length_of(inner, tuple(rest[1:]))


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], where: Where, shifts: Sequence[Shift]
) -> list[Any]:
    def rule(position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        here = (*where, position)
        inside = [shift for shift in shifts if shift.use.where[: len(here)] == here]
        if not inside:
            return None
        if inside[0].use.where == here:
            (output,) = bind(eqn, arguments)
            for shift in inside:
                output = output + _spread(shift, output)
            return [output]
        return _evaluate_inside(eqn, arguments, here, inside)

    return evaluate(jaxpr, consts, inputs, rule)


def _spread(shift: Shift, output: jax.Array) -> jax.Array:
    others = [axis for axis in range(output.ndim) if axis not in (shift.use.feature_axes or ())]
    return jnp.expand_dims(shift.vector.astype(output.dtype), others)


def _evaluate_inside(eqn: Any, arguments: list[Any], here: Where, shifts: Sequence[Shift]) -> Sequence[Any]:
    if eqn.primitive.name == "scan":
        return _scan(eqn, arguments, here, shifts)
    if eqn.primitive.name == "cond":
        branches = [
            lambda *operands, tag=tag, jaxpr=jaxpr, consts=closed.consts: _evaluate(
                jaxpr, consts, operands, (*here, *tag), shifts
            )
            for (tag, jaxpr, _), closed in zip(inner_jaxprs(eqn), eqn.params["branches"], strict=True)
        ]
        return jax.lax.switch(arguments[0], branches, *arguments[1:])
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return _evaluate(jaxpr, getattr(inner, "consts", ()), arguments, (*here, *tag), shifts)


def _scan(eqn: Any, arguments: list[Any], here: Where, shifts: Sequence[Shift]) -> list[Any]:
    params = eqn.params
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = arguments[:num_consts], arguments[num_consts:]
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    sliced = [shift for shift in shifts if here in shift.use.sliced_by]
    whole = [shift for shift in shifts if here not in shift.use.sliced_by]

    def body(carry: list[Any], turn: tuple[list[Any], list[jax.Array]]) -> tuple[list[Any], list[Any]]:
        x, vectors = turn
        now = whole + [shift._replace(vector=vector) for shift, vector in zip(sliced, vectors, strict=True)]
        outputs = _evaluate(jaxpr, params["jaxpr"].consts, [*consts, *carry, *x], (*here, *tag), now)
        return outputs[:num_carry], outputs[num_carry:]

    carry, ys = jax.lax.scan(
        body,
        rest[:num_carry],
        (rest[num_carry:], [shift.vector for shift in sliced]),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys]
