"""Going back to the step at which a loss stopped being finite, to see which layer began it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.diagnostics import gradient_flow
from jaxdl.training import engines
from jaxdl.training.parallel import Layout
from jaxdl.training.schedule import Schedule
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.tree import layer_of, leaf_paths

PyTree = Any


def not_finite(
    step: TrainStep,
    start: TrainState,
    data: PyTree,
    schedule: Schedule,
    failed_step: int,
    *,
    layout: Layout | None = None,
) -> FloatingPointError:
    """The error that names step and layer, found by doing the steps from `start` once more, to the same bytes."""
    order = engines.order_of_epoch(
        start,
        schedule.order_key,
        num_examples=schedule.num_examples,
        steps_per_epoch=schedule.steps_per_epoch,
        shuffle=schedule.shuffle,
    )
    batches: dict[str, Any] = dict(
        batch_size=schedule.batch_size, steps_per_epoch=schedule.steps_per_epoch, layout=layout
    )
    batches_and_step = batches | dict(step=step.unmeasured)
    advance = jax.jit(lambda *args: engines.one_looped_step(*args, **batches_and_step)[0])
    state = start
    while int(state.step) < failed_step:
        state = advance(state, data, order, jnp.ones((), jnp.int32))
    batch = jax.jit(partial(engines.batch_of_step, **batches))(state, data, order)
    return FloatingPointError(
        f"loss: expected finite numbers; it is not finite at step {failed_step} (counted from 0). "
        f"{_where_it_began(step, state, batch)} Use a smaller learning rate, clip the gradient, or check the data: "
        "a label that is no class gives NaN as well."
    )


def _where_it_began(step: TrainStep, state: TrainState, batch: PyTree) -> str:
    spoiled = [path for path, leaf in leaf_paths(batch).items() if not _finite(leaf)]
    if spoiled:
        return f"The batch of that step holds numbers that are not finite, in its leaf {spoiled[0] or '(root)'!r}."
    lost = [path for path, leaf in leaf_paths(state.params).items() if not _finite(leaf)]
    key = jax.random.fold_in(state.key, state.step)
    flow = gradient_flow(step.objective, state.params, batch, model_state=state.model_state, key=key)
    layers = [layer for layer in flow.layers if layer in {layer_of(path) for path in lost} | set(lost)]
    if layers:
        return f"The first layer whose parameters are not finite by then is {layers[0]}."
    return f"All parameters are finite by then; of the gradient: {flow.verdict()}."


def _finite(leaf: Any) -> bool:
    return not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) or bool(jnp.all(jnp.isfinite(leaf)))
