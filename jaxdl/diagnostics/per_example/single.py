"""One equation taken example by example: arrays with the examples first, and the cotangents of its parameters."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.diagnostics.per_example.patches import kernel_cotangent
from jaxdl.jaxprs import Axis, Site, bind, constant_along

PyTree = Any

# Primitives that are linear in the operands at these positions, so that their values are not needed.
_LINEAR = {
    "dot_general": (0, 1), "conv_general_dilated": (0, 1), "gather": (0,), "add": (0, 1), "add_any": (0, 1),
    "sub": (0, 1), "mul": (0, 1), "div": (0,), "concatenate": range(1000), "select_n": range(1, 1000),
}  # fmt: skip


class Places(NamedTuple):
    """Where the axes of an array went: those of the scans' turns, and for each of its own where its parts are."""

    turns: list[int]
    axes: list[list[int]]


def example_first(array: jax.Array, examples: Axis, num_turns: int) -> tuple[jax.Array, Places]:
    """The array with the axis of the examples first; axes merged into it stand where it stood."""
    split = _split(array, examples, num_turns)
    place = num_turns + examples.place
    axes = [[num_turns + i + (1 if num_turns + i < place else 2)] for i in range(array.ndim - num_turns)]
    axes[examples.place] = [place + 1, place + 2]
    return jnp.moveaxis(split, place + 1, 0), Places([i + 1 for i in range(num_turns)], axes)


def _split(array: jax.Array, examples: Axis, num_turns: int) -> jax.Array:
    place = num_turns + examples.place
    count = array.shape[place] // (examples.before * examples.after)
    parts = (examples.before, count, examples.after)
    return jnp.reshape(array, (*array.shape[:place], *parts, *array.shape[place + 1 :]))


def needs_value(site: Site, operand: int) -> bool:
    """Whether the cotangent of a parameter at a site depends on the parameter."""
    return operand not in _LINEAR.get(site.eqn.primitive.name, ())


def narrowed(value: jax.Array, site: Site, operand: int, num_turns: int) -> jax.Array:
    """An operand that is the same for all examples, as the equation of one example takes it."""
    axis = _aligned(site, operand)
    merged = site.examples.before * site.examples.after
    if axis is None or value.shape[num_turns + axis] in (1, merged):
        return value
    return jax.lax.slice_in_dim(value, 0, merged, axis=num_turns + axis)


def _aligned(site: Site, operand: int) -> int | None:
    """The axis of an operand without examples that goes along that of the examples."""
    name, shape = site.eqn.primitive.name, site.eqn.invars[operand].aval.shape
    if name == "dot_general":
        batch = site.eqn.params["dimension_numbers"][1][operand]
        return batch[site.examples.place] if site.examples.place < len(batch) else None
    if name in ("conv_general_dilated", "gather") or not shape:
        return None
    return site.examples.place


def single(
    site: Site, operands: Sequence[Any], cotangent: jax.Array, num_turns: int
) -> tuple[PyTree, Callable[[PyTree], tuple[jax.Array, ...]]]:
    """What each example brings to a site, and the cotangents of the site's parameters as a function of that.

    Args:
      site: the equation.
      operands: what it met, turns of scans first; parameters `narrowed`, or None where their value is not needed.
      cotangent: of its output, turns first.
      num_turns: number of axes that are turns.

    Returns:
      A pytree of arrays with the examples first, and a function of one example's part of it. It gives cotangents
      `(turns ..., shape)`, one for each parameter of the site, shaped as the equation of one example takes it.
    """
    shared: dict[int, jax.Array] = {}
    own: dict[int, jax.Array] = {}
    for i, (value, label, atom) in enumerate(zip(operands, site.labels, site.eqn.invars, strict=True)):
        aligned = _aligned(site, i)
        examples = label.examples
        if examples is None and aligned is not None and not constant_along(label, atom.aval.shape, aligned):
            examples = site.examples._replace(place=aligned)  # a random mask, for example
        if value is None:
            value = jnp.zeros((*cotangent.shape[:num_turns], *atom.aval.shape), atom.aval.dtype)
        if examples is not None:
            own[i] = _alone(value, examples, num_turns)
        else:
            shared[i] = narrowed(value, site, i, num_turns)

    def one(operands: dict[int, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, ...]:
        if site.eqn.primitive.name == "conv_general_dilated" and site.operands == (1,):
            return (kernel_cotangent(operands[0], cotangent, site.eqn),)

        def output(parameters: Sequence[jax.Array]) -> jax.Array:
            full = operands | dict(zip(site.operands, parameters, strict=True))
            return bind(site.eqn, [full[i] for i in range(len(full))])[0]

        return tuple(jax.vjp(output, [operands[i] for i in site.operands])[1](cotangent)[0])

    each = one
    for _ in range(num_turns):
        each = jax.vmap(each)
    example = (own, _alone(cotangent, site.examples, num_turns))
    return example, lambda example: each(shared | example[0], example[1])


def parameter_cotangents(
    site: Site, operands: Sequence[Any], cotangent: jax.Array, num_turns: int
) -> tuple[jax.Array, ...]:
    """The cotangents of `single` for all examples, `(B, turns ..., shape)`."""
    examples, of_one = single(site, operands, cotangent, num_turns)
    return jax.vmap(of_one)(examples)


def _alone(array: jax.Array, examples: Axis, num_turns: int) -> jax.Array:
    """Examples first, and in their old place an axis of what was merged with each one, of length 1 at least."""
    place = num_turns + examples.place
    first = jnp.moveaxis(_split(array, examples, num_turns), place + 1, 0)
    merged = examples.before * examples.after
    return jnp.reshape(first, (*first.shape[: place + 1], merged, *first.shape[place + 3 :]))
