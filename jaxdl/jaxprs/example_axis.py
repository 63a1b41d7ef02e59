"""Proving that a traced program keeps its examples apart, and finding where its parameters meet them.

The program `losses(params, batch) -> (B,)` is walked once with labels: which parameters a value was made from, or
which of its axes is that of the examples. Where a value made of parameters meets one with examples is a site. What
mixes examples is remembered in the label, and told only if the losses depend on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxdl.jaxprs.elementwise import ELEMENTWISE, is_floating, is_real
from jaxdl.jaxprs.evaluation import open_jaxpr, scan_counts, source_line
from jaxdl.jaxprs.example_derivatives import mixed_backward, parametric_leaves
from jaxdl.jaxprs.example_labels import (
    Axis,
    Label,
    Mixed,
    constant_along,
    counted,
    leaf_label,
    own_columns,
    rearranged,
    union,
)  # fmt: skip
from jaxdl.jaxprs.example_rules import Mixing, Unknown, moved, unchanged_along
from jaxdl.jaxprs.uses import Where

_REARRANGING = {"transpose", "squeeze", "broadcast_in_dim", "reshape", "copy", "copy_p"}
_INDEXED = {
    "gather",
    "scatter",
    "scatter-add",
    "scatter-mul",
    "scatter_add",
    "scatter_mul",
    "scatter_min",
    "scatter_max",
}
_MIRRORS = {"optimization_barrier", "device_put"}
# Sites of these primitives are the same equation for one example as for many.
SINGLE = {
    "dot_general", "conv_general_dilated", "gather", "add", "add_any", "sub", "mul", "div", "max", "min", "pow",
    "select_n", "concatenate", "clamp", "atan2",
}  # fmt: skip


class Site(NamedTuple):
    """An equation where parameters meet examples.

    Attributes:
      where: its place, as in `Use.where`.
      eqn: the equation.
      labels: of its operands.
      operands: positions of those made of parameters.
      examples: the axis of the examples in its output.
    """

    where: Where
    eqn: Any
    labels: tuple[Label, ...]
    operands: tuple[int, ...]
    examples: Axis


@dataclass
class Examples:
    """What the walk found.

    Attributes:
      sites: in forward order.
      opaque: parameter leaves used where no site can be made, and why.
      positional: values that differ from example to example without being an example's own, such as random masks.
      losses: label of the losses.
    """

    sites: list[Site] = field(default_factory=list)
    opaque: dict[int, str] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    losses: Label = field(default_factory=Label)


def find_sites(closed_jaxpr: Any, *, num_params: int) -> Examples:
    """Walks `losses(params, batch) -> (B,)`; the first inputs are leaves of params, the others have examples first."""
    invars = closed_jaxpr.jaxpr.invars
    labels = [leaf_label(i, len(var.aval.shape)) for i, var in enumerate(invars[:num_params])]
    labels += [Label(examples=Axis(0))] * (len(invars) - num_params)
    found = Examples()
    walk = _Walk(
        site=found.sites.append,
        opaque=lambda leaves, why: found.opaque.update({i: why for i in leaves if i not in found.opaque}),
        note=lambda what: found.positional.append(what) if what not in found.positional else None,
    )
    (found.losses,) = walk.through(closed_jaxpr.jaxpr, labels, ())
    return found


@dataclass(frozen=True)
class _Walk:
    """One way of telling what is met on the way."""

    site: Callable[[Site], None]
    opaque: Callable[[frozenset[int], str], None]
    note: Callable[[str], None]
    around: tuple[Any, ...] = ()  # the equations that the walk is inside of
    library: Any = None  # the first of them that is a function of jax.numpy, say

    def blind(self, why: str) -> "_Walk":
        """The same where no equation can be tapped: every leaf met there is opaque."""

        def hide(site: Site) -> None:
            for operand in site.operands:
                self.opaque(site.labels[operand].leaves, why)

        return replace(self, site=hide)

    def silent(self) -> "_Walk":
        return replace(self, site=lambda site: None, opaque=lambda leaves, why: None, note=lambda what: None)

    def through(self, jaxpr: Any, inputs: Sequence[Label], where: Where) -> list[Label]:
        labels = dict(zip(jaxpr.invars, inputs, strict=True))

        def label_of(atom: Any) -> Label:
            return Label() if isinstance(atom, Literal) else labels.get(atom, Label())

        for position, eqn in enumerate(jaxpr.eqns):
            outs = self.step(eqn, [label_of(atom) for atom in eqn.invars], (*where, position))
            labels.update(zip(eqn.outvars, outs, strict=True))
        return [label_of(atom) for atom in jaxpr.outvars]

    def step(self, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
        """Labels of the equation's outputs."""
        inside = _inside(eqn)
        if any(label.own for label in ins) and eqn.primitive.name not in _INDEXED:
            self.note(f"{eqn.primitive.name} at {self.place(eqn)}")
            ins = [label._replace(own=frozenset()) for label in ins]
        if inside:
            return _INSIDE.get(eqn.primitive.name, _call)(self.at(eqn), eqn, ins, here)
        joined = union(ins)
        if joined.mixed:
            return [joined] * len(eqn.outvars)
        if eqn.primitive.name in _MIRRORS:
            return list(ins)
        if all(label.examples is None for label in ins):
            return [_without_examples(eqn, ins, joined)] * len(eqn.outvars)
        try:
            noted: list[int] = []
            axis = moved(eqn, ins, noted.append)
        except Mixing as mixing:
            return [self.mixed(eqn, joined, f"{mixing} the axis of the examples")] * len(eqn.outvars)
        except Unknown:
            return [self.mixed(eqn, joined, "is not known to keep examples apart")] * len(eqn.outvars)
        self.meet(eqn, ins, here, axis, noted)
        return [Label(joined.leaves, axis, own=own_columns(eqn, ins, axis))] * len(eqn.outvars)

    def meet(self, eqn: Any, ins: list[Label], here: Where, axis: Axis, noted: list[int]) -> None:
        """Tells of parameters and constants that this equation brings together with examples."""
        for operand in noted:
            self.note(f"{eqn.primitive.name} at {self.place(eqn)}")
            self.opaque(ins[operand].leaves, "has entries of its own for every example")
        operands = tuple(i for i, label in enumerate(ins) if label.parametric and is_floating(eqn.invars[i].aval))
        if not operands or not is_floating(eqn.outvars[0].aval):
            return
        leaves = frozenset().union(*(ins[i].leaves for i in operands))
        batched = eqn.primitive.name == "gather" and eqn.params["dimension_numbers"].operand_batching_dims
        if eqn.primitive.name not in SINGLE or batched:
            self.opaque(leaves, f"meets examples in {eqn.primitive.name}")
        else:
            self.site(Site(here, eqn, tuple(ins), operands, axis))

    def mixed(self, eqn: Any, joined: Label, reason: str) -> Label:
        return Label(joined.leaves, mixed=Mixed(eqn.primitive.name, reason, self.place(eqn)))

    def place(self, eqn: Any) -> str:
        """Line of the source and, where a module named it, the path of the module."""
        candidates = [self.library or eqn, *reversed(self.around)]
        line = next((line for line in map(source_line, candidates) if line), "a line that jax did not keep")
        path = max((str(e.source_info.name_stack) for e in candidates), key=len)
        return f"{line} in {path}" if path else line

    def at(self, eqn: Any) -> "_Walk":
        """The walk inside an equation; functions of jax.numpy are placed where they are called."""
        name = str(eqn.params.get("name", "")).strip("_")
        library = eqn if name and (hasattr(jnp, name) or hasattr(jax.nn, name)) else None
        return replace(self, around=(*self.around, eqn), library=self.library or library)

    def alternatives(self, options: Sequence[Sequence[Label]], eqn: Any) -> list[Label]:
        """Labels of values that are one thing or another, such as what a loop carries."""
        return [
            self.either(labels, var, eqn) for labels, var in zip(zip(*options, strict=True), eqn.outvars, strict=False)
        ]

    def either(self, labels: Sequence[Label], var: Any, eqn: Any) -> Label:
        joined = union(labels)
        axes = {label.examples for label in labels if label.examples is not None}
        if joined.mixed:
            return joined
        if not axes:
            first = labels[0]
            return first if all(label == first for label in labels) else joined
        if len(axes) > 1:
            return self.mixed(eqn, joined, "hands on now one axis and then another as the axis of the examples, and so")
        (axis,) = axes
        for label in labels:
            if label.examples is None:
                self.opaque(label.leaves, f"enters what a {eqn.primitive.name} hands on")
                if not constant_along(label, var.aval.shape, axis.place):
                    self.note(f"{eqn.primitive.name} at {self.place(eqn)}")
        return Label(joined.leaves, axis)


