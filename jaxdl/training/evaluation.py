"""Exact evaluation: every example counts once, whatever the batch size."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.training.objective import Objective
from jaxdl.training.programs import evaluation_program
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


def evaluate(objective: Objective, state: TrainState, data: PyTree, *, batch_size: int = 1000) -> dict[str, float]:
    """Means of the loss and of the objective's metrics over all of `data`, the model in evaluation mode.

    The last batch is padded and masked, so the result is exact for every number of examples and costs one
    compilation; sums over batches are taken in float64.

    Args:
      objective: such as `supervised(...)`.
      state: parameters and model state are used.
      data: pytree of arrays with one leading example axis, such as `(x, y)`.
      batch_size: examples a batch; it changes memory and speed, not the result (beyond rounding).

    Returns:
      `{"loss": ..., metric: ...}`.

    Raises:
      ValueError: empty data, leaves of different lengths, or `batch_size` below 1.
    """
    if isinstance(objective, TrainStep):
        raise TypeError("objective: expected an objective; got a TrainStep. Pass step.objective.")
    checks.objective(objective)
    check_state(state)
    return {name: float(value) for name, value in evaluated(objective, state, data, batch_size=batch_size).items()}


def without_optimizer(state: TrainState) -> TrainState:
    """The state without what evaluation does not read: one program then serves every optimizer, and averages too."""
    return replace(state, opt_state=(), average=None, stopping=None)


def evaluated(
    objective: Objective, state: TrainState, data: PyTree, *, batch_size: int, side_by_side: bool = False
) -> dict[str, np.ndarray]:
    """`evaluate` for one state, `()`, or for stacked members, `(members,)`."""
    count = num_examples(data)
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 1000.")
    sums = evaluation_program(
        without_optimizer(state),
        jax.device_put(data),
        objective=objective,
        batch_size=min(batch_size, count),
        side_by_side=side_by_side,
    )
    return {name: np.asarray(value, np.float64).sum(-1) / count for name, value in sums.items()}
