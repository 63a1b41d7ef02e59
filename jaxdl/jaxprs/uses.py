"""Where a traced program uses its parameters: the forward order of layers, for any pure function.

The program `f(params, batch)` is traced to a jaxpr and walked once. Every value carries a label: which parameters it
was made from while no data had entered yet, or that data have entered it. An equation in which a parameter-only value
meets data is a use. Calls (jit, remat, scan, cond, while) are walked inside; what nothing depends on is passed over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from jaxdl.jaxprs.evaluation import open_jaxpr, scan_counts

PyTree = Any
Where = tuple[int, ...]

# Primitives that move the numbers of a parameter about and change none.
_REARRANGING = {
    "reshape", "broadcast_in_dim", "transpose", "squeeze", "expand_dims", "convert_element_type", "concatenate",
    "slice", "dynamic_slice", "rev", "copy", "copy_p", "pad", "split", "reduce_precision", "stop_gradient",
}  # fmt: skip
_IN_PLACE = {"convert_element_type", "copy", "copy_p", "reduce_precision", "stop_gradient"}


class Label(NamedTuple):
    """What a value was made from.

    Attributes:
      params: numbers of the parameter leaves, while no data have entered.
      data: whether data have.
      rearranged: those of `params` whose numbers were only moved about on the way.
      repeated: whether some of them stand in the value several times.
      sliced_by: places of the scans that take one slice of it a turn.
      sliced_axes: the axis of the parameter that each of them goes along, None where that is not known.
      axes: the parameter's own axis for every axis of the value, while it is the parameter with its axes permuted at
        most; else None.
    """

    params: frozenset[int] = frozenset()
    data: bool = False
    rearranged: frozenset[int] = frozenset()
    repeated: bool = False
    sliced_by: tuple[Where, ...] = ()
    sliced_axes: tuple[int | None, ...] = ()
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Use:
    """One place where parameters meet data.

    Attributes:
      where: positions of the equation, one for each level of nesting; equal to itself in every trace.
      primitive: name of the equation's primitive.
      params: numbers of the parameter leaves that enter here.
      rearranged: those that come as they are, but for their arrangement.
      feature_axes: axes of the output that belong to the parameter's own outputs (the units of a layer), or None
        where the equation is no product with the parameter.
      feature_shape: their lengths.
      sliced_by: places of the scans around it that give it another slice of the parameter in every turn.
      sliced_axes: the axis of the parameter that each of them goes along, None where that is not known.
      summed_axes: axes of the parameter that the product sums over; None where that is not known.
      batch_axes: axes of the parameter along which it holds one factor for each entry of a batch of products.
    """

    where: Where
    primitive: str
    params: frozenset[int]
    rearranged: frozenset[int]
    feature_axes: tuple[int, ...] | None
    feature_shape: tuple[int, ...]
    sliced_by: tuple[Where, ...]
    sliced_axes: tuple[int | None, ...]
    summed_axes: tuple[int, ...] | None
    batch_axes: tuple[int, ...]

    @property
    def additive(self) -> bool:
        """Whether the parameter is added to the data, as a bias is."""
        return self.primitive in ("add", "add_any")


Record = Callable[[Use], None]


def find_uses(closed_jaxpr: Any, *, num_params: int) -> list[Use]:
    """All uses of the first `num_params` inputs in forward order; the remaining inputs are data."""
    invars = closed_jaxpr.jaxpr.invars
    labels = [
        Label(frozenset((i,)), rearranged=frozenset((i,)), axes=tuple(range(len(invars[i].aval.shape))))
        for i in range(num_params)
    ]
    labels += [Label(data=True)] * (len(invars) - num_params)
    uses: list[Use] = []
    _walk(closed_jaxpr.jaxpr, labels, (), uses.append)
    return uses


def _walk(jaxpr: Any, inputs: Sequence[Label], where: Where, record: Record) -> list[Label]:
    labels = dict(zip(jaxpr.invars, inputs, strict=True))
    needed = _needed(jaxpr)

    def label_of(atom: Any) -> Label:
        return Label() if isinstance(atom, Literal) else labels.get(atom, Label())

    for position, eqn in enumerate(jaxpr.eqns):
        if position not in needed:
            continue
        ins = [label_of(atom) for atom in eqn.invars]
        here = (*where, position)
        inside = list(inner_jaxprs(eqn)) if _meets(ins) or _may_meet(eqn, ins) else []
        if inside:
            outs = _walk_inside(eqn, ins, inside, here, record)
        else:
            if _meets(ins):
                record(_use(eqn, ins, here))
            outs = [_result(eqn, ins)] * len(eqn.outvars)
        labels.update(zip(eqn.outvars, outs, strict=True))
    return [label_of(atom) for atom in jaxpr.outvars]


def _needed(jaxpr: Any) -> set[int]:
    """Positions of the equations on which the outputs depend, or that have effects."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    positions = set()
    for position in reversed(range(len(jaxpr.eqns))):
        eqn = jaxpr.eqns[position]
        if eqn.effects or wanted.intersection(eqn.outvars):
            positions.add(position)
            wanted.update(atom for atom in eqn.invars if not isinstance(atom, Literal))
    return positions


def _meets(labels: Sequence[Label]) -> bool:
    return any(label.data for label in labels) and any(label.params and not label.data for label in labels)


def _may_meet(eqn: Any, labels: Sequence[Label]) -> bool:
    # A loop may feed data to a parameter only in a later turn; a branch may hold what its operands do not show.
    return eqn.primitive.name in ("scan", "while", "cond") and any(label.params for label in labels)


