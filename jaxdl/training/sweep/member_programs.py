"""The compiled programs of members: one alone, several side by side, or side by side on several devices."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxdl.training import engines
from jaxdl.training.early_stopping import EarlyStopping
from jaxdl.training.state import TrainState
from jaxdl.training.step import TrainStep
from jaxdl.training.sweep.cells import SAMPLE, Cell, MadeStep, at_cell

PyTree = Any
MEMBERS = "members"
Static = tuple[tuple[str, Any], ...]


@partial(jax.jit, static_argnames=("init",))
def start_program(key: jax.Array, cell: Cell, *, init: Callable[..., TrainState]) -> TrainState:
    """The start of a member, drawn with its hyper-parameters as traced values."""
    return init(key, **cell)


@partial(jax.jit, static_argnames=("step", "side_by_side", "mesh", "static"), donate_argnums=0)
def epoch_program(
    states: TrainState,
    cells: Cell,
    data: PyTree,
    order_key: jax.Array | None,
    *,
    step: TrainStep | MadeStep,
    side_by_side: bool,
    mesh: Mesh | None,
    static: Static,
) -> Any:
    """`engines.whole_epoch` of a member, or of members with a leading axis; `static` holds its keyword arguments.

    With an `order_key` members side by side have one order: their batch is gathered once, not once for each. That is so
    unless each has a sample of its own.
    """

    def epoch(state: TrainState, cell: Cell, data: PyTree, order_key: jax.Array | None) -> Any:
        after, metrics = engines.whole_epoch(
            state, data, order_key, step=at_cell(step, cell), sample=cell.get(SAMPLE), **dict(static)
        )
        return (after, metrics) if state.stopping is None else _unless_stopped(state, after, metrics)

    lifted = _over_members(epoch, (True, False, False), mesh) if side_by_side else epoch
    return lifted(states, cells, data, order_key)


@partial(jax.jit, static_argnames=("step", "side_by_side", "own_orders", "mesh", "static"), donate_argnums=0)
def timing_program(
    states: TrainState,
    cells: Cell,
    data: PyTree,
    order: jax.Array,
    count: jax.Array,
    *,
    step: TrainStep | MadeStep,
    side_by_side: bool,
    own_orders: bool,
    mesh: Mesh | None,
    static: Static,
) -> Any:
    """`count` steps in a given order, compiled once for any count: what the strategies are timed by."""

    def steps(state: TrainState, cell: Cell, data: PyTree, order: jax.Array, count: jax.Array) -> Any:
        order = order if SAMPLE not in cell else cell[SAMPLE][order]
        return engines.one_looped_step(state, data, order, count, step=at_cell(step, cell).unmeasured, **dict(static))

    lifted = _over_members(steps, (True, False, own_orders, False), mesh) if side_by_side else steps
    return lifted(states, cells, data, order, count)


def _unless_stopped(before: TrainState, after: TrainState, metrics: PyTree) -> tuple[TrainState, PyTree]:
    """What a member's steps made, or, where early stopping has ended its run, the state before them and NaN."""
    assert before.stopping is not None
    stopped = before.stopping.stopped_at >= 0
    kept = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), before, after)
    blank = lambda leaf: jnp.where(stopped, jnp.nan, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
    return replace(kept, step=after.step), jax.tree.map(blank, metrics)


@partial(jax.jit, static_argnames=("early_stopping", "side_by_side"), donate_argnums=0)
def observe_program(
    states: TrainState, values: jax.Array, *, early_stopping: EarlyStopping, side_by_side: bool
) -> TrainState:
    """`EarlyStopping.observe` of a member, or of members with a leading axis."""
    if not side_by_side:
        return early_stopping.observe(states, values)
    axes = _member_axes()
    return jax.vmap(early_stopping.observe, in_axes=(axes, 0), out_axes=axes)(states, values)


def _member_axes() -> Any:
    # A prefix pytree of axes has the state's own type; its fields then hold integers.
    return TrainState(**{field.name: None if field.name == "step" else 0 for field in fields(TrainState)})  # pyright: ignore[reportArgumentType]


def _over_members(fn: Callable[..., Any], each: tuple[bool, ...], mesh: Mesh | None) -> Callable[..., Any]:
    """Lifts `fn(state, *others) -> (state, out)` to states with a leading member axis; `each`: which others have one.

    The step counter has no such axis: members advance together, so that what depends on it (position in the epoch,
    whether this step is measured) stays one branch for all. On a mesh every device lifts over its own members, and
    nothing is exchanged.
    """
    alone = {field.name: field.name == "step" for field in fields(TrainState)}
    axes = _member_axes()
    lifted = jax.vmap(fn, in_axes=(axes, *(0 if own else None for own in each)), out_axes=(axes, 0))
    if mesh is None:
        return lifted
    spread, same = PartitionSpec(MEMBERS), PartitionSpec()
    states: Any = TrainState(**{name: same if shared else spread for name, shared in alone.items()})  # pyright: ignore[reportArgumentType]
    inputs = (states, *(spread if own else same for own in each))
    return jax.shard_map(lifted, mesh=mesh, in_specs=inputs, out_specs=(states, spread), check_vma=False)
