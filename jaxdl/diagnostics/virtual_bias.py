"""The gradient that a bias would have, for layers that have none.

Every use of such a layer's weight is given one shared zero vector, added to its outputs along the units. The gradient
of the mean loss with respect to that vector is the mean over the examples of dC/db of the bias the layer lacks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.uses import inner_jaxprs
from jaxdl.jaxprs import bind, evaluate, scan_counts

Shifts = Mapping[tuple[int, ...], tuple[jax.Array, tuple[int, ...]]]


def evaluate_shifted(closed_jaxpr: Any, inputs: Sequence[Any], shifts: Shifts) -> list[Any]:
    """Evaluates a jaxpr, adding `shifts[where] = (vector, axes)` to the output of the equation at `where`."""
    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), shifts)


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], where: tuple[int, ...], shifts: Shifts
) -> list[Any]:
    def rule(position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        here = (*where, position)
        if here in shifts:
            return [_shifted(bind(eqn, arguments)[0], *shifts[here])]
        if any(key[: len(here)] == here for key in shifts):
            return _evaluate_inside(eqn, arguments, here, shifts)
        return None

    return evaluate(jaxpr, consts, inputs, rule)


def _shifted(output: jax.Array, vector: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    others = [axis for axis in range(output.ndim) if axis not in axes]
    return output + jnp.expand_dims(vector.astype(output.dtype), others)


def _evaluate_inside(eqn: Any, arguments: list[Any], here: tuple[int, ...], shifts: Shifts) -> Sequence[Any]:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return _scan(eqn, arguments, here, shifts)
    if name == "cond":
        branches = [
            lambda *operands, tag=tag, jaxpr=jaxpr, consts=closed.consts: _evaluate(
                jaxpr, consts, operands, (*here, *tag), shifts
            )
            for (tag, jaxpr, _), closed in zip(inner_jaxprs(eqn), params["branches"], strict=True)
        ]
        return jax.lax.switch(arguments[0], branches, *arguments[1:])
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    return _evaluate(jaxpr, getattr(inner, "consts", ()), arguments, (*here, *tag), shifts)


def _scan(eqn: Any, arguments: list[Any], here: tuple[int, ...], shifts: Shifts) -> list[Any]:
    params = eqn.params
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = arguments[:num_consts], arguments[num_consts:]
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        outputs = _evaluate(jaxpr, params["jaxpr"].consts, [*consts, *carry, *x], (*here, *tag), shifts)
        return outputs[:num_carry], outputs[num_carry:]

    carry, ys = jax.lax.scan(
        body, rest[:num_carry], rest[num_carry:], length=params["length"], reverse=params["reverse"],
        unroll=params["unroll"],
    )  # fmt: skip
    return [*carry, *ys]
