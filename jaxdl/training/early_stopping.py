"""Early stopping, as pure state inside the training state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxdl import checks
from jaxdl.training.state import Stopping, TrainState, check_state

PyTree = Any


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a run once a validation metric has not improved for `patience` evaluations.

    Attributes:
      patience: evaluations in a row without an improvement, at least 1.
      min_delta: how much better than the best so far a value has to be to count as an improvement, >= 0.
      metric: name of a validation metric.
      mode: "min" or "max": which values are better.
      restore_best: whether the state at the best evaluation is kept, and returned by a run that stops early. It takes
        the memory of another copy of the parameters.

    A value that is NaN is no improvement. A run that ends before it stops returns its last state, from which it can go
    on; `best(state)` gives the best one then.

    Raises:
      ValueError: a number out of its range, an unknown mode.

    References:
      Prechelt, "Early stopping - but when?", 1998 (the criterion UP counts failures in a row).
    """

    patience: int
    min_delta: float = 0.0
    metric: str = "loss"
    mode: Literal["min", "max"] = "min"
    restore_best: bool = True

    def __post_init__(self) -> None:
        checks.whole_number(patience=self.patience, minimum=1, remedy="10 evaluations are usual.")
        checks.number(min_delta=self.min_delta, minimum=0, remedy="0 takes every improvement.")
        checks.one_of(mode=self.mode, among=("min", "max"), remedy="'min' for a loss, 'max' for an accuracy.")

    @property
    def worst(self) -> float:
        """The value that every other one improves on."""
        return math.inf if self.mode == "min" else -math.inf

    def start(self, state: TrainState) -> TrainState:
        """The state with room for what early stopping remembers; one that has it already goes on."""
        if state.stopping is not None:
            if (state.stopping.kept is not None) != self.restore_best:
                raise ValueError(
                    f"early_stopping: expected restore_best={not self.restore_best}, as in the run before; got "
                    f"{self.restore_best}. Start anew by dataclasses.replace(state, stopping=None)."
                )
            return state
        # Distinct arrays: two of one buffer cannot be given away to be overwritten.
        best_step, waited, stopped_at = (jnp.full((), value, jnp.int32) for value in (-1, 0, -1))
        kept = jax.tree.map(jnp.copy, _worth_keeping(state)) if self.restore_best else None
        return replace(
            state, stopping=Stopping(jnp.asarray(self.worst, jnp.float32), best_step, waited, stopped_at, kept)
        )

    def observe(self, state: TrainState, value: jax.Array) -> TrainState:
        """The state after an evaluation; pure, so that members of `run_many` are observed by `vmap`.

        Args:
          state: with room, see `start`; one that has stopped stays as it is.
          value: the metric, scalar.
        """
        stopping = state.stopping
        assert stopping is not None
        value = jnp.asarray(value, jnp.float32)
        running = stopping.stopped_at < 0
        gain = stopping.best - value if self.mode == "min" else value - stopping.best
        better = running & (gain > self.min_delta)
        waited = jnp.where(running, jnp.where(better, 0, stopping.waited + 1), stopping.waited)
        stops = running & (waited >= self.patience)
        choose = lambda new, old: jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)  # noqa: E731
        return replace(
            state,
            stopping=Stopping(
                best=choose(value, stopping.best),
                best_step=choose(state.step, stopping.best_step),
                waited=waited.astype(jnp.int32),
                stopped_at=jnp.where(stops, state.step, stopping.stopped_at),
                kept=None if stopping.kept is None else choose(_worth_keeping(state), stopping.kept),
            ),
        )

    def value(self, values: Mapping[str, Any]) -> Any:
        """The metric among validation metrics.

        Raises:
          ValueError: there is none of this name.
        """
        if self.metric not in values:
            raise ValueError(
                f"early_stopping: expected a metric among {sorted(values)}; got {self.metric!r}. "
                "Name one of these, or add it to the objective."
            )
        return values[self.metric]


def best(state: TrainState) -> TrainState:
    """The state with the parameters, model state and average of the best evaluation so far.

    Its step counter is that of the best evaluation. Optimizer state is that of the last step, so train on from `state`
    itself, not from this.

    Args:
      state: from `fit(..., early_stopping=rule)`.

    Returns:
      A state like the one given.

    Raises:
      ValueError: no state was kept, or there was no evaluation yet.

    Example:
      >>> evaluate(objective, best(state), digits.validation)  # doctest: +SKIP
    """
    check_state(state)
    stopping = state.stopping
    if stopping is None or stopping.kept is None:
        raise ValueError(
            "state: expected one that keeps its best parameters; got one that does not. "
            "Train with fit(..., early_stopping=EarlyStopping(patience=10, restore_best=True))."
        )
    if not isinstance(stopping.best_step, Tracer) and int(stopping.best_step) < 0:
        raise ValueError(
            "state: expected one whose run was evaluated at least once, to a number; got one without a best value. "
            "Evaluate earlier, or look for NaN in the validation metric."
        )
    params, model_state, average = stopping.kept
    return replace(state, step=stopping.best_step, params=params, model_state=model_state, average=average)


def stopped(state: TrainState) -> bool:
    """Whether early stopping has ended the run of a state."""
    return state.stopping is not None and int(state.stopping.stopped_at) >= 0


def _worth_keeping(state: TrainState) -> PyTree:
    return state.params, state.model_state, state.average
