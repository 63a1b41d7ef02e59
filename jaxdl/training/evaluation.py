"""Exact evaluation: every example counts once, whatever the batch size."""

from typing import Any

import jax
import numpy as np

from jaxdl import checks
from jaxdl.data.streaming import is_streamed
from jaxdl.training.objective import Objective
from jaxdl.training.parallel import Layout
from jaxdl.training.programs import evaluation_program
from jaxdl.training.state import TrainState, check_state, without_optimizer
from jaxdl.training.step import TrainStep
from jaxdl.training.streamed_evaluation import evaluate_stream
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
      data: pytree of arrays with one leading example axis, such as `(x, y)`; or what is streamed, see
        `jaxdl.data.as_stream`, of which one pass is evaluated.
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
    if is_streamed(data):
        return evaluate_stream(objective, state, data, batch_size=batch_size, layout=layout)
    if layout is not None:
        state, data = layout.place_state(without_optimizer(state)), layout.place_data(data)
    values = evaluated(objective, state, data, batch_size=batch_size, layout=layout)
    return {name: float(value) for name, value in values.items()}


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
