"""Three ways to drive a step through an epoch, with the same bytes as result.

`loop`   one compiled step, called from Python;
`chunk`  a compiled scan of a few steps, called from Python;
`epoch`  shuffling and all steps of an epoch in one program.

The data stay on the device, and each step gathers its batch there. Which examples a step sees is a function of the
run's keys and the step counter alone, so a run can be cut anywhere and go on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.training.convolutions import canonical_convolutions
from jaxdl.training.parallel import Layout
from jaxdl.training.state import TrainState, epoch_order
from jaxdl.training.step import Metrics, TrainStep

PyTree = Any
Engine = Literal["loop", "chunk", "epoch"]
ENGINES: tuple[Engine, ...] = ("loop", "chunk", "epoch")


def order_of_epoch(
    state: TrainState, order_key: jax.Array | None, *, num_examples: int, steps_per_epoch: int, shuffle: bool
) -> jax.Array:
    """Indices `(num_examples,)` in the order in which the epoch of `state` visits the examples.

    It is drawn from `order_key`, or from the state's own key where that is None.
    """
    if not shuffle:
        return jnp.arange(num_examples, dtype=jnp.int32)
    return epoch_order(state.key if order_key is None else order_key, state.step // steps_per_epoch, num_examples)


def batch_of_step(
    state: TrainState,
    data: PyTree,
    order: jax.Array,
    *,
    batch_size: int,
    steps_per_epoch: int,
    layout: Layout | None = None,
) -> PyTree:
    """The examples that the step of `state.step` sees."""
    start = (state.step % steps_per_epoch) * batch_size
    indices = jax.lax.dynamic_slice(order, (start,), (batch_size,))
    # In bounds by construction, so the gather needs no clamping and no fill value.
    batch = jax.tree.map(lambda array: array.at[indices].get(mode="promise_in_bounds"), data)
    return batch if layout is None else layout.split(batch)


def one_step(
    state: TrainState, data: PyTree, order: jax.Array, *, step: TrainStep, layout: Layout | None = None, **batches: Any
) -> tuple[TrainState, Metrics]:
    """The step of `state.step` on its batch of the epoch's order."""
    return step_on_batch(state, batch_of_step(state, data, order, layout=layout, **batches), step=step, layout=layout)


def step_on_batch(
    state: TrainState, batch: PyTree, *, step: TrainStep, layout: Layout | None
) -> tuple[TrainState, Metrics]:
    """The step on a batch at hand, the state and the metrics where the layout wants them."""
    if layout is None:
        return canonical_convolutions(step)(state, batch)
    state, metrics = canonical_convolutions(partial(step, layout=layout))(state, batch)
    return layout.settle(state), layout.whole(metrics)


def one_looped_step(
    state: TrainState, data: PyTree, order: jax.Array, count: jax.Array, **options: Any
) -> tuple[TrainState, Metrics]:
    """`one_step` in a loop of `count` turns, which is to be 1 and unknown to the compiler.

    XLA's CPU compiler treats the body of a loop in other ways than a program's top level, and rounds some operations
    otherwise there (grouped convolutions, for one). So the single step is compiled as the body of a loop, too. A loop
    known to have one turn would be none.
    """
    shapes = jax.eval_shape(lambda: one_step(state, data, order, **options)[1])
    metrics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, count, lambda _, carry: one_step(carry[0], data, order, **options), (state, metrics))


