"""Batches of sequences: what models take, and which steps of it count."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.losses import step_mask

Steps = jax.Array | None


def inputs_and_mask(x: Any, *, num_axes: int = 3) -> tuple[jax.Array, Steps]:
    """The array of a batch of sequences, and which of its steps count, `(batch, steps)`, or None for all.

    Args:
      x: an array whose first axes are `(batch, steps)`; or a pair `(array, lengths)`, or a dictionary of `x` and
        `lengths`. In place of lengths `(batch,)` there may be a mask `(batch, steps)`.
      num_axes: of the array.

    Raises:
      ValueError: another structure or another number of axes.
    """
    array: Any
    if isinstance(x, Mapping) and set(x) in ({"x"}, {"x", "lengths"}):
        array, lengths = x["x"], x.get("lengths")
    elif isinstance(x, (tuple, list)) and len(x) == 2:
        array, lengths = x
    elif hasattr(x, "shape"):
        array, lengths = x, None
    else:
        held = f" of {', '.join(map(str, x))}" if isinstance(x, Mapping) else ""
        raise ValueError(
            f"x: expected an array, a pair (array, lengths), or a dictionary of x and lengths; got "
            f"{type(x).__name__}{held}. Pass for example (x, lengths)."
        )
    if jnp.ndim(array) != num_axes:
        axes = ("batch", "steps", "features")[:num_axes]
        raise ValueError(
            f"x: expected an array ({', '.join(axes)}); got shape {jnp.shape(array)}. "
            "Reshape it, such as images (batch, 28, 28, 1) to 28 steps of 28 pixels: x[..., 0]."
        )
    array = jnp.asarray(array)
    if lengths is None:
        return array, None
    mask = step_mask(lengths, array.shape[1])
    if mask.shape[0] != array.shape[0]:
        raise ValueError(
            f"lengths: expected one for each of the {array.shape[0]} examples; got {mask.shape[0]}. "
            "Cut both to the same examples."
        )
    return array, mask


def hide(array: jax.Array, mask: Steps) -> jax.Array:
    """The array `(batch, steps, ...)` with 0 at the steps that do not count: whatever stood there, NaN included."""
    if mask is None:
        return array
    return jnp.where(jnp.reshape(mask, (*mask.shape, *(1 for _ in array.shape[2:]))), array, jnp.zeros_like(array))


def at_end(array: jax.Array, mask: Steps, *, first: bool = False) -> jax.Array:
    """Entries `(batch, ...)` at the last step that counts, or the first one; 0 where none does."""
    if mask is None:
        return array[:, 0 if first else -1]
    # By a sum over the steps, since a gather over examples is one that mixes them as far as a program shows.
    steps = jnp.arange(1, mask.shape[1] + 1)[None, :]
    order = jnp.where(mask, steps[:, ::-1] if first else steps, 0)
    chosen = mask & (order == jnp.max(order, 1, keepdims=True))
    return jnp.sum(hide(array, chosen), 1)
