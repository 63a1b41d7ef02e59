"""Losses of sequences of different lengths: the mean over the steps that count, one value per example.

`targets` is the targets of every step, `(batch, steps, ...)`, or a pair of these and of what says which steps count:
lengths `(batch,)`, whole numbers, or a mask `(batch, steps)`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def step_mask(steps: Any, num_steps: int, *, argument: str = "lengths") -> jax.Array:
    """Which steps count, `(batch, num_steps)` bool: those before an example's length, or those of a mask.

    Args:
      steps: lengths `(batch,)`, whole numbers from 0 to `num_steps`; or a mask `(batch, num_steps)`, true where a step
        counts.
      num_steps: of the padded sequences.
      argument: what an error calls `steps`.

    Returns:
      `(batch, num_steps)` bool.

    Raises:
      ValueError: another shape, or lengths that are no whole numbers.
    """
    steps = jnp.asarray(steps)
    if steps.ndim == 1 and jnp.issubdtype(steps.dtype, jnp.integer):
        return jnp.arange(num_steps)[None, :] < steps[:, None]
    if steps.ndim == 2 and steps.shape[1] == num_steps:
        return steps.astype(bool)
    raise ValueError(
        f"{argument}: expected whole numbers (batch,), or a mask (batch, {num_steps}); got shape {steps.shape} of "
        f"{steps.dtype}. Give the number of steps of every example."
    )


def step_mean(loss: Callable[..., jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """The loss of a sequence as the mean of a loss over its steps: `sum_t m_t l(o_t, y_t) / sum_t m_t`.

    A sequence of which no step counts has a loss of 0. What stands at steps that do not count reaches neither value nor
    gradient.

    Args:
      loss: one of this package's, or `loss(outputs, targets, mask=...) -> (batch,)` that sums over the steps.

    Returns:
      `loss(outputs, targets) -> (batch,)` for `supervised`, with `outputs` `(batch, steps, ...)` and `targets` as the
      module says. It is a new function every time, and compiled programs are found by it: make it once.

    Raises:
      TypeError: `loss` is no function.
      ValueError: on use, lengths or a mask of another shape.

    Example:
      >>> loss = step_mean(jaxdl.losses.softmax_cross_entropy)  # doctest: +SKIP
      >>> objective = jaxdl.training.supervised(model, loss)  # batches ((x, lengths), (y, lengths))  # doctest: +SKIP
    """
    if not callable(loss):
        raise TypeError(
            f"loss: expected a function (outputs, targets, mask=...) -> (batch,); got {type(loss).__name__}. "
            "Pass for example jaxdl.losses.softmax_cross_entropy."
        )

    def mean(outputs: Any, targets: Any) -> jax.Array:
        labels, mask = _labels_and_mask(outputs, targets)
        total = loss(outputs, labels, mask=mask)
        return total / jnp.maximum(jnp.sum(mask, 1), 1).astype(total.dtype)

    return mean


def step_accuracy(outputs: Any, targets: Any) -> jax.Array:
    """The share of the steps that count at which the largest output is the label, `(batch,)`; 0 where none counts.

    Args:
      outputs: `(batch, steps, classes)`.
      targets: labels `(batch, steps)`, alone or in a pair, see the module.

    Returns:
      `(batch,)`, in [0, 1].

    Raises:
      ValueError: shapes that do not fit.
    """
    right, mask = _right(outputs, targets)
    return jnp.sum(right & mask, 1) / jnp.maximum(jnp.sum(mask, 1), 1)


def sequence_correct(outputs: Any, targets: Any) -> jax.Array:
    """1.0 where the largest output is the label at every step that counts, else 0.0, `(batch,)`.

    Args:
      outputs: `(batch, steps, classes)`.
      targets: labels `(batch, steps)`, alone or in a pair, see the module.

    Returns:
      `(batch,)` float32.

    Raises:
      ValueError: shapes that do not fit.
    """
    right, mask = _right(outputs, targets)
    return jnp.all(right | ~mask, 1).astype(jnp.float32)


def _right(outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    labels, mask = _labels_and_mask(outputs, targets)
    if jnp.ndim(outputs) != 3 or jnp.shape(labels) != jnp.shape(outputs)[:2]:
        raise ValueError(
            f"targets: expected labels (batch, steps) for outputs (batch, steps, classes); got shape "
            f"{jnp.shape(labels)} for outputs of shape {jnp.shape(outputs)}. Give every step one label."
        )
    return jnp.argmax(outputs, -1) == labels, mask


def _labels_and_mask(outputs: Any, targets: Any) -> tuple[Any, jax.Array]:
    shape = jnp.shape(outputs)
    if len(shape) < 2:
        raise ValueError(
            f"outputs: expected an axis of steps behind that of the examples, (batch, steps, ...); got shape {shape}. "
            "Let the model return a value for every step."
        )
    if not isinstance(targets, (tuple, list)):
        return targets, jnp.ones(shape[:2], bool)
    if len(targets) != 2:
        raise ValueError(
            f"targets: expected the targets of every step, or a pair of these and lengths; got {len(targets)} parts. "
            "Pass for example (y, lengths)."
        )
    return targets[0], step_mask(targets[1], shape[1])