def many_steps(
    state: TrainState,
    data: PyTree,
    order: jax.Array,
    *,
    step: TrainStep,
    length: int,
    **batches: Any,
) -> tuple[TrainState, Metrics]:
    """`length` steps within one epoch; the metrics gain a leading axis of that length."""
    if step.measure is not None and step.measure_every > 1:
        return many_measured_steps(state, data, order, step=step, length=length, **batches)

    if length == 1:
        once = (state.step >= 0).astype(jnp.int32)  # the compiler does not know that steps are counted from 0
        state, metrics = one_looped_step(state, data, order, once, step=step, **batches)
        return state, jax.tree.map(lambda leaf: leaf[None], metrics)

    def body(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        return one_step(state, data, order, step=step, **batches)

    return jax.lax.scan(body, state, None, length=length)


def measure_step(
    state: TrainState, data: PyTree, order: jax.Array, *, step: TrainStep, layout: Layout | None = None, **batches: Any
) -> PyTree:
    """What the step's measure says of the state and the batch it is about to see."""
    batch = batch_of_step(state, data, order, layout=layout, **batches)
    return measure_on_batch(state, batch, step=step, layout=layout)


def measure_on_batch(state: TrainState, batch: PyTree, *, step: TrainStep, layout: Layout | None) -> PyTree:
    """What the step's measure says of a state and a batch at hand."""
    if layout is None:
        return canonical_convolutions(step.measured)(state, batch)
    return layout.whole(canonical_convolutions(partial(step.measured, layout=layout))(state, batch))


def many_measured_steps(
    state: TrainState, data: PyTree, order: jax.Array, *, length: int, step: TrainStep, **batches: Any
) -> tuple[TrainState, Metrics]:
    """`many_steps` with a measurement before every K-th one; row i of `measure` is the i-th measurement.

    Blocks of K steps without a measure follow a measurement each: no step has a branch in it (which would cost every
    step a copy of the parameters), and training is the same program as without a measure. Where the first step is no
    multiple of K, one row fewer is filled.
    """
    every = step.measure_every
    plain = partial(one_step, data=data, order=order, step=step.unmeasured, **batches)
    measure = partial(measure_step, data=data, order=order, step=step, **batches)
    first = jnp.minimum(-state.step % every, length)

    def rows(fn: Callable[[TrainState], PyTree], count: int) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), jax.eval_shape(fn, state))

    def put(row: jax.Array, table: PyTree, values: PyTree) -> PyTree:
        return jax.tree.map(lambda column, value: column.at[row].set(value), table, values)

    def steps(begin: jax.Array | int, end: jax.Array, state: TrainState, table: PyTree) -> tuple[TrainState, PyTree]:
        def body(row: jax.Array, carry: tuple[TrainState, PyTree]) -> tuple[TrainState, PyTree]:
            state, metrics = plain(carry[0])
            return state, put(row, carry[1], metrics)

        return jax.lax.fori_loop(begin, end, body, (state, table))

    def block(i: jax.Array, carry: tuple[TrainState, PyTree, PyTree]) -> tuple[TrainState, PyTree, PyTree]:
        state, table, measures = carry
        measures = put(i, measures, measure(state))
        begin = first + i * every
        return (*steps(begin, jnp.minimum(begin + every, length), state, table), measures)

    table, measures = rows(lambda s: plain(s)[1], length), rows(measure, -(-length // every))
    state, table = steps(0, first, state, table)
    num_blocks = (length - first + every - 1) // every
    state, table, measures = jax.lax.fori_loop(0, num_blocks, block, (state, table, measures))
    return state, {**table, "measure": measures}


def whole_epoch(
    state: TrainState,
    data: PyTree,
    order_key: jax.Array | None,
    *,
    step: TrainStep,
    steps_per_epoch: int,
    length: int,
    num_examples: int,
    shuffle: bool,
    sample: jax.Array | None = None,
    **batches: Any,
) -> tuple[TrainState, Metrics]:
    """The rest of the state's epoch, `length` steps, shuffled inside the program.

    With a `sample`, indices `(num_examples,)`, the examples are those of the data at the indices.
    """
    order = order_of_epoch(
        state, order_key, num_examples=num_examples, steps_per_epoch=steps_per_epoch, shuffle=shuffle
    )
    order = order if sample is None else sample[order]
    return many_steps(state, data, order, step=step, steps_per_epoch=steps_per_epoch, length=length, **batches)
