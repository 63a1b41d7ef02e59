"""Initializers that differ in the variance alone."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import variance_scaling

from jaxdl import checks

Initializer = Any
Scalar = float | jax.Array


def lecun_normal() -> Initializer:
    """N(0, 1 / fan_in): keeps the variance of a linear layer's outputs (LeCun et al. 1998, section 4.6).

    Also the weights of Nielsen's networks, whose biases are N(0, 1): `normal(1.0)`.

    Returns:
      `init(key, shape, dtype) -> array`.
    """
    return variance_scaling(1.0, "fan_in", "normal")


def glorot_normal() -> Initializer:
    """N(0, 2 / (fan_in + fan_out)), a compromise between both directions (Glorot and Bengio 2010, eq. 12).

    One lecture prints the standard deviation sqrt(3 / (in + out)): a variance 1.5 times too large.

    Returns:
      `init(key, shape, dtype) -> array`.
    """
    return variance_scaling(1.0, "fan_avg", "normal")


def he_normal(*, negative_slope: Scalar = 0.0) -> Initializer:
    """N(0, 2 / ((1 + a^2) fan_in)), a the rectifier's slope for negative inputs (He et al. 2015, eq. 10 and 15).

    Args:
      negative_slope: a, a number or a traced scalar; 0 for ReLU.

    Returns:
      `init(key, shape, dtype) -> array`.

    Raises:
      ValueError: `negative_slope` is no number.
    """
    return variance_scaling(_rectifier_scale(negative_slope), "fan_in", "normal")


def he_uniform(*, negative_slope: Scalar = 0.0) -> Initializer:
    """U(+-sqrt(6 / ((1 + a^2) fan_in))), with the variance of `he_normal`.

    Args:
      negative_slope: a, a number or a traced scalar; 0 for ReLU.

    Returns:
      `init(key, shape, dtype) -> array`.

    Raises:
      ValueError: `negative_slope` is no number.
    """
    return variance_scaling(_rectifier_scale(negative_slope), "fan_in", "uniform")


def standard_uniform() -> Initializer:
    """U(+-1 / sqrt(fan_in)), variance 1 / (3 fan_in): the commonly used start of Glorot and Bengio 2010 (eq. 1).

    Returns:
      `init(key, shape, dtype) -> array`.
    """
    return variance_scaling(1 / 3, "fan_in", "uniform")


def fan_out_normal() -> Initializer:
    """N(0, 1 / fan_out): keeps the variance of what a linear layer back-propagates (Nielsen 2015, network3.py).

    Returns:
      `init(key, shape, dtype) -> array`.
    """
    return variance_scaling(1.0, "fan_out", "normal")


def random_walk(activation: str, *, gain: Scalar | None = None) -> Initializer:
    """N(0, omega^2 / fan_in), so that the log-norm of the back-propagated vector is a walk without drift.

    With N = fan_in: omega = exp(1 / (2N)) for linear units, sqrt(2) exp(1.2 / (max(N, 6) - 2.4)) for ReLU.

    Args:
      activation: "linear", "relu" or "tanh".
      gain: omega itself, > 0; needed for "tanh", where it is found by trial (1.1 to 1.3 have been used).

    Returns:
      An initializer. The deviation is omega / sqrt(N); one public implementation divides by N.

    Raises:
      ValueError: another activation, no gain for "tanh", or one that is not positive.

    References:
      Sussillo and Abbott, "Random Walk Initialization for Training Very Deep Feedforward Networks", 2014.
    """
    if activation not in ("linear", "relu", "tanh"):
        raise ValueError(
            f"activation: expected 'linear', 'relu' or 'tanh'; got {activation!r}. For another one give the nearest "
            "and the gain that you found."
        )
    if activation == "tanh" and gain is None:
        raise ValueError(
            "gain: expected a number for 'tanh', for which there is no closed form; got None. "
            "Tune it: 1.1 to 1.3 have been used."
        )
    if gain is not None:
        checks.number(gain=gain, minimum=0, exclusive=True, remedy="Leave it out for the formula.")

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        n = math.prod(shape[:-1])
        omega = {"linear": math.exp(1 / (2 * n)), "relu": math.sqrt(2) * math.exp(1.2 / (max(n, 6) - 2.4))}
        scale = (omega[activation] if gain is None else gain) ** 2
        return variance_scaling(scale, "fan_in", "normal")(key, shape, dtype)

    return init


def _rectifier_scale(negative_slope: Scalar) -> Scalar:
    checks.number(negative_slope=negative_slope, minimum=-math.inf, remedy="0 is the plain ReLU.")
    return 2.0 / (1.0 + negative_slope**2)
