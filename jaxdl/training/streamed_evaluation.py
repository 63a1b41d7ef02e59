"""Exact evaluation of data that come as a stream."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.data.streaming import evaluation_stream, prefetch_to_device
from jaxdl.training.objective import Objective
from jaxdl.training.parallel import Layout
from jaxdl.training.programs import Stopwatch
from jaxdl.training.state import TrainState, check_state, without_optimizer
from jaxdl.training.step import TrainStep

PyTree = Any


@partial(jax.jit, static_argnames=("objective",))
def stream_evaluation_program(state: TrainState, batch: PyTree, mask: jax.Array, *, objective: Objective) -> Any:
    """Sums of loss and metrics over the rows of the mask, and their number."""
    losses, aux = objective(state.params, batch, model_state=state.model_state, key=None, train=False)
    values = {"loss": losses, **aux.metrics}
    # Sums of thousands of values in half precision overflow, or lose the small ones.
    values = {name: value.astype(jnp.promote_types(value.dtype, jnp.float32)) for name, value in values.items()}
    return {name: jnp.where(mask, value, 0).sum() for name, value in values.items()}, mask.sum()


def evaluate_stream(
    objective: Objective,
    state: TrainState,
    data: Any,
    *,
    batch_size: int = 1000,
    split: str = "validation",
    layout: Layout | None = None,
    watch: Stopwatch | None = None,
) -> dict[str, float]:
    """Means of the loss and of the objective's metrics over one pass of a stream, the model in evaluation mode.

    The last batch is padded and masked: the result is exact for every number of examples, and costs one compilation.
    Records that cannot be read, of a stream that skips them, do not count.

    Args:
      objective: such as `supervised(...)`.
      state: parameters and model state are used.
      data: a `Stream`, or what `jaxdl.data.as_stream` takes; batches none of which is larger than the first.
      batch_size: examples a batch at most, where the batches are still to be made.
      split: of a name.
      layout: devices that share each batch, such as `data_parallel()`.
      watch: takes the seconds of compilation.

    Returns:
      `{"loss": ..., metric: ...}`.

    Raises:
      TypeError, ValueError: as `evaluate` and `jaxdl.data.as_stream`.
    """
    if isinstance(objective, TrainStep):
        raise TypeError("objective: expected an objective; got a TrainStep. Pass step.objective.")
    checks.objective(objective)
    check_state(state)
    stream = evaluation_stream(data, batch_size=batch_size, split=split)
    state, watch = without_optimizer(state), Stopwatch() if watch is None else watch
    totals: dict[str, float] = {}
    count = 0
    sharding, examples = None, stream.make_pass()
    if layout is not None:
        state, sharding = layout.place_state(state), layout.batch_sharding
        examples = _shareable(examples, layout.num_devices // layout.num_processes)
    with prefetch_to_device(examples, sharding=sharding) as batches:
        for batch, mask in batches:
            call = watch.compiled(stream_evaluation_program, state, batch, mask, objective=objective)
            sums, rows = jax.device_get(call(state, batch, mask))
            count += int(rows)
            totals = {name: totals.get(name, 0.0) + float(np.float64(value)) for name, value in sums.items()}
    if count == 0:
        raise ValueError(f"data: expected at least one example that can be read; {stream.name} has none.")
    return {name: total / count for name, total in totals.items()}


def _shareable(batches: Iterator[tuple[PyTree, np.ndarray]], devices: int) -> Iterator[tuple[PyTree, np.ndarray]]:
    """Batches that so many devices can share equally: copies of the last row are added, and masked."""
    for batch, mask in batches:
        missing = -len(mask) % devices
        longer = lambda leaf, missing=missing: np.concatenate([leaf, np.repeat(leaf[-1:], missing, 0)])  # noqa: E731
        yield jax.tree.map(longer, batch), np.pad(mask, (0, missing))
