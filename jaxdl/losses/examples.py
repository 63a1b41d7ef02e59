"""From the losses of positions (outputs, pixels, time steps) to one value per example, and the mean of those."""

from typing import Any

import jax
import jax.numpy as jnp


def batch_mean(losses: jax.Array) -> jax.Array:
    """The mean of per-example losses `(batch,)`: the one place of the library where a loss is averaged.

    Args:
      losses: `(batch,)`.

    Returns:
      Their mean, `()`.

    Raises:
      ValueError: another shape, which would be averaged over what is no example.
    """
    if jnp.ndim(losses) != 1:
        raise ValueError(
            f"losses: expected one value per example, shape (batch,); got shape {jnp.shape(losses)}. "
            "Sum or average each example over its own axes first, and leave the mean over examples to jaxdl."
        )
    return jnp.mean(losses)


def correct(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """1.0 where the largest output is the example's class, else 0.0, shape `(batch,)`: its mean is the accuracy.

    Args:
      outputs: `(batch, classes)`.
      targets: labels `(batch,)`, or one-hot rows or probabilities `(batch, classes)`.

    Returns:
      `(batch,)` float32.

    Raises:
      ValueError: other shapes, which would broadcast, or make every label 0.
    """
    shape = jnp.shape(outputs)
    if len(shape) != 2 or jnp.shape(targets) not in (shape, shape[:1]):
        raise ValueError(
            f"targets: expected labels (batch,) or rows (batch, classes) for outputs (batch, classes); got shape "
            f"{jnp.shape(targets)} for outputs of shape {shape}. Reshape them, for example y[:, 0]."
        )
    labels = targets if jnp.ndim(targets) == 1 else jnp.argmax(targets, -1)
    return (jnp.argmax(outputs, -1) == labels).astype(jnp.float32)


def floating(array: Any) -> jax.Array:
    """The array itself, or whole numbers as floating-point ones: unsigned bytes wrap round below 0."""
    array = jnp.asarray(array)
    return array.astype(jnp.result_type(array, float))


def aligned(argument: str, values: Any, positions: tuple[int, ...]) -> jax.Array:
    """Weights or a mask with axes of length 1 appended, so that they go with arrays of the positions' shape.

    Raises:
      ValueError: their shape is not that of the positions nor its first axes.
    """
    shape = jnp.shape(values)
    if not shape or shape != positions[: len(shape)]:
        raise ValueError(
            f"{argument}: expected the shape of the positions, {positions}, or its first axes; got {shape}. "
            f"Give one value for each example, shape {positions[:1]}, or one for each position."
        )
    return jnp.reshape(jnp.asarray(values), (*shape, *(1 for _ in positions[len(shape) :])))


def hidden(array: Any, mask: Any, positions: tuple[int, ...]) -> jax.Array:
    """The array with 0 at the positions that the mask leaves out, so that nothing there can spoil a gradient."""
    seen = aligned("mask", mask, positions).astype(bool)
    return jnp.where(jnp.reshape(seen, (*seen.shape, *(1 for _ in range(jnp.ndim(array) - seen.ndim)))), array, 0)


def per_example(values: jax.Array, weights: Any, mask: Any) -> jax.Array:
    """The sum over each example's positions, `(batch,)`, of `values` `(batch, ...)` times weights where the mask is."""
    positions = values.shape
    if weights is not None:
        values = values * aligned("weights", weights, positions).astype(values.dtype)
    if mask is not None:
        values = hidden(values, mask, positions)
    return values.sum(tuple(range(1, values.ndim)))