def _without_examples(eqn: Any, ins: list[Label], joined: Label) -> Label:
    """The label of what an equation makes of parameters and constants."""
    name = eqn.primitive.name
    if name in _REARRANGING:
        return rearranged(eqn, ins[0])._replace(leaves=joined.leaves, sliced=joined.sliced)
    shape = eqn.outvars[0].aval.shape
    if name == "iota":
        return joined._replace(same=frozenset(range(len(shape))) - {eqn.params["dimension"]}, counts=counted(eqn, ins))
    if name not in ELEMENTWISE:
        return joined._replace(same=unchanged_along(eqn, ins))
    arrays = [(atom.aval.shape, label) for atom, label in zip(eqn.invars, ins, strict=True) if atom.aval.shape]
    same = frozenset(axis for axis in range(len(shape)) if all(constant_along(la, s, axis) for s, la in arrays))
    # The gradient of a real parameter is real, also where it has been cast to complex numbers.
    casts = name == "convert_element_type" and all(is_real(atom.aval) for atom in (eqn.invars[0], eqn.outvars[0]))
    return joined._replace(same=same, source=ins[0].source if casts else None, counts=counted(eqn, ins))


def _inside(eqn: Any) -> list[Any]:
    if eqn.primitive.name == "cond":
        return [open_jaxpr(branch) for branch in eqn.params["branches"]]
    if eqn.primitive.name == "while":
        return [open_jaxpr(eqn.params["body_jaxpr"]), open_jaxpr(eqn.params["cond_jaxpr"])]
    if eqn.primitive.name == "custom_linear_solve":
        return [open_jaxpr(eqn.params["jaxprs"].solve)]
    keys = ("jaxpr", "call_jaxpr", "fun_jaxpr")
    found = [open_jaxpr(eqn.params[key]) for key in keys if key in eqn.params]
    return [jaxpr for jaxpr in found[:1] if hasattr(jaxpr, "eqns") and len(jaxpr.invars) == len(eqn.invars)]


