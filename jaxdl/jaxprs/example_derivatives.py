"""Functions with a derivative of their own: which parameters enter, and whether the derivative keeps examples apart."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdl.jaxprs.elementwise import is_floating
from jaxdl.jaxprs.evaluation import bind
from jaxdl.jaxprs.example_labels import Label, Mixed


def parametric_leaves(eqn: Any, ins: list[Label]) -> frozenset[int]:
    """Leaves among the inputs of an equation that have a gradient there."""
    pairs = zip(eqn.invars, ins, strict=True)
    return frozenset().union(*(label.leaves for atom, label in pairs if label.parametric and is_floating(atom.aval)))


def mixed_backward(
    eqn: Any, ins: list[Label], outs: list[Label], through: Callable[[Any, list[Label]], list[Label]], place: str
) -> Mixed | None:
    """What mixes examples in the derivative that a function brings along, or None.

    Args:
      eqn: the call of the function.
      ins, outs: labels of its operands and outputs.
      through: walks a jaxpr with labels of its inputs.
      place: of the call.
    """
    name = str(eqn.params.get("name", eqn.primitive.name))
    chosen = [i for i, atom in enumerate(eqn.invars) if is_floating(atom.aval)]
    sources = [i for i, var in enumerate(eqn.outvars) if is_floating(var.aval)]

    def backward(values: list[Any], cotangents: list[Any]) -> Sequence[Any]:
        def forward(*varied: Any) -> list[Any]:
            replaced = dict(zip(chosen, varied, strict=True))
            results = bind(eqn, [replaced.get(i, value) for i, value in enumerate(values)])
            return [results[i] for i in sources]

        return jax.vjp(forward, *(values[i] for i in chosen))[1](cotangents)

    shapes = [atom.aval.update(weak_type=False) for atom in eqn.invars], [eqn.outvars[i].aval for i in sources]
    jaxpr = jax.make_jaxpr(backward)(*jax.tree.map(lambda aval: jax.ShapeDtypeStruct(aval.shape, aval.dtype), shapes))
    summed = Mixed(name, "hands back what all examples have in common", place)
    given = [outs[i] if outs[i].examples is not None else Label(mixed=outs[i].mixed or summed) for i in sources]
    found = through(jaxpr.jaxpr, [*ins, *given])
    for i, label in zip(chosen, found, strict=True):
        if ins[i].examples is not None and label.mixed:
            operation, reason, _ = label.mixed
            return Mixed(operation, f"{reason}, in the derivative of {name}", place)
        if ins[i].examples is not None and label.examples not in (None, ins[i].examples):
            return Mixed(name, "hands the gradients of one example back to others", place)
    return None
