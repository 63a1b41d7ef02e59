"""Where a traced program uses its parameters: the forward order of layers, for any pure function.

The program `f(params, batch)` is traced to a jaxpr and walked once. Every value carries a label: which parameters it
was made from while no data had entered yet, or that data have entered it. An equation in which a parameter-only value
meets data is a use. Calls (jit, remat, scan, cond, while) are walked inside.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from jaxdl.jaxprs import open_jaxpr, scan_counts

PyTree = Any


class Label(NamedTuple):
    """What a value was made from: parameters (by leaf number), and whether data entered."""

    params: frozenset[int] = frozenset()
    data: bool = False


@dataclass(frozen=True)
class Use:
    """One place where parameters meet data.

    Attributes:
      where: positions of the equation, one for each level of nesting; equal to itself in every trace.
      primitive: name of the equation's primitive.
      params: numbers of the parameter leaves that enter here.
      feature_axes: axes of the output that belong to the parameter's own outputs (the units of a layer), or None
        where the equation is no product with the parameter.
      feature_shape: their lengths.
      additive: whether the parameter is added to the data, as a bias is.
    """

    where: tuple[int, ...]
    primitive: str
    params: frozenset[int]
    feature_axes: tuple[int, ...] | None
    feature_shape: tuple[int, ...]
    additive: bool


def find_uses(closed_jaxpr: Any, *, num_params: int) -> list[Use]:
    """All uses of the first `num_params` inputs in forward order; the remaining inputs are data."""
    labels = [Label(frozenset((i,))) for i in range(num_params)]
    labels += [Label(data=True)] * (len(closed_jaxpr.jaxpr.invars) - num_params)
    uses: list[Use] = []
    _walk(closed_jaxpr.jaxpr, labels, (), uses.append)
    return uses


def _walk(jaxpr: Any, inputs: Sequence[Label], where: tuple[int, ...], record: Callable[[Use], None]) -> list[Label]:
    labels = dict(zip(jaxpr.invars, inputs, strict=True))

    def label_of(atom: Any) -> Label:
        return Label() if isinstance(atom, Literal) else labels.get(atom, Label())

    for position, eqn in enumerate(jaxpr.eqns):
        ins = [label_of(atom) for atom in eqn.invars]
        here = (*where, position)
        inside = list(inner_jaxprs(eqn)) if _meets(ins) or _may_meet(eqn, ins) else []
        if inside:
            outs = _walk_inside(eqn, ins, inside, here, record)
        else:
            if _meets(ins):
                record(_use(eqn, ins, here))
            data = any(label.data for label in ins)
            params = frozenset() if data else frozenset().union(*(label.params for label in ins))
            outs = [Label(params, data)] * len(eqn.outvars)
        labels.update(zip(eqn.outvars, outs, strict=True))
    return [label_of(atom) for atom in jaxpr.outvars]


def _meets(labels: Sequence[Label]) -> bool:
    return any(label.data for label in labels) and any(label.params and not label.data for label in labels)


def _may_meet(eqn: Any, labels: Sequence[Label]) -> bool:
    # A loop may feed data to a parameter only in a later turn; a branch may hold what its operands do not show.
    return eqn.primitive.name in ("scan", "while", "cond") and any(label.params for label in labels)


def inner_jaxprs(eqn: Any) -> Iterator[tuple[tuple[int, ...], Any, slice]]:
    """`(tag, jaxpr, operands)` of the programs inside an equation, with the slice of operands each one takes."""
    name, params = eqn.primitive.name, eqn.params
    if name in ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"):
        return  # these bring their own derivative: they are left whole
    if name == "while":
        num_cond = params["cond_nconsts"]
        yield (0,), open_jaxpr(params["body_jaxpr"]), slice(num_cond, None)
    elif name == "cond":
        for branch, closed in enumerate(params["branches"]):
            yield (branch,), open_jaxpr(closed), slice(1, None)
    else:
        for key in ("jaxpr", "call_jaxpr"):
            if key in params:
                inner = open_jaxpr(params[key])
                if len(inner.invars) == len(eqn.invars):
                    yield (0,), inner, slice(None)
                return


def _walk_inside(
    eqn: Any, ins: list[Label], inside: list[Any], here: tuple[int, ...], record: Callable[[Use], None]
) -> list[Label]:
    outs = [Label()] * len(eqn.outvars)
    for tag, jaxpr, operands in inside:
        inputs = ins[operands]
        if eqn.primitive.name in ("scan", "while"):
            inputs = _with_settled_carry(eqn, jaxpr, inputs)
        results = _walk(jaxpr, inputs, (*here, *tag), record)
        outs = [_union(a, b) for a, b in zip(outs, results, strict=True)]
    return outs


def _with_settled_carry(eqn: Any, jaxpr: Any, inputs: list[Label]) -> list[Label]:
    """Labels of a loop body's inputs once what it carries has gone round until nothing changes."""
    if eqn.primitive.name == "scan":
        first, count = scan_counts(eqn)
    else:
        first = eqn.params["body_nconsts"]
        count = len(inputs) - first
    while True:
        outs = _walk(jaxpr, inputs, (), lambda use: None)
        carried = [_union(a, b) for a, b in zip(inputs[first : first + count], outs[:count], strict=True)]
        settled = [*inputs[:first], *carried, *inputs[first + count :]]
        if settled == inputs:
            return inputs
        inputs = settled


def _union(a: Label, b: Label) -> Label:
    data = a.data or b.data
    return Label(frozenset() if data else a.params | b.params, data)


def _use(eqn: Any, ins: list[Label], here: tuple[int, ...]) -> Use:
    operand = next(i for i, label in enumerate(ins) if label.params and not label.data)
    params = frozenset().union(*(label.params for label in ins if not label.data))
    name = eqn.primitive.name
    axes = _feature_axes(eqn, name, operand)
    shape = eqn.outvars[0].aval.shape
    lengths = () if axes is None else tuple(shape[axis] for axis in axes)
    return Use(here, name, params, axes, lengths, name in ("add", "add_any"))


def _feature_axes(eqn: Any, name: str, operand: int) -> tuple[int, ...] | None:
    ndim = len(eqn.outvars[0].aval.shape)
    if name == "dot_general":
        (lhs_contracted, _), (lhs_batch, _) = eqn.params["dimension_numbers"]
        num_batch = len(lhs_batch)
        lhs_free = len(eqn.invars[0].aval.shape) - num_batch - len(lhs_contracted)
        return (
            tuple(range(num_batch, num_batch + lhs_free)) if operand == 0 else tuple(range(num_batch + lhs_free, ndim))
        )
    if name == "conv_general_dilated" and operand == 1:
        return (eqn.params["dimension_numbers"].out_spec[1],)
    if name == "gather" and operand == 0:
        return tuple(eqn.params["dimension_numbers"].offset_dims)
    return None


def trace(fn: Callable[[PyTree, PyTree], Any], params: PyTree, batch: PyTree) -> Any:
    """The jaxpr of `fn(params, batch)`, its inputs the leaves of params, then those of batch."""
    return jax.make_jaxpr(fn)(params, batch)
