"""What the example-axis walk knows of a value: where its examples are, or which parameters it was made from."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import Literal

from jaxdl.jaxprs.uses import Where

NOWHERE = -1


class Axis(NamedTuple):
    """The axis of the examples: of length `before * examples * after`, where others were merged into it."""

    place: int
    before: int = 1
    after: int = 1


class Source(NamedTuple):
    """A value that is one parameter leaf with its numbers moved about.

    Attributes:
      leaf: number of the leaf.
      axes: what each axis of the value is of the leaf: equal names are the same axis, None is one along which nothing
        changes.
    """

    leaf: int
    axes: tuple[Hashable | None, ...]


class Mixed(NamedTuple):
    """Why a value is not of one example alone: an operation, what it does, and where it stands in the source."""

    operation: str
    reason: str
    place: str


class Label(NamedTuple):
    """What a value was made from.

    Attributes:
      leaves: numbers of the parameter leaves that entered.
      examples: where the axis of the examples is; None for a value that no example has entered.
      same: axes along which nothing changes, of a value without examples.
      source: for a value made from parameters alone, what it is of its leaf; None where numbers have changed.
      sliced: scans that give a turn one slice of the leaf, and the axis they go along.
      mixed: why the examples are no longer apart; None while they are.
      counts: the axis whose positions 0, 1, ... are the entries of a constant; `NOWHERE` of one that is False.
      own: of indices of examples, the entries of the last axis that hold each example's own position.
    """

    leaves: frozenset[int] = frozenset()
    examples: Axis | None = None
    same: frozenset[int] = frozenset()
    source: Source | None = None
    sliced: tuple[tuple[Where, Hashable], ...] = ()
    mixed: Mixed | None = None
    counts: int | None = None
    own: frozenset[int] = frozenset()

    @property
    def parametric(self) -> bool:
        """Whether it was made from parameters, and no example has entered."""
        return bool(self.leaves) and self.examples is None and self.mixed is None


def leaf_label(leaf: int, ndim: int) -> Label:
    """The label of a parameter leaf as it comes in."""
    return Label(frozenset((leaf,)), source=Source(leaf, tuple(range(ndim))))


def constant_along(label: Label, shape: Sequence[int], axis: int) -> bool:
    """Whether a value without examples is the same for all of them along this axis."""
    return shape[axis] == 1 or axis in label.same


def counts_along(label: Label, axis: Axis) -> bool:
    """Whether a constant holds every example's position in the batch, as `x[jnp.arange(len(x)), i]` needs it."""
    return axis == Axis(axis.place) and label.counts == axis.place


def own_columns(eqn: Any, labels: Sequence[Label], axis: Axis) -> frozenset[int]:
    """`Label.own` of the output of an equation."""
    last = len(eqn.outvars[0].aval.shape) - 1
    if eqn.primitive.name != "concatenate" or eqn.params["dimension"] != last:
        return frozenset()
    found, start = set(), 0
    for atom, label in zip(eqn.invars, labels, strict=True):
        if label.examples is None and counts_along(label, axis):
            found.update(range(start, start + atom.aval.shape[last]))
        start += atom.aval.shape[last]
    return frozenset(found)


def counted(eqn: Any, labels: Sequence[Label]) -> int | None:
    """`Label.counts` of the output of an equation of constants, through what indexing does to negative positions."""
    name, aval = eqn.primitive.name, eqn.outvars[0].aval
    if name == "lt":
        zero = isinstance(eqn.invars[1], Literal) and eqn.invars[1].val == 0
        return NOWHERE if zero and labels[0].counts not in (None, NOWHERE) else None
    if name == "select_n":
        return labels[1].counts if labels[0].counts == NOWHERE else None
    axis = eqn.params["dimension"] if name == "iota" else labels[0].counts if name == "convert_element_type" else None
    if axis is None or axis == NOWHERE or not jnp.issubdtype(aval.dtype, jnp.integer):
        return None
    return axis if aval.shape[axis] <= jnp.iinfo(aval.dtype).max else None


def union(labels: Sequence[Label]) -> Label:
    """Leaves and mixtures of several values, the rest unknown."""
    mixed = next((label.mixed for label in labels if label.mixed), None)
    sliced = tuple(dict.fromkeys(entry for label in labels for entry in label.sliced))
    return Label(frozenset().union(*(label.leaves for label in labels)), sliced=sliced, mixed=mixed)


def rearranged(eqn: Any, label: Label) -> Label:
    """The label of the output of an equation that moves the numbers of one value without examples about."""
    name, params = eqn.primitive.name, eqn.params
    shape, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if name == "transpose":
        order = params["permutation"]
    elif name == "squeeze":
        order = [axis for axis in range(len(shape)) if axis not in {d % len(shape) for d in params["dimensions"]}]
    elif name == "broadcast_in_dim":
        placed = {place: axis for axis, place in enumerate(params["broadcast_dimensions"])}
        order = [placed.get(axis) for axis in range(len(out))]
    elif name == "reshape":
        order = _reshape_order(shape, out)
    else:
        order = list(range(len(shape)))
    same = frozenset(
        new for new, old in enumerate(order) if old is None or old in label.same or (shape[old] == 1 and out[new] > 1)
    )
    if name == "reshape" and None in order:
        # Where axes are cut or joined, nothing is known of the new ones, unless they have length 1.
        same = frozenset(new for new in same if order[new] is not None)
    counts = order.index(label.counts) if label.counts in order and label.counts is not None else None
    return label._replace(same=same, source=_moved(label.source, eqn, order, shape, out), counts=counts)


def _moved(
    source: Source | None, eqn: Any, order: Sequence[int | None], shape: Sequence[int], out: Sequence[int]
) -> Source | None:
    if source is None:
        return None
    names = [None if old is None or shape[old] != out[new] else source.axes[old] for new, old in enumerate(order)]
    if eqn.primitive.name == "reshape":
        kept = {old for old in order if old is not None}
        lost = [(name, shape[old]) for old, name in enumerate(source.axes) if old not in kept and shape[old] > 1]
        if any(name is None for name, _ in lost):
            return None  # repeated numbers are joined with others: how often each one stands there is lost
        cut = tuple(name for name, _ in lost)
        if cut:
            sizes = tuple(out)
            names = [
                ("reshaped", cut, sizes, new) if old is None and out[new] > 1 else name
                for (new, old), name in zip(enumerate(order), names, strict=True)
            ]
    return Source(source.leaf, tuple(names))


def _reshape_order(shape: Sequence[int], out: Sequence[int]) -> list[int | None]:
    """For every axis of a reshaped array the old one that it is, whole and unmixed; None where there is none."""
    order: list[int | None] = []
    olds = {}
    before = 1
    for old, length in enumerate(shape):
        if length > 1:
            olds[(before, length)] = old
        before *= length
    before = 1
    for length in out:
        order.append(olds.get((before, length)))
        before *= length
    return order
