"""The gradient that one site gives its parameter, example by example, without being formed.

For one example it is a sum of outer products over positions t (pixels, time steps, uses): `sum_t left_t right_t^T`,
with `left` indexed by some axes of the parameter and `right` by the others; or, for biases and scales, one array.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.per_example.patches import conv_patches
from jaxdl.diagnostics.per_example.single import example_first, parameter_cotangents
from jaxdl.jaxprs import Site

# The parameter's axes that an index of a factor goes over, as named in `Source.axes`.
Names = tuple[Hashable, ...]


class Factors(NamedTuple):
    """`sum_t left_t right_t^T` for every example and group.

    Attributes:
      left: arrays `(B, groups, T, m)`, one below the other the rows of the gradient: one for each place of a
        convolution's kernel, else one. Or the indices `(B, 1, T)` of rows of the parameter, of which one-hot vectors
        are left.
      right: `(B, groups, T, n)`.
      largest: `(B,)` bound of the magnitudes in `left`.
    """

    left: tuple[jax.Array, ...]
    right: jax.Array
    largest: jax.Array

    @property
    def swapped(self) -> "Factors":
        """Those of the transposed gradient."""
        (left,) = self.left
        return Factors((self.right,), left, largest_of(self.right))


def largest_of(array: jax.Array) -> jax.Array:
    """`(B,)` largest magnitudes, in float32 at least."""
    magnitude = jnp.abs(array.astype(jnp.promote_types(array.dtype, jnp.float32)))
    return jnp.max(magnitude, axis=tuple(range(1, array.ndim)), initial=0)


class Form(NamedTuple):
    """How the gradient of a parameter at one site can be had.

    Attributes:
      kind: "outer", "rows" (outer products with one-hot vectors), or "sum" (an array that has the gradient's entries).
      groups, left, right: names of the parameter's axes; sites with equal names can be added up.
      shape: `(groups, T, m, n)`; T and m are 1 for a sum.
      build: from what the site met, `Met`, to `Factors`, or to `(B, groups, n)` for a sum.
    """

    kind: str
    groups: Names
    left: Names
    right: Names
    shape: tuple[int, int, int, int]
    build: Callable[["Met"], Any]


class Met(NamedTuple):
    """What a site met: operands (None for parameters) and the cotangent of its output, scans' turns first."""

    operands: Sequence[Any]
    cotangent: jax.Array


def form_of(site: Site, turns: Sequence[tuple[Any, int]]) -> Form | None:
    """The form of a site, or None where the gradient cannot be had without forming it.

    Args:
      site: with one operand that is a parameter leaf, rearranged.
      turns: places and lengths of the scans around it.
    """
    if len(site.operands) != 1:
        return None
    label = site.labels[site.operands[0]]
    if label.source is None or None in dict(label.sliced).values():
        return None
    name = site.eqn.primitive.name
    if name == "dot_general":
        return _dot(site, turns)
    if name == "conv_general_dilated":
        return _conv(site, turns)
    if name == "gather":
        return _rows(site, turns)
    return _sum(site, turns)


class _Turns(NamedTuple):
    """The leading axes that scans give to what a site met: one group each, or positions."""

    groups: list[int]
    names: Names
    positions: list[int]
    lengths: list[int]


def _turns(site: Site, turns: Sequence[tuple[Any, int]]) -> _Turns:
    sliced = dict(site.labels[site.operands[0]].sliced)
    groups = [i for i, (scan, _) in enumerate(turns) if scan in sliced]
    names = tuple(sliced[turns[i][0]] for i in groups)
    return _Turns(groups, names, [i for i in range(len(turns)) if i not in groups], [length for _, length in turns])


def _positions(site: Site, around: _Turns, entries: int) -> int:
    """How many positions an example has at a site, where each has so many entries in the output."""
    shape, examples = site.eqn.outvars[0].aval.shape, site.examples
    count = shape[examples.place] // (examples.before * examples.after)
    return math.prod(around.lengths) * math.prod(shape) // max(1, entries * count)


def _arranged(array: jax.Array, *blocks: Sequence[int]) -> jax.Array:
    """The array with its axes in the order of the blocks, each block joined into one axis."""
    order = [axis for block in blocks for axis in block]
    shape = [math.prod(array.shape[axis] for axis in block) for block in blocks]
    return jnp.reshape(jnp.transpose(array, order), shape)


def _by_name(axes: Sequence[int], names: Sequence[Hashable]) -> tuple[list[int], Names]:
    """Axes and their names in an order that depends on the names alone."""
    pairs = sorted(zip(axes, names, strict=True), key=lambda pair: str(pair[1]))
    return [axis for axis, _ in pairs], tuple(name for _, name in pairs)


def _dot(site: Site, turns: Sequence[tuple[Any, int]]) -> Form | None:
    operand = site.operands[0]
    other = 1 - operand
    source, label = site.labels[operand].source, site.labels[operand]
    assert source is not None
    contracted, batch = site.eqn.params["dimension_numbers"]
    shapes = [atom.aval.shape for atom in site.eqn.invars]
    names, own = source.axes, shapes[operand]
    free = [axis for axis in range(len(own)) if axis not in (*contracted[operand], *batch[operand])]
    theirs = [axis for axis in range(len(shapes[other])) if axis not in (*contracted[other], *batch[other])]
    if any(names[axis] is None and own[axis] > 1 for axis in (*free, *contracted[operand])):
        return None  # one number for several entries
    # Along a batch axis the parameter has a factor for every entry, or is one and the same.
    grouped = [i for i, axis in enumerate(batch[operand]) if axis not in label.same and own[axis] > 1]
    if any(names[batch[operand][i]] is None for i in grouped):
        return None
    around = _turns(site, turns)
    num, num_batch = len(turns), len(batch[0])
    examples = site.labels[other].examples
    assert examples is not None
    out_theirs = [num_batch + i + (len(free) if operand == 0 else 0) for i in range(len(theirs))]
    out_free = [num_batch + i + (0 if operand == 0 else len(theirs)) for i in range(len(free))]
    group_axes, groups = _by_name(
        [*around.groups, *(num + i for i in grouped)], [*around.names, *(names[batch[operand][i]] for i in grouped)]
    )
    left_axes, left = _by_name(contracted[other], [names[axis] for axis in contracted[operand]])
    right_axes, right = _by_name(out_free, [names[axis] for axis in free])
    out_shape = site.eqn.outvars[0].aval.shape

    def build(met: Met) -> Factors:
        data, places = example_first(met.operands[other], examples, num)
        cotangent, out_places = example_first(met.cotangent, site.examples, num)
        # Positions: turns that use the same slice, batch entries that share the parameter, the data's free axes.
        shared = [i for i in range(num_batch) if i not in grouped]
        of_data = [places.turns[i] for i in around.positions]
        of_data += [a for i in shared for a in places.axes[batch[other][i]]]
        of_data += [a for axis in theirs for a in places.axes[axis]]
        of_out = [out_places.turns[i] for i in around.positions]
        of_out += [a for i in shared for a in out_places.axes[i]]
        of_out += [a for axis in out_theirs for a in out_places.axes[axis]]
        data_groups = [
            places.turns[axis] if axis < num else places.axes[batch[other][axis - num]][0] for axis in group_axes
        ]
        out_groups = [out_places.turns[axis] if axis < num else out_places.axes[axis - num][0] for axis in group_axes]
        lefts = [places.axes[axis][0] for axis in left_axes]
        rights = [out_places.axes[axis][0] for axis in right_axes]
        left = _arranged(data, [0], data_groups, of_data, lefts)
        return Factors((left,), _arranged(cotangent, [0], out_groups, of_out, rights), largest_of(left))

    num_groups = math.prod(around.lengths[axis] if axis < num else out_shape[axis - num] for axis in group_axes)
    m = math.prod(own[axis] for axis in contracted[operand])
    n = math.prod(own[axis] for axis in free)
    positions = _positions(site, around, n * num_groups)
    return Form("outer", groups, left, right, (num_groups, positions, m, n), build)


def _conv(site: Site, turns: Sequence[tuple[Any, int]]) -> Form | None:
    if site.operands != (1,):
        return None
    source = site.labels[1].source
    assert source is not None
    numbers = site.eqn.params["dimension_numbers"]
    kernel = site.eqn.invars[1].aval.shape
    if any(name is None and length > 1 for name, length in zip(source.axes, kernel, strict=True)):
        return None
    num_groups = site.eqn.params["feature_group_count"]
    examples, num = site.labels[0].examples, len(turns)
    assert examples is not None
    around = _turns(site, turns)
    out_channel, in_channel, *spatial = numbers.rhs_spec
    names = tuple(source.axes[axis] for axis in (*spatial, in_channel))
    out_axis, channel = numbers.out_spec[1], numbers.lhs_spec[1]

    def build(met: Met) -> Factors:
        data, places = example_first(met.operands[0], examples, num)
        cotangent, out_places = example_first(met.cotangent, site.examples, num)
        image = [a for axis in numbers.lhs_spec[2:] for a in places.axes[axis]]
        pixels = [a for axis in numbers.out_spec[2:] for a in out_places.axes[axis]]
        sliced, out_sliced = (tuple(p.turns[i] for i in around.groups) for p in (places, out_places))
        other = [
            0,
            *sliced,
            *(p for i in around.positions for p in (places.turns[i],)),
            *places.axes[numbers.lhs_spec[0]],
        ]
        out_other = [*(out_places.turns[i] for i in around.positions), *out_places.axes[numbers.out_spec[0]]]
        # (examples, turns ..., pixels ..., channels), the leading ones joined for the patches.
        ordered = jnp.transpose(data, [*other, *image, *places.axes[channel]])
        joined = jnp.reshape(ordered, (-1, *ordered.shape[len(other) :]))
        count = len(sliced) + 1
        places_of_kernel = []
        for seen in conv_patches(joined, site.eqn):  # (images, pixels, groups, channels of a group)
            left = jnp.reshape(seen, (*ordered.shape[:count], -1, *seen.shape[2:]))
            left = jnp.moveaxis(left, -2, count)
            places_of_kernel.append(jnp.reshape(left, (len(data), -1, *left.shape[-2:])))
        shown = jnp.transpose(cotangent, [0, *out_sliced, *out_other, *pixels, *out_places.axes[out_axis]])
        rights = jnp.reshape(shown, (*shown.shape[:count], -1, num_groups, shown.shape[-1] // num_groups))
        rights = jnp.moveaxis(rights, -2, count)
        rights = jnp.reshape(rights, (len(data), -1, *rights.shape[-2:]))
        return Factors(tuple(places_of_kernel), rights, largest_of(data))

    m = math.prod(kernel[axis] for axis in (in_channel, *spatial))
    n = kernel[out_channel] // num_groups
    groups = math.prod(around.lengths[i] for i in around.groups) * num_groups
    positions = _positions(site, around, n * groups)
    left = ("kernel", num_groups, names)
    return Form("outer", around.names, left, (source.axes[out_channel],), (groups, positions, m, n), build)


def _rows(site: Site, turns: Sequence[tuple[Any, int]]) -> Form | None:
    """A table of rows, of which each position takes one: an embedding."""
    source = site.labels[0].source
    assert source is not None
    numbers, sizes = site.eqn.params["dimension_numbers"], site.eqn.params["slice_sizes"]
    table, indices = (atom.aval.shape for atom in site.eqn.invars)
    whole = all(size == length for axis, (size, length) in enumerate(zip(sizes, table, strict=True)) if axis)
    plain = tuple(numbers.collapsed_slice_dims) == (0,) == tuple(numbers.start_index_map) and sizes[0] == 1
    around = _turns(site, turns)
    if site.operands != (0,) or not (whole and plain) or None in source.axes or around.groups or len(indices) < 1:
        return None
    examples, num = site.labels[1].examples, len(turns)
    assert examples is not None
    right_axes, right = _by_name(numbers.offset_dims, source.axes[1:])
    drops = site.eqn.params["mode"] == jax.lax.GatherScatterMode.FILL_OR_DROP
    batch_axes = [axis for axis in range(len(site.eqn.outvars[0].aval.shape)) if axis not in numbers.offset_dims]

    def build(met: Met) -> Factors:
        index, places = example_first(met.operands[1], examples, num)
        cotangent, out_places = example_first(met.cotangent, site.examples, num)
        positions = [*places.turns, *(a for axis in range(len(indices)) for a in places.axes[axis])]
        of_out = [*out_places.turns, *(a for axis in batch_axes for a in out_places.axes[axis])]
        index = _arranged(index, [0], [], positions)
        cotangent = _arranged(cotangent, [0], [], of_out, [out_places.axes[axis][0] for axis in right_axes])
        if drops:
            inside = (index >= 0) & (index < table[0])
            cotangent = jnp.where(inside[..., None], cotangent, 0)
        return Factors((jnp.clip(index, 0, table[0] - 1),), cotangent, jnp.ones(len(index)))

    n = math.prod(table[1:])
    positions = _positions(site, around, n)
    return Form("rows", (), (source.axes[0],), right, (1, positions, table[0], n), build)


def _sum(site: Site, turns: Sequence[tuple[Any, int]]) -> Form:
    """Biases, scales and whatever else meets the examples entry by entry: its cotangent, summed where it repeats."""
    (operand,) = site.operands
    label = site.labels[operand]
    assert label.source is not None
    around, num = _turns(site, turns), len(turns)
    named = [axis for axis, name in enumerate(label.source.axes) if name is not None]
    axes, names = _by_name(named, [label.source.axes[axis] for axis in named])
    shape = site.eqn.invars[operand].aval.shape

    def build(met: Met) -> jax.Array:
        (cotangent,) = parameter_cotangents(site, met.operands, met.cotangent, num)
        first = 1 + num
        repeated = [1 + i for i in around.positions]
        repeated += [first + axis for axis in range(cotangent.ndim - first) if axis not in named]
        summed = jnp.sum(cotangent, tuple(repeated), keepdims=True)
        return _arranged(summed, [0, *repeated], [1 + i for i in around.groups], [first + axis for axis in axes])

    n = math.prod(shape[axis] for axis in named)
    groups = math.prod(around.lengths[i] for i in around.groups)
    return Form("sum", around.names, (), names, (groups, 1, 1, n), build)
