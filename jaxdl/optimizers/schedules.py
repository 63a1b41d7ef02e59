"""Schedules of learning rates and momentum: functions of the number of updates done before, 0 at the first.

What optax has is here under its own name: `constant_schedule`, `linear_schedule` (also the linear ramp of momentum,
`linear_schedule(0.5, 0.99, steps)`), `exponential_decay`, `piecewise_constant_schedule` (steps, whose factors multiply:
`{100: 0.1, 200: 0.1}` ends at 0.01 of the first value), `cosine_decay_schedule`, `warmup_cosine_decay_schedule` and
`join_schedules`. Schedules take a number or an integer array, also under jit and vmap.
"""

from typing import Any

import jax
import jax.numpy as jnp
from optax.schedules import (
    Schedule,
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    join_schedules,
    linear_schedule,
    piecewise_constant_schedule,
    warmup_cosine_decay_schedule,
)

from jaxdl import checks

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_approach",
    "exponential_decay",
    "inverse_sqrt_decay",
    "inverse_time_decay",
    "join_schedules",
    "linear_schedule",
    "piecewise_constant_schedule",
    "sutskever_momentum",
    "warmup_cosine_decay_schedule",
]

SMOOTH = "It is the number of updates in which the value changes much, such as 10_000."


def inverse_time_decay(init_value: float | jax.Array, time_constant: float | jax.Array) -> Schedule:
    """`eta_t = eta_0 / (1 + t / tau)`: half of the start after tau updates, a third after 2 tau.

    Its sum diverges and that of its squares does not, as the convergence of stochastic approximation asks for.

    Args:
      init_value: eta_0 >= 0, number or traced scalar.
      time_constant: tau > 0 in updates.

    Returns:
      `schedule(count) -> value`, for the number of updates done.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Robbins and Monro, "A stochastic approximation method", 1951.
    """
    checks.number(init_value=init_value, minimum=0, remedy="It is the value of the first update.")
    checks.number(time_constant=time_constant, minimum=0, exclusive=True, remedy=SMOOTH)
    return lambda count: init_value / (1 + _time(count) / time_constant)


def inverse_sqrt_decay(init_value: float | jax.Array) -> Schedule:
    """`eta_t = alpha / sqrt(t)`, with t = 1 at the first update.

    Args:
      init_value: alpha >= 0, number or traced scalar.

    Returns:
      `schedule(count) -> value`, for the number of updates done.

    Raises:
      ValueError: `init_value` is negative.

    References:
      Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 6.1.
    """
    checks.number(init_value=init_value, minimum=0, remedy="It is the value of the first update.")
    return lambda count: init_value / jnp.sqrt(_time(count) + 1)


def exponential_approach(
    init_value: float | jax.Array, end_value: float | jax.Array, time_constant: float | jax.Array
) -> Schedule:
    """`mu_t = mu_end - (mu_end - mu_0) exp(-t / tau)`: up or down, and never quite there.

    With 0.5, 0.99 and 100,000 it is the momentum of the released configuration of Srivastava et al.'s dropout networks
    on MNIST (whose learning rate is `inverse_time_decay(1.0, 10_000)`).

    Args:
      init_value: mu_0 >= 0, number or traced scalar.
      end_value: mu_end >= 0.
      time_constant: tau > 0 in updates.

    Returns:
      `schedule(count) -> value`, for the number of updates done.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Srivastava et al., "Dropout", 2014, appendix B.1, and the code released with it.
    """
    checks.number(init_value=init_value, minimum=0, remedy="It is the value of the first update.")
    checks.number(end_value=end_value, minimum=0, remedy="It is what the values tend to.")
    checks.number(time_constant=time_constant, minimum=0, exclusive=True, remedy=SMOOTH)
    return lambda count: end_value - (end_value - init_value) * jnp.exp(-_time(count) / time_constant)


def sutskever_momentum(max_value: float | jax.Array, *, period: int = 250) -> Schedule:
    """`mu_t = min(1 - 2^(-1 - log2(floor(t / 250) + 1)), mu_max)`: 1/2, 3/4, 5/6, 7/8, ... for 250 updates each.

    Args:
      max_value: mu_max in [0, 1]; the paper's are 0.999, 0.995, 0.99, 0.9 and 0.
      period: whole number >= 1, of updates.

    Returns:
      `schedule(count) -> value`, for the number of updates done.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum", 2013, equation 5.
    """
    checks.number(max_value=max_value, minimum=0, maximum=1, remedy="It bounds the momentum; 0.99 is usual.")
    checks.whole_number(period=period, minimum=1, remedy="The paper's is 250 updates.")
    return lambda count: jnp.minimum(1 - 0.5 / (jnp.floor(_time(count) / period) + 1), max_value)


def _time(count: Any) -> jax.Array:
    # Real before anything is added: the count of a state stays at the greatest integer.
    return jnp.asarray(count, float)
