"""Running a traced program with taps on chosen equations: what comes out there can be read, and changed.

An equation may lie in calls, branches and scans. A scan around it stacks the readings of its turns, and hands each
turn its slice of what the tap brings along.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.jaxprs.evaluation import bind, evaluate, scan_counts
from jaxdl.jaxprs.uses import Where, inner_jaxprs

PyTree = Any
# `visit(arguments, outputs, extra)` gives the outputs to go on with, and a reading, any pytree of arrays.
Visit = Callable[[Sequence[Any], Sequence[Any], PyTree], tuple[Sequence[Any], PyTree]]


class Tap(NamedTuple):
    """An equation to stop at.

    Attributes:
      where: place of the equation, as in `Use.where`.
      visit: what to do there.
      extra: what comes to it; leaves have the lengths of the scans that slice it first, the outermost scan's before.
      sliced_by: places of those scans; None: every scan around the equation.
    """

    where: Where
    visit: Visit
    extra: PyTree = ()
    sliced_by: tuple[Where, ...] | None = None


def evaluate_tapped(closed_jaxpr: Any, inputs: Sequence[Any], taps: Sequence[Tap]) -> tuple[list[Any], list[PyTree]]:
    """Outputs of a closed jaxpr, and the reading of every tap.

    Leaves of a reading have the lengths of ALL scans around the equation first. One in a branch that is not taken is
    0. Equations inside `while` loops cannot be tapped: the number of their turns is not known.
    """
    return _evaluate(closed_jaxpr.jaxpr, closed_jaxpr.consts, inputs, (), taps)


def scans_around(closed_jaxpr: Any, where: Where) -> list[tuple[Where, int]]:
    """Places and lengths of the scans around an equation, the outermost first."""
    found: list[tuple[Where, int]] = []
    jaxpr, here = closed_jaxpr.jaxpr, ()
    while len(here) + 1 < len(where):
        eqn = jaxpr.eqns[where[len(here)]]
        here = where[: len(here) + 1]
        if eqn.primitive.name == "scan":
            found.append((here, eqn.params["length"]))
        tag = where[len(here) : len(here) + 1]
        jaxpr = {tag: inner for tag, inner, _ in inner_jaxprs(eqn)}[tag]
        here = (*here, *tag)
    return found


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], where: Where, taps: Sequence[Tap]
) -> tuple[list[Any], list[PyTree]]:
    found: list[PyTree] = [None] * len(taps)

    def rule(position: int, eqn: Any, arguments: list[Any]) -> Sequence[Any] | None:
        here = (*where, position)
        met = [i for i, tap in enumerate(taps) if tap.where[: len(here)] == here]
        if not met:
            return None
        inside = [i for i in met if taps[i].where != here]
        if inside:
            outputs, read = _evaluate_inside(eqn, arguments, here, [taps[i] for i in inside])
            for i, reading in zip(inside, read, strict=True):
                found[i] = reading
        else:
            outputs = bind(eqn, arguments)
        for i in (i for i in met if taps[i].where == here):
            outputs, found[i] = taps[i].visit(arguments, outputs, taps[i].extra)
        return outputs

    return evaluate(jaxpr, consts, inputs, rule), found


def _evaluate_inside(
    eqn: Any, arguments: list[Any], here: Where, taps: Sequence[Tap]
) -> tuple[Sequence[Any], Sequence[PyTree]]:
    if eqn.primitive.name == "while":
        raise ValueError(f"taps: expected none inside a while loop; got one in the equation at {here}. Use a scan.")
    if eqn.primitive.name == "scan":
        return _scan(eqn, arguments, here, taps)
    if eqn.primitive.name == "cond":
        return _cond(eqn, arguments, here, taps)
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return _evaluate(jaxpr, getattr(inner, "consts", ()), arguments, (*here, *tag), taps)


def _scan(eqn: Any, arguments: list[Any], here: Where, taps: Sequence[Tap]) -> tuple[list[Any], list[PyTree]]:
    params = eqn.params
    num_consts, num_carry = scan_counts(eqn)
    consts, rest = arguments[:num_consts], arguments[num_consts:]
    ((tag, jaxpr, _),) = inner_jaxprs(eqn)
    sliced = [tap.sliced_by is None or here in tap.sliced_by for tap in taps]

    def body(carry: list[Any], turn: tuple[list[Any], list[PyTree]]) -> tuple[list[Any], Any]:
        x, slices = turn
        extras = iter(slices)
        now = [tap._replace(extra=next(extras)) if own else tap for tap, own in zip(taps, sliced, strict=True)]
        outputs, read = _evaluate(jaxpr, params["jaxpr"].consts, [*consts, *carry, *x], (*here, *tag), now)
        return outputs[:num_carry], (outputs[num_carry:], read)

    carry, (ys, read) = jax.lax.scan(
        body,
        rest[:num_carry],
        (rest[num_carry:], [tap.extra for tap, own in zip(taps, sliced, strict=True) if own]),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys], read


def _cond(eqn: Any, arguments: list[Any], here: Where, taps: Sequence[Tap]) -> tuple[Sequence[Any], list[PyTree]]:
    inside = list(inner_jaxprs(eqn))
    homes = [next(i for i, (tag, *_) in enumerate(inside) if tap.where[len(here) :][: len(tag)] == tag) for tap in taps]

    def branch(i: int) -> Callable[..., tuple[Sequence[Any], list[PyTree]]]:
        tag, jaxpr, _ = inside[i]
        own = [tap for tap, home in zip(taps, homes, strict=True) if home == i]
        return lambda *operands: _evaluate(jaxpr, eqn.params["branches"][i].consts, operands, (*here, *tag), own)

    operands = arguments[1:]
    shapes = [iter(jax.eval_shape(branch(i), *operands)[1]) for i in range(len(inside))]
    blank = [jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), next(shapes[home])) for home in homes]

    def filled(i: int) -> Callable[..., tuple[Sequence[Any], list[PyTree]]]:
        def run(*operands: Any) -> tuple[Sequence[Any], list[PyTree]]:
            outputs, read = branch(i)(*operands)
            own = iter(read)
            return outputs, [next(own) if home == i else zeros for home, zeros in zip(homes, blank, strict=True)]

        return run

    return jax.lax.switch(arguments[0], [filled(i) for i in range(len(inside))], *operands)