def _result(eqn: Any, ins: Sequence[Label]) -> Label:
    """The label of an ordinary equation's outputs."""
    joined = Label()
    for label in ins:
        joined = _union(joined, label)
    if joined.data or eqn.primitive.name not in _REARRANGING:
        return joined._replace(rearranged=frozenset(), axes=None)
    joined = joined._replace(axes=_permuted(eqn, ins[0].axes))
    grows = eqn.primitive.name == "broadcast_in_dim" and eqn.outvars[0].aval.size > eqn.invars[0].aval.size
    return joined._replace(repeated=joined.repeated or grows)


def _permuted(eqn: Any, axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """`Label.axes` of the output of an equation that rearranges a value with these axes."""
    if axes is not None and eqn.primitive.name == "transpose":
        return tuple(axes[axis] for axis in eqn.params["permutation"])
    return axes if eqn.primitive.name in _IN_PLACE else None


def inner_jaxprs(eqn: Any) -> Iterator[tuple[Where, Any, slice]]:
    """`(tag, jaxpr, operands)` of the programs inside an equation, with the slice of operands each one takes."""
    name, params = eqn.primitive.name, eqn.params
    if name in ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"):
        return  # these bring their own derivative: they are left whole
    if name == "while":
        yield (0,), open_jaxpr(params["body_jaxpr"]), slice(params["cond_nconsts"], None)
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


def _walk_inside(eqn: Any, ins: list[Label], inside: list[Any], here: Where, record: Record) -> list[Label]:
    name = eqn.primitive.name
    outs = [Label()] * len(eqn.outvars)
    for tag, jaxpr, operands in inside:
        inputs = ins[operands]
        if name == "scan":
            num_unsliced = sum(scan_counts(eqn))
            inputs = [*inputs[:num_unsliced], *(_sliced(label, here) for label in inputs[num_unsliced:])]
        if name in ("scan", "while"):
            inputs = _with_settled_carry(eqn, jaxpr, inputs)
        # A while loop has no reverse derivative, so nothing inside it can be shifted.
        keep = (lambda use: record(replace(use, feature_axes=None))) if name == "while" else record
        results = _walk(jaxpr, inputs, (*here, *tag), keep)
        outs = [_union(a, b) for a, b in zip(outs, results, strict=True)]
    return outs


def _sliced(label: Label, scan: Where) -> Label:
    first, rest = (None, None) if label.axes is None else (label.axes[0], label.axes[1:])
    return label._replace(sliced_by=(*label.sliced_by, scan), sliced_axes=(*label.sliced_axes, first), axes=rest)


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
    if a.data or b.data:
        return Label(data=True)
    if not (a.params and b.params):
        return a if a.params else b
    sliced_by, sliced_axes = max(
        (a.sliced_by, a.sliced_axes), (b.sliced_by, b.sliced_axes), key=lambda pair: len(pair[0])
    )
    if a.sliced_axes != b.sliced_axes:
        sliced_axes = (None,) * len(sliced_by)
    return Label(
        a.params | b.params,
        False,
        a.rearranged | b.rearranged,
        a.repeated or b.repeated,
        sliced_by,
        sliced_axes,
        a.axes if a == b else None,
    )


def _use(eqn: Any, ins: list[Label], here: Where) -> Use:
    pure = [(i, label) for i, label in enumerate(ins) if label.params and not label.data]
    operand, first = pure[0]
    joined = Label()
    for _, label in pure:
        joined = _union(joined, label)
    name = eqn.primitive.name
    axes = _feature_axes(eqn, name, operand, first.repeated)
    shape = eqn.outvars[0].aval.shape
    lengths = () if axes is None else tuple(shape[axis] for axis in axes)
    summed, batch = _own_axes(eqn, name, operand, joined.axes)
    return Use(
        here, name, joined.params, joined.rearranged, axes, lengths, joined.sliced_by, joined.sliced_axes, summed, batch
    )


def _feature_axes(eqn: Any, name: str, operand: int, repeated: bool) -> tuple[int, ...] | None:
    ndim = len(eqn.outvars[0].aval.shape)
    if name == "dot_general":
        (lhs_contracted, _), (lhs_batch, _) = eqn.params["dimension_numbers"]
        num_batch = len(lhs_batch)
        if num_batch and repeated:
            return None  # one weight or one for each batch entry: the shapes do not tell
        lhs_free = len(eqn.invars[0].aval.shape) - num_batch - len(lhs_contracted)
        first, last = (num_batch, num_batch + lhs_free) if operand == 0 else (num_batch + lhs_free, ndim)
        # Along a batch axis every entry has a weight, and so would have a bias, of its own.
        return (*range(num_batch), *range(first, last))
    if name == "conv_general_dilated" and operand == 1:
        return (eqn.params["dimension_numbers"].out_spec[1],)
    if name == "gather" and operand == 0:
        return tuple(eqn.params["dimension_numbers"].offset_dims)
    return None


def _own_axes(
    eqn: Any, name: str, operand: int, axes: tuple[int, ...] | None
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """`Use.summed_axes` and `Use.batch_axes` of a product with a parameter whose axes are these."""
    if axes is None:
        return None, ()
    if name == "dot_general":
        contracted, batch = (sides[operand] for sides in eqn.params["dimension_numbers"])
        return tuple(axes[axis] for axis in contracted), tuple(axes[axis] for axis in batch)
    if name == "conv_general_dilated" and operand == 1:
        out = axes[eqn.params["dimension_numbers"].rhs_spec[0]]
        return tuple(sorted(set(axes) - {out})), ()
    return None, ()


def trace(fn: Callable[[PyTree, PyTree], Any], params: PyTree, batch: PyTree) -> Any:
    """The jaxpr of `fn(params, batch)`, its inputs the leaves of params, then those of batch."""
    return jax.make_jaxpr(fn)(params, batch)
