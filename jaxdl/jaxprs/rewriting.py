"""Rewriting the programs inside of a program: of calls, loops and branches."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax

from jaxdl.jaxprs.evaluation import Rule, bind, evaluate, open_jaxpr


def mentions(value: Any, names: Collection[str]) -> bool:
    """Whether a program, or a parameter of an equation that is or holds programs, has a primitive of such a name."""
    if isinstance(value, (tuple, list)):
        return any(mentions(item, names) for item in value)
    return any(
        eqn.primitive.name in names or any(mentions(inner, names) for inner in eqn.params.values())
        for eqn in getattr(open_jaxpr(value), "eqns", ())
    )


def rewrite_inside(
    eqn: Any,
    arguments: Sequence[Any],
    names: Collection[str],
    rule: Rule,
    *,
    entered: Callable[[Sequence[Any]], None] = lambda inputs: None,
) -> Sequence[Any] | None:
    """Applies an equation with the rule applied in the programs inside it that mention one of the names.

    Calls keep their kind (a remat stays one). None where no program inside mentions any. The rule has to keep shapes
    and dtypes. `entered(inputs)` is told the inputs of every program inside, of which the last n are the last n of the
    arguments.
    """

    def rewritten(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(rewritten(item) if mentions(item, names) else item for item in value)
        jaxpr, consts = open_jaxpr(value), getattr(value, "consts", ())

        def run(*inputs: Any) -> list[Any]:
            entered(inputs)
            return evaluate(jaxpr, consts, inputs, rule)

        shapes = [jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype) for var in jaxpr.invars]
        closed = jax.make_jaxpr(run)(*shapes)
        return closed if isinstance(value, type(closed)) else closed.jaxpr

    replaced = {name: rewritten(value) for name, value in eqn.params.items() if mentions(value, names)}
    return bind(eqn, arguments, **replaced) if replaced else None
