"""Hyper-parameters: numbers, traced scalars, or optax schedules of the number of updates done before."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import checks

ScalarOrSchedule = float | jax.Array | Callable[[Any], Any]


def check(*, remedy: str, **argument_and_domain: Any) -> None:
    """`checks.number`, unless the argument is a schedule, whose values are known only when it is called."""
    if not any(callable(value) for value in argument_and_domain.values()):
        checks.number(remedy=remedy, **argument_and_domain)


def check_rate(
    learning_rate: Any, *, remedy: str = "It multiplies the step; 0.01 to 1 suits descent, 1e-3 Adam."
) -> None:
    """Of 0 up: a warm-up starts there."""
    check(learning_rate=learning_rate, minimum=0, remedy=remedy)


def value_at(hyperparameter: ScalarOrSchedule, count: Any) -> Any:
    """The value after `count` updates."""
    return hyperparameter(count) if callable(hyperparameter) else hyperparameter
