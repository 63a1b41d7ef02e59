"""Losses of outputs against targets of the same shape, `(batch, ...)`."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.losses.examples import floating, hidden, per_example

_LARGEST_LOG_PRECISION = 40.0


def squared_error(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`sum_j (f_j - t_j)^2` over all axes but the first, shape `(batch,)`.

    Args:
      outputs: f, `(batch, ...)`.
      targets: t, the same shape.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    return _compared(optax.squared_error, outputs, targets, weights, mask)


def quadratic_cost(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`1/2 sum_j (f_j - t_j)^2`, shape `(batch,)`: half the squared error (Nielsen 2015, eq. 6).

    Args:
      outputs: f, `(batch, ...)`.
      targets: t, the same shape.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    return _compared(optax.l2_loss, outputs, targets, weights, mask)


def mean_squared_error(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`1/N sum_j (f_j - t_j)^2` over an example's N outputs, shape `(batch,)`.

    Its gradient is 2/N times that of `quadratic_cost`. N is the number of outputs whatever weights or mask say.

    Args:
      outputs: f, `(batch, ...)`.
      targets: t, the same shape.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    num_outputs = max(math.prod(jnp.shape(outputs)[1:]), 1)
    return squared_error(outputs, targets, weights=weights, mask=mask) / num_outputs


def absolute_error(outputs: jax.Array, targets: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`sum_j |f_j - t_j|` over all axes but the first, shape `(batch,)`; the derivative at a tie is 0.

    Args:
      outputs: f, `(batch, ...)`.
      targets: t, the same shape.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    # jnp.abs has the derivative 1 at 0; the middle of the subdifferential keeps a perfect output where it is.
    return _compared(lambda f, t: (f - t) * jnp.sign(f - t), outputs, targets, weights, mask)


def cosine_proximity(
    outputs: jax.Array, targets: jax.Array, *, epsilon: float = 1e-12, weights: Any = None, mask: Any = None
) -> jax.Array:
    """`-cos(f, t)` over the last axis, in [-1, 1], summed over the axes between, shape `(batch,)`.

    Args:
      outputs: `(batch, ..., features)`.
      targets: the same shape.
      epsilon: floor of the SQUARED norms: the value is 0 for a zero vector, and its gradient finite. optax's own
        default is 0, which gives NaN there.
      weights: shape `(batch, ...)` without the features, or its first axes.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    outputs, targets = _same_shape(outputs, targets, min_ndim=2)
    positions = jnp.shape(outputs)[:-1]
    if mask is not None:
        outputs, targets = hidden(outputs, mask, positions), hidden(targets, mask, positions)
    return per_example(-optax.cosine_similarity(outputs, targets, epsilon=epsilon), weights, mask)


def gaussian_nll(
    outputs: Any, targets: jax.Array, *, log_precision: Any = 0.0, weights: Any = None, mask: Any = None
) -> jax.Array:
    """`sum_j [beta/2 (t_j - y_j)^2 - 1/2 ln beta + 1/2 ln 2 pi]`, shape `(batch,)` (Bishop 2006, eq. 3.10).

    Beta is the precision, 1 / variance; its logarithm keeps it positive.

    Args:
      outputs: the means y, `(batch, ...)`; or a pair `(y, log_precision)`, as a network gives that predicts both.
      targets: t, the shape of y.
      log_precision: ln beta where `outputs` is no pair: a scalar, or an array of the shape of y. Above 40, a
        deviation of 2e-9, it counts as 40: the precision would overflow, and a residual of 0 become NaN.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.
    """
    means = outputs
    if isinstance(outputs, (tuple, list)):
        if len(outputs) != 2:
            raise ValueError(
                f"outputs: expected the means, or a pair (means, log_precision); got {len(outputs)} arrays. "
                "Let the model return two."
            )
        means, log_precision = outputs
    means, targets = _same_shape(means, targets)
    if jnp.shape(log_precision) not in ((), jnp.shape(means)):
        raise ValueError(
            f"log_precision: expected a scalar or the shape of the means, {jnp.shape(means)}; "
            f"got {jnp.shape(log_precision)}. Reshape it, or give one precision for all."
        )
    log_beta = jnp.broadcast_to(jnp.asarray(log_precision, jnp.result_type(means)), jnp.shape(means))
    if mask is not None:
        means, targets, log_beta = (hidden(a, mask, jnp.shape(means)) for a in (means, targets, log_beta))
    log_beta = jnp.minimum(log_beta, _LARGEST_LOG_PRECISION)
    values = 0.5 * (jnp.exp(log_beta) * jnp.square(targets - means) - log_beta + math.log(2 * math.pi))
    return per_example(values, weights, mask)


def _compared(
    fn: Callable[[jax.Array, jax.Array], jax.Array], outputs: Any, targets: Any, weights: Any, mask: Any
) -> jax.Array:
    outputs, targets = _same_shape(outputs, targets)
    if mask is not None:
        positions = jnp.shape(outputs)
        outputs, targets = hidden(outputs, mask, positions), hidden(targets, mask, positions)
    return per_example(fn(outputs, targets), weights, mask)


def _same_shape(outputs: jax.Array, targets: jax.Array, *, min_ndim: int = 1) -> tuple[jax.Array, jax.Array]:
    if jnp.shape(outputs) != jnp.shape(targets) or jnp.ndim(outputs) < min_ndim:
        kind = "(batch, ..., features)" if min_ndim > 1 else "the examples first"
        raise ValueError(
            f"targets: expected the shape of outputs, {jnp.shape(outputs)}, {kind}; "
            f"got {jnp.shape(targets)}. Reshape one of them, for example y[:, None]."
        )
    return floating(outputs), floating(targets)
