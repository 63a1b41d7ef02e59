"""How the axis of the examples moves through each primitive, and which operations mix examples.

A rule takes an equation and the labels of its operands, at least one of which holds examples, and gives the axis in
the outputs. It raises `Mixing` where an output of one example would depend on another.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from jaxdl.jaxprs.elementwise import ELEMENTWISE
from jaxdl.jaxprs.example_labels import Axis, Label, constant_along, counts_along


class Mixing(Exception):
    """An operation that mixes examples; the message says how."""


class Unknown(Exception):
    """A primitive of which it is not known whether it keeps examples apart."""


# `rule(eqn, labels, note)`; `note(operand)` says that an operand without examples differs along their axis.
Note = Callable[[int], None]
Rule = Callable[[Any, Sequence[Label], Note], Axis]

# The rows or matrices that these work on are the last axes; all others are a batch of them.
_LAST_AXES = {
    "cholesky": 2, "eig": 2, "eigh": 2, "lu": 2, "qr": 2, "geqrf": 2, "householder_product": 2, "svd": 2,
    "triangular_solve": 2, "tridiagonal_solve": 1, "schur": 2, "hessenberg": 2, "tridiagonal": 2,
}  # fmt: skip
# The axes of a key's own words come after those of the array of keys.
_KEEPING = frozenset({"random_bits", "random_clone", "random_split", "random_unwrap", "random_wrap"})
_REDUCTIONS = {
    "reduce_sum": "axes", "reduce_max": "axes", "reduce_min": "axes", "reduce_prod": "axes", "reduce_and": "axes",
    "reduce_or": "axes", "reduce_xor": "axes", "argmax": "axes", "argmin": "axes", "reduce": "dimensions",
}  # fmt: skip
_ALONG_ONE = {
    "cumsum": "axis", "cumprod": "axis", "cummax": "axis", "cummin": "axis", "cumlogsumexp": "axis", "split": "axis",
    "sort": "dimension", "approx_top_k": "reduction_dimension",
}  # fmt: skip
_WINDOWS = frozenset({
    "reduce_window", "reduce_window_sum", "reduce_window_max", "reduce_window_min", "select_and_gather_add",
    "select_and_scatter_add",
})  # fmt: skip


def moved(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    """The axis of the examples in the equation's outputs.

    Raises:
      Mixing: the equation mixes examples.
      Unknown: there is no rule for its primitive.
    """
    name = eqn.primitive.name
    if name in ELEMENTWISE:
        axis = together(eqn, labels, note)
        if name == "bitcast_convert_type" and axis.place >= len(eqn.outvars[0].aval.shape):
            raise Mixing("joins the bits along")
        return axis
    if name in _KEEPING:
        return _only(labels)
    if name in _REDUCTIONS:
        return _without(eqn.params[_REDUCTIONS[name]], together(eqn, labels, note), "reduces over")
    if name in _ALONG_ONE:
        axis = together(eqn, labels, note)
        if eqn.params[_ALONG_ONE[name]] == axis.place:
            raise Mixing("goes along")
        return axis
    if name in _LAST_AXES:
        return _in_front(eqn, labels, note, _LAST_AXES[name])
    if name in _WINDOWS:
        return _window(eqn, labels, note)
    if name.startswith("scatter"):
        return _scatter(eqn, labels, note)
    if name in _RULES:
        return _RULES[name](eqn, labels, note)
    raise Unknown


def unchanged_along(eqn: Any, labels: Sequence[Label]) -> frozenset[int]:
    """`Label.same` of what an equation makes of values without examples: equal slices kept apart stay equal."""
    found = set()
    for operand, label in enumerate(labels):
        for place in label.same:
            differing: list[int] = []
            entering = [
                Label(examples=Axis(place)) if i == operand else each._replace(own=frozenset())
                for i, each in enumerate(labels)
            ]
            try:
                axis = moved(eqn, entering, differing.append)
            except (Mixing, Unknown):
                continue
            if not differing and axis == Axis(axis.place):
                found.add(axis.place)
    return frozenset(found)


def together(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    """The axis on which all operands with examples agree; the others must have nothing of their own along it."""
    axes = {label.examples for label in labels if label.examples is not None}
    if len(axes) > 1:
        raise Mixing("brings each example together with the others along")
    (axis,) = axes
    for operand, (atom, label) in enumerate(zip(eqn.invars, labels, strict=True)):
        shape = atom.aval.shape
        index = eqn.primitive.name == "concatenate" and counts_along(label, axis)
        if label.examples is None and shape and not index and not constant_along(label, shape, axis.place):
            note(operand)
    return axis


def _only(labels: Sequence[Label]) -> Axis:
    return next(label.examples for label in labels if label.examples is not None)


def _without(dropped: Sequence[int], axis: Axis, verb: str) -> Axis:
    if axis.place in dropped:
        raise Mixing(verb)
    return axis._replace(place=axis.place - sum(d < axis.place for d in dropped))


def _in_front(eqn: Any, labels: Sequence[Label], note: Note, last: int) -> Axis:
    axis = together(eqn, labels, note)
    # Other operands may have one axis more or less: the right side of a tridiagonal system, say.
    if axis.place >= len(eqn.invars[0].aval.shape) - last:
        raise Mixing("works along")
    return axis


def _broadcast(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    return axis._replace(place=eqn.params["broadcast_dimensions"][axis.place])


def _transpose(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    return axis._replace(place=list(eqn.params["permutation"]).index(axis.place))


def _squeeze(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    ndim = len(eqn.invars[0].aval.shape)
    return _without([d % ndim for d in eqn.params["dimensions"]], _only(labels), "drops")


def _reshape(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    shape, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    examples = shape[axis.place] // (axis.before * axis.after)
    start = math.prod(shape[: axis.place]) * axis.before  # the stride in front of the examples, in whole
    before = 1
    for index, length in enumerate(out):
        end = before * length
        if before <= start and start * examples <= end and not start % before and not end % (start * examples):
            return Axis(index, start // before, end // (start * examples))
        before = end
    raise Mixing("cuts")


def _rev(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    if axis.place in eqn.params["dimensions"]:
        raise Mixing("reverses")
    return axis


def _concatenate(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = together(eqn, labels, note)
    if eqn.params["dimension"] == axis.place:
        raise Mixing("concatenates along")
    return axis


def _stack(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = together(eqn, labels, note)
    return axis._replace(place=axis.place + (eqn.params["axis"] <= axis.place))


def _unstack(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    return _without([eqn.params["axis"]], _only(labels), "cuts")


def _tile(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis, reps = _only(labels), eqn.params["reps"]
    if len(reps) != len(eqn.invars[0].aval.shape):
        raise Unknown
    return axis._replace(before=reps[axis.place] * axis.before)


def _pad(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    if labels[0].examples is None or any(eqn.params["padding_config"][axis.place]):
        raise Mixing("pads")
    return axis


def _slice(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    if eqn.invars[0].aval.shape[axis.place] != eqn.outvars[0].aval.shape[axis.place]:
        raise Mixing("takes a part of")
    return axis


def _dynamic_slice(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    if labels[0].examples is None:
        raise Unknown
    return _slice(eqn, labels[:1], note)


def _dynamic_update_slice(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axes = {label.examples for label in labels[:2] if label.examples is not None}
    if len(axes) != 1:
        raise Mixing("writes each example over the others along")
    (axis,) = axes
    operand, update = (atom.aval.shape for atom in eqn.invars[:2])
    if operand[axis.place] != update[axis.place]:
        raise Mixing("writes over a part of")
    for i, shape in enumerate((operand, update)):
        if labels[i].examples is None and not constant_along(labels[i], shape, axis.place):
            note(i)
    return axis


def _dot(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    contracted, batch = eqn.params["dimension_numbers"]
    lhs, rhs = labels
    places = []
    for side, label in enumerate(labels):
        if label.examples is None:
            continue
        if label.examples.place in contracted[side]:
            raise Mixing("contracts over")
        if label.examples.place in batch[side]:
            places.append(label.examples._replace(place=list(batch[side]).index(label.examples.place)))
        else:
            ndims = [len(atom.aval.shape) for atom in eqn.invars]
            taken = {*contracted[side], *batch[side]}
            free = [axis for axis in range(ndims[side]) if axis not in taken].index(label.examples.place)
            ahead = len(batch[0]) + (ndims[0] - len(batch[0]) - len(contracted[0]) if side else 0)
            places.append(label.examples._replace(place=ahead + free))
    if len(set(places)) > 1:
        raise Mixing("multiplies each example with the others along")
    axis = places[0]
    if axis.place < len(batch[0]):
        for side, label in enumerate((lhs, rhs)):
            own = batch[side][axis.place]
            if label.examples is None and not constant_along(label, eqn.invars[side].aval.shape, own):
                note(side)
    return axis


def _conv(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    numbers = eqn.params["dimension_numbers"]
    if labels[1].examples is not None:
        raise Unknown
    axis = _only(labels)
    if axis.place != numbers.lhs_spec[0] or eqn.params["batch_group_count"] != 1:
        raise Mixing("convolves along")
    return axis._replace(place=numbers.out_spec[0])


def _gather(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    operand, indices = labels
    ndim = len(eqn.outvars[0].aval.shape)
    batch_axes = [axis for axis in range(ndim) if axis not in numbers.offset_dims]
    if indices.examples is not None and indices.examples.place >= len(batch_axes):
        raise Mixing("picks by all of")
    if operand.examples is None:
        assert indices.examples is not None
        for theirs, own in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
            if own == indices.examples.place and not constant_along(operand, eqn.invars[0].aval.shape, theirs):
                note(0)
        return indices.examples._replace(place=batch_axes[indices.examples.place])
    inner = operand.examples.place
    own_axis = None if indices.examples is None else _own(indices, numbers.start_index_map)
    if own_axis == operand.examples and inner in numbers.collapsed_slice_dims:
        return Axis(batch_axes[indices.examples.place])  # type: ignore[union-attr]
    if inner in numbers.operand_batching_dims:
        own = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(inner)]
        if indices.examples is None:
            if not constant_along(indices, eqn.invars[1].aval.shape, own):
                note(1)
        elif indices.examples != operand.examples._replace(place=own):
            raise Mixing("picks from the other examples along")
        return operand.examples._replace(place=batch_axes[own])
    if indices.examples is not None or sizes[inner] != eqn.invars[0].aval.shape[inner]:
        raise Mixing("picks from")
    kept = [
        axis
        for axis in range(len(sizes))
        if axis not in numbers.collapsed_slice_dims and axis not in numbers.operand_batching_dims
    ]
    return operand.examples._replace(place=numbers.offset_dims[kept.index(inner)])


def _own(indices: Label, index_map: Sequence[int]) -> Axis | None:
    """The axis of which these indices name, for each example, its own position."""
    assert indices.examples is not None
    dims = [dim for column, dim in enumerate(index_map) if column in indices.own]
    return Axis(dims[0]) if len(dims) == 1 and indices.examples[1:] == (1, 1) else None


def _scatter(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    numbers = eqn.params["dimension_numbers"]
    operand, indices, updates = labels
    shapes = [atom.aval.shape for atom in eqn.invars]
    axis = operand.examples
    scattered = [
        d for d in range(len(shapes[0])) if d not in numbers.inserted_window_dims
        and d not in numbers.operand_batching_dims
    ]  # fmt: skip
    batch_axes = [d for d in range(len(shapes[2])) if d not in numbers.update_window_dims]
    own_axis = None if indices.examples is None else _own(indices, numbers.scatter_dims_to_operand_dims)
    if own_axis is not None and own_axis.place in numbers.inserted_window_dims:
        assert indices.examples is not None
        for i, place in ((0, own_axis.place), (2, batch_axes[indices.examples.place])):
            if labels[i].examples is None and not constant_along(labels[i], shapes[i], place):
                note(i)
            elif labels[i].examples not in (None, Axis(place)):
                raise Mixing("scatters among the examples along")
        return own_axis
    if axis is None:  # updates of examples into a constant: by a batching dimension or in whole windows
        if updates.examples is None:
            raise Unknown
        if updates.examples.place in numbers.update_window_dims:
            axis = updates.examples._replace(place=scattered[numbers.update_window_dims.index(updates.examples.place)])
        else:
            own = batch_axes.index(updates.examples.place)
            if own not in numbers.scatter_indices_batching_dims:
                raise Mixing("adds up")
            place = numbers.scatter_indices_batching_dims.index(own)
            axis = updates.examples._replace(place=numbers.operand_batching_dims[place])
        if not constant_along(operand, shapes[0], axis.place):
            note(0)
    if axis.place in numbers.operand_batching_dims:
        own = numbers.scatter_indices_batching_dims[numbers.operand_batching_dims.index(axis.place)]
        expected = {1: own, 2: batch_axes[own]}
    elif axis.place in scattered and indices.examples is None:
        window = numbers.update_window_dims[scattered.index(axis.place)]
        if shapes[2][window] != shapes[0][axis.place]:
            raise Mixing("writes over a part of")
        expected = {2: window}
    else:
        raise Mixing("scatters along")
    for i, place in expected.items():
        if labels[i].examples is None:
            if not constant_along(labels[i], shapes[i], place):
                note(i)
        elif labels[i].examples != axis._replace(place=place):
            raise Mixing("scatters among the examples along")
    return axis


def _window(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = together(eqn, labels, note)
    params = eqn.params
    own = [params["window_dimensions"][axis.place], *params["padding"][axis.place]]
    own += [params[name][axis.place] for name in ("base_dilation", "window_dilation") if name in params]
    if own[:3] != [1, 0, 0] or any(value != 1 for value in (*own[3:], params["window_strides"][axis.place])):
        raise Mixing("pools along")
    return axis


def _top_k(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    axis = _only(labels)
    if eqn.params.get("axis", len(eqn.invars[0].aval.shape) - 1) == axis.place:
        raise Mixing("picks along")
    return axis


def _fft(eqn: Any, labels: Sequence[Label], note: Note) -> Axis:
    return _in_front(eqn, labels, note, len(eqn.params["fft_lengths"]))


_RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "rev": _rev,
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
    "pad": _pad,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "gather": _gather,
    "fft": _fft,
    "top_k": _top_k,
}