def _call(walk: _Walk, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
    (jaxpr,) = _inside(eqn)
    if not eqn.primitive.name.startswith("custom_"):
        return walk.through(jaxpr, ins, (*here, 0))
    # A derivative of its own: the equations inside do not show it.
    why = f"meets examples in {eqn.params.get('name', 'a function')}, which has a derivative of its own"
    outs = [label._replace(source=None) for label in walk.blind(why).through(jaxpr, ins, (*here, 0))]
    if all(label.examples is None for label in ins):
        return [label._replace(leaves=union(ins).leaves) for label in outs]
    walk.opaque(parametric_leaves(eqn, ins), why)
    if walk.library:
        return outs  # the derivatives of jax's own functions keep examples apart wherever the functions do
    # No derivative is taken of what the derivative calls, the function itself perhaps.
    silent, place = replace(walk.silent(), library=eqn), walk.place(eqn)
    mixed = mixed_backward(eqn, ins, outs, lambda jaxpr, inputs: silent.through(jaxpr, inputs, ()), place)
    return outs if mixed is None else [label._replace(examples=None, mixed=label.mixed or mixed) for label in outs]


def _cond(walk: _Walk, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
    if ins[0].examples or ins[0].mixed:
        joined = union(ins)
        return [
            joined if joined.mixed else walk.mixed(eqn, joined, "chooses one branch for all examples, and so mixes")
        ]
    walk = walk.blind("meets examples in a branch")
    return walk.alternatives([walk.through(jaxpr, ins[1:], (*here, i)) for i, jaxpr in enumerate(_inside(eqn))], eqn)


def _while(walk: _Walk, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
    body, condition = _inside(eqn)
    num_cond, num_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    walk = walk.blind("meets examples in a while loop")
    before = ins[num_cond : num_cond + num_body]
    carried = ins[num_cond + num_body :]
    while True:
        carried = _settled(walk, body, before, carried, [], eqn)
        (going_on,) = walk.through(condition, [*ins[:num_cond], *carried], (*here, 1))
        if going_on.mixed:
            return [label._replace(examples=None, mixed=label.mixed or going_on.mixed) for label in carried]
        if going_on.examples is None or all(label.examples or label.mixed for label in carried):
            return carried
        # A vmapped loop: each example goes on for as many turns as it needs, whatever it carries.
        for label in carried:
            walk.opaque(label.leaves if label.parametric else frozenset(), "is carried through a while loop")
        own = going_on.examples
        carried = [label if label.examples or label.mixed else Label(label.leaves, own) for label in carried]


def _scan(walk: _Walk, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
    (jaxpr,) = _inside(eqn)
    num_consts, num_carry = scan_counts(eqn)
    consts, carry, xs = ins[:num_consts], ins[num_consts : num_consts + num_carry], ins[num_consts + num_carry :]
    if any(label.examples is not None and label.examples.place == 0 for label in xs):
        return _one_by_one(walk, eqn, ins, carry, jaxpr)
    turns = [_turn(label, here) for label in xs]
    carried = _settled(walk, jaxpr, consts, carry, turns, eqn)
    outs = walk.through(jaxpr, [*consts, *carried, *turns], (*here, 0))
    stacked = [
        label._replace(
            examples=label.examples and label.examples._replace(place=label.examples.place + 1),
            same=frozenset(),
            source=None,
            counts=None,
        )
        for label in outs[num_carry:]
    ]
    return [*carried, *stacked]


def _linear_solve(walk: _Walk, eqn: Any, ins: list[Label], here: Where) -> list[Label]:
    lengths = eqn.params["const_lengths"]
    first = lengths.matvec + lengths.vecmat
    consts, right = ins[first : first + lengths.solve], ins[sum(lengths) :]
    (jaxpr,) = _inside(eqn)
    joined = union(ins)
    # The derivative is that of the product, which need not be the solver's.
    why = "meets examples in a linear solver"
    if any(label.examples is not None for label in ins):
        walk.opaque(parametric_leaves(eqn, ins), why)
    outs = walk.blind(why).through(jaxpr, [*consts, *right], (*here, 0))
    return [label._replace(leaves=joined.leaves, source=None, mixed=label.mixed or joined.mixed) for label in outs]


def _turn(label: Label, scan: Where) -> Label:
    """What one turn of a scan sees of a value that it slices."""
    if label.examples is not None:
        return label._replace(examples=label.examples._replace(place=label.examples.place - 1))
    source, sliced = label.source, label.sliced
    if source is not None:
        sliced = (*sliced, (scan, source.axes[0]))
        source = source._replace(axes=source.axes[1:])
    elif label.leaves:
        sliced = (*sliced, (scan, None))
    return label._replace(same=frozenset(a - 1 for a in label.same if a), source=source, sliced=sliced, counts=None)


def _settled(
    walk: _Walk, jaxpr: Any, consts: list[Label], carry: list[Label], turns: list[Label], eqn: Any
) -> list[Label]:
    """Labels of what a loop carries, once it has gone round until nothing changes."""
    silent = walk.silent()
    while True:
        outs = silent.through(jaxpr, [*consts, *carry, *turns], ())[: len(carry)]
        joined = walk.alternatives([carry, outs], eqn)
        if joined == carry:
            return carry
        carry = joined


def _one_by_one(walk: _Walk, eqn: Any, ins: list[Label], carry: list[Label], jaxpr: Any) -> list[Label]:
    """A scan that takes one example a turn: they are apart if nothing of one is carried to the next."""
    joined = union(ins)
    if joined.mixed:
        return [joined] * len(eqn.outvars)
    num_consts, num_carry = scan_counts(eqn)
    from_examples = _depends(jaxpr, [label.examples is not None for label in ins], len(carry), num_consts)
    axes = {label.examples for label in ins[num_consts + num_carry :] if label.examples is not None}
    if any(from_examples) or len(axes) > 1:
        return [walk.mixed(eqn, joined, "carries something from each example to the next, and so goes along")] * len(
            eqn.outvars
        )
    if any(label.examples is not None for label in ins[:num_consts]):
        return [walk.mixed(eqn, joined, "takes all examples into a loop over each, and so mixes")] * len(eqn.outvars)
    (axis,) = axes
    for atom, label in list(zip(eqn.invars, ins, strict=True))[num_consts + num_carry :]:
        if label.examples is None and not constant_along(label, atom.aval.shape, 0):
            walk.note(f"{eqn.primitive.name} at {walk.place(eqn)}")
    walk.opaque(joined.leaves, "is used in a loop over the examples")
    ys = [Label(joined.leaves, axis)] * (len(eqn.outvars) - len(carry))
    return [*(union([label, Label(joined.leaves)]) for label in carry), *ys]


def _depends(jaxpr: Any, entering: list[bool], num_carry: int, num_consts: int) -> list[bool]:
    """Which of the carried values of a loop body come to depend on the inputs marked."""
    marked = list(entering)
    while True:
        known = {var for var, mark in zip(jaxpr.invars, marked, strict=True) if mark}
        for eqn in jaxpr.eqns:
            if any(not isinstance(atom, Literal) and atom in known for atom in eqn.invars):
                known.update(eqn.outvars)
        outs = [not isinstance(atom, Literal) and atom in known for atom in jaxpr.outvars[:num_carry]]
        grown = [*marked]
        for i, mark in enumerate(outs):
            grown[num_consts + i] = grown[num_consts + i] or mark
        if grown == marked:
            return outs
        marked = grown


_INSIDE = {"scan": _scan, "cond": _cond, "while": _while, "custom_linear_solve": _linear_solve}
