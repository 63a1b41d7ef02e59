"""The turns of a scan taken apart: what enters each of them, and the body as a function."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxdl.jaxprs.evaluation import evaluate, scan_counts


class Turns(NamedTuple):
    """What the body of a scan is given, in every turn.

    Attributes:
      consts: the same in all turns.
      carries: `(turns, ...)`, what is carried INTO each turn, in the order of the slices of `xs`.
      xs: `(turns, ...)`, sliced inputs.
    """

    consts: list[Any]
    carries: list[Any]
    xs: list[Any]


def recorded_turns(eqn: Any, arguments: Sequence[Any]) -> Turns:
    """Runs a scan with these arguments and keeps what it carries."""
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = list(arguments[:num_consts]), list(arguments[num_consts:])

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        return run_body(eqn, consts, carry, x)[:num_carry], carry

    start, xs = rest[:num_carry], rest[num_carry:]
    length, reverse = eqn.params["length"], eqn.params["reverse"]
    _, carries = jax.lax.scan(turn, start, xs, length=length, reverse=reverse)
    return Turns(consts, carries, xs)


def run_body(eqn: Any, consts: Sequence[Any], carry: Sequence[Any], x: Sequence[Any]) -> list[Any]:
    """One turn of a scan: what it carries on, then its slices of the outputs."""
    closed = eqn.params["jaxpr"]
    return evaluate(closed.jaxpr, closed.consts, [*consts, *carry, *x], lambda *_: None)
