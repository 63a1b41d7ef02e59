"""Exact evaluation: every example counts once, whatever the batch size."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.training.objective import Objective
from jaxdl.training.parallel import Layout
from jaxdl.training.programs import evaluation_program
from jaxdl.training.state import TrainState, check_state
from jaxdl.training.step import TrainStep
from jaxdl.tree import num_examples

PyTree = Any


def evaluate(
    objective: Objective, state: TrainState, data: PyTree, *, batch_size: int = 1000, layout: Layout | None = None
) -> dict[str, float]:
    """Means of the loss and of the objective's metrics over all of `data`, the model in evaluation mode.

    The last batch is padded and masked, so the result is exact for every number of examples and costs one
    compilation; sums over batches are taken in float64.

    Args:
      objective: such as `supervised(...)`.
      state: parameters and model state are used.
      data: pytree of arrays with one leading example axis, such as `(x, y)`.
      batch_size: examples a batch; it changes memory and speed, not the result (beyond rounding).
      layout: devices that share each batch, such as `data_parallel()`; of several processes each passes its own part
        of the data, and gets the mean over all.

    Returns:
      `{"loss": ..., metric: ...}`.

    Raises:
      ValueError: empty data, leaves of different lengths, or `batch_size` below 1.
    """
    if isinstance(objective, TrainStep):
        raise TypeError("objective: expected an objective; got a TrainStep. Pass step.objective.")
    checks.objective(objective)
    check_state(state)
    if layout is not None:
        state, data = layout.place_state(without_optimizer(state)), layout.place_data(data)
    values = evaluated(objective, state, data, batch_size=batch_size, layout=layout)
    return {name: float(value) for name, value in values.items()}


def without_optimizer(state: TrainState) -> TrainState:
    """The state without what evaluation does not read: one program then serves every optimizer, and averages too."""
    return replace(state, opt_state=(), average=None, stopping=None)


def evaluated(
    objective: Objective,
    state: TrainState,
    data: PyTree,
    *,
    batch_size: int,
    side_by_side: bool = False,
    layout: Layout | None = None,
) -> dict[str, np.ndarray]:
    """`evaluate` for one state, `()`, or for stacked members, `(members,)`."""
    count = num_examples(data)
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="Try 1000.")
    batch_size = min(batch_size, count)
    sums = evaluation_program(
        without_optimizer(state),
        data if layout else jax.device_put(data),
        objective=objective,
        batch_size=layout.evaluation_batch(batch_size) if layout else batch_size,
        side_by_side=side_by_side,
        layout=layout,
    )
    return {name: np.asarray(value, np.float64).sum(-1) / count for name, value in sums.items()}
