"""The compiled programs of training and evaluation, for one state or for many members at once."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.training import engines
from jaxdl.training.compilation import stopwatch
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.objective import Objective
from jaxdl.training.parallel import Layout
from jaxdl.training.state import TrainState

PyTree = Any
Stopwatch = stopwatch.Stopwatch


def over_members(fn: Callable[[TrainState], Any], side_by_side: bool) -> Callable[[TrainState], Any]:
    """Lifts `fn(state) -> (state, out)` to states with a leading member axis, by vmap.

    The step counter has no such axis: members advance together, so that what depends on it (position in the epoch,
    whether this step is measured) stays one branch for all.
    """
    if not side_by_side:
        return fn
    # The prefix pytree of axes has the state's own type; its fields then hold integers.
    fields = dict.fromkeys((field.name for field in dataclasses.fields(TrainState)), 0) | {"step": None}
    axes: Any = TrainState(**fields)  # pyright: ignore[reportArgumentType]
    return jax.vmap(fn, in_axes=(axes,), out_axes=(axes, 0))


@partial(jax.jit, static_argnames=("static",), donate_argnums=0)
def epoch_program(
    state: TrainState, data: PyTree, order_key: jax.Array | None, *, static: tuple[tuple[str, Any], ...]
) -> Any:
    """`engines.whole_epoch`, compiled; `static` holds its keyword arguments."""
    return engines.whole_epoch(state, data, order_key, **dict(static))


@partial(jax.jit, static_argnames=("static",), donate_argnums=0)
def chunk_program(state: TrainState, data: PyTree, order: jax.Array, *, static: tuple[tuple[str, Any], ...]) -> Any:
    """`engines.many_steps`, compiled."""
    return engines.many_steps(state, data, order, **dict(static))


@partial(jax.jit, static_argnames=("static",), donate_argnums=0)
def step_program(
    state: TrainState, data: PyTree, order: jax.Array, count: jax.Array, *, static: tuple[tuple[str, Any], ...]
) -> Any:
    """`engines.one_looped_step`, compiled."""
    return engines.one_looped_step(state, data, order, count, **dict(static))


@partial(jax.jit, static_argnames=("static",))
def measure_program(state: TrainState, data: PyTree, order: jax.Array, *, static: tuple[tuple[str, Any], ...]) -> Any:
    """`engines.measure_step`, compiled."""
    return engines.measure_step(state, data, order, **dict(static))


@partial(jax.jit, static_argnames=("num_examples", "steps_per_epoch", "shuffle"))
def order_program(
    state: TrainState, order_key: jax.Array | None, *, num_examples: int, steps_per_epoch: int, shuffle: bool
) -> jax.Array:
    """`engines.order_of_epoch`, compiled."""
    return engines.order_of_epoch(
        state, order_key, num_examples=num_examples, steps_per_epoch=steps_per_epoch, shuffle=shuffle
    )


@partial(jax.jit, static_argnames=("early_stopping",), donate_argnums=0)
def observe_program(state: TrainState, value: jax.Array, *, early_stopping: EarlyStopping) -> TrainState:
    """`EarlyStopping.observe`, compiled."""
    return early_stopping.observe(state, value)


@partial(jax.jit, static_argnames=("objective", "batch_size", "side_by_side", "layout"))
def evaluation_program(
    state: TrainState,
    data: PyTree,
    *,
    objective: Objective,
    batch_size: int,
    side_by_side: bool,
    layout: Layout | None = None,
) -> dict[str, jax.Array]:
    """Sums of loss and metrics per batch, `{name: (num_batches,)}`, over every example exactly once.

    The last batch is filled up with copies of the last example, whose values are masked out of the sums.
    """
    num_examples = jax.tree.leaves(data)[0].shape[0]
    starts = jnp.arange(0, num_examples, batch_size)

    def batch_sums(state: TrainState, start: jax.Array) -> dict[str, jax.Array]:
        positions = start + jnp.arange(batch_size)
        rows = jnp.minimum(positions, num_examples - 1)
        batch = jax.tree.map(lambda array: array[rows], data)
        batch = batch if layout is None else layout.split(batch)
        losses, aux = objective(state.params, batch, model_state=state.model_state, key=None, train=False)
        values = {"loss": losses, **aux.metrics}
        # Sums of thousands of values in half precision overflow, or lose the small ones.
        values = {name: value.astype(jnp.promote_types(value.dtype, jnp.float32)) for name, value in values.items()}
        return {name: jnp.where(positions < num_examples, value, 0).sum() for name, value in values.items()}

    def all_sums(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        if layout is None:
            return state, jax.lax.map(partial(batch_sums, state), starts)
        return state, layout.whole(jax.lax.map(partial(batch_sums, layout.whole(state)), starts))

    return over_members(all_sums, side_by_side)(state)[1]
