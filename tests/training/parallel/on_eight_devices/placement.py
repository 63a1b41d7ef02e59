"""Where state, data and batches lie on eight devices, and what the devices say to each other.

Run by `test_on_eight_devices.py`.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.training import engines, programs
from jaxdl.training.engines import ENGINES
from jaxdl.training.parallel import data_parallel, fully_sharded
from tests.training.parallel.tasks import Dropped, Normalized, make_data, make_run

SHARDED = fully_sharded(min_size=32)
DATA = make_data()


def train(step, state, layout, *, epochs=2, **options):
    return training.fit(step, state, DATA, epochs=epochs, batch_size=16, layout=layout, **options)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "bfloat16", "float32"])
def test_a_batch_of_shared_data_holds_the_very_numbers(dtype):
    """It is summed over the devices, of which one has the row and the others zeros."""
    layout = data_parallel(examples="sharded")
    values = jnp.arange(-24.0, 24.0).reshape(24, 2)
    if dtype.startswith(("float", "bfloat")):
        values = values.at[3].set(jnp.nan).at[5].set(jnp.inf).at[9].set(-jnp.inf)
    values = np.asarray(values.astype(dtype))
    state = training.make_state({}, optax.sgd(0.1), key=jax.random.key(0))
    batch_of_step = partial(engines.batch_of_step, batch_size=8, steps_per_epoch=3, layout=layout)
    order = np.random.RandomState(0).permutation(24).astype(np.int32)
    found = jax.jit(batch_of_step)(layout.place_state(state), layout.place_data(values), order)
    np.testing.assert_array_equal(np.asarray(found), values[order[:8]])
    assert found.dtype == values.dtype
    assert found.addressable_shards[0].data.shape == (1, 2)


def test_parameters_moments_and_averages_are_shared():
    step, state = make_run(Dropped(), DATA)
    after = train(step, state, data_parallel(parameters=fully_sharded(min_size=1, where="**/kernel")), epochs=1).state
    total, on_one_device = 0, 0
    for path, leaf in jaxdl.tree.leaf_paths(after).items():
        part = leaf.addressable_shards[0].data.shape
        if path.endswith("Dense_0/kernel"):
            assert (leaf.shape, part) == ((16, 32), (16, 4)), path
        elif path.endswith("Dense_1/kernel"):
            assert (leaf.shape, part) == ((32, 10), (4, 10)), path
        else:
            assert part == leaf.shape, path
        if leaf.ndim:
            total, on_one_device = total + leaf.size, on_one_device + int(np.prod(part))
    kernels, biases = 4 * (16 * 32 + 32 * 10), 4 * (32 + 10)  # parameters, two moments, average
    assert (total, on_one_device) == (kernels + biases, kernels // 8 + biases)


def collectives(compiled):
    """`[(operation, numbers moved)]` of a compiled program."""
    names = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
    found = []
    for shapes, name in re.findall(rf"= (\(.*?\)|\S+) ({names})(?:-start)?\(", compiled.as_text()):
        sizes = [
            np.prod([int(d) for d in dims.split(",") if d], dtype=int) for dims in re.findall(r"\[([\d,]*)\]", shapes)
        ]
        found.append((name, int(max(sizes))))
    return found


def chunk(step, state, layout, data, *, order_size):
    static = dict(step=step, batch_size=16, steps_per_epoch=8, length=4, layout=layout)
    arguments = layout.place_state(state), layout.place_data(data), jnp.arange(order_size)
    return programs.chunk_program, arguments, tuple(static.items())


@pytest.mark.parametrize(
    ("parameters", "examples", "gathered"),
    [(None, "replicated", set()), (None, "sharded", {16}), (SHARDED, "replicated", {32, 320, 512})],
)
def test_what_the_devices_say_to_each_other(parameters, examples, gathered):
    """Gathered are parameters that are shared, and the 16 indices of a batch: never the data, 2,176 numbers."""
    data = make_data(136)
    step, state = make_run(Dropped(), data)
    program, arguments, static = chunk(
        step, state, data_parallel(parameters=parameters, examples=examples), data, order_size=136
    )
    found = collectives(program.lower(*arguments, static=static).compile())
    assert {size for name, size in found if name == "all-gather"} == gathered
    assert {name for name, _ in found} <= {"all-gather", "all-reduce", "reduce-scatter"}
    assert max(size for _, size in found) <= max(16 * 16, 16 * 32 + 32 + 320 + 10), "a batch, or the parameters"


def test_the_state_is_overwritten_in_place():
    step, state = make_run(Dropped(), DATA)
    for parameters in (None, SHARDED):
        program, arguments, static = chunk(step, state, data_parallel(parameters=parameters), DATA, order_size=132)
        placed = jax.tree.map(jnp.copy, arguments[0])
        after, _ = program(placed, *arguments[1:], static=static)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(placed.params))
        before, now = (jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (arguments[0], after))
        assert before == now


def test_a_state_stays_where_it_was_put():
    """A parameter for each place in the batch would drift to the devices that hold the examples."""

    def objective(params, batch, *, model_state, key, train):
        return jnp.square(params - batch), training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(8.0))
    state = training.make_state(jnp.zeros(16), optax.sgd(8.0), key=jax.random.key(0))
    batch = np.arange(16, dtype=np.float32)
    for engine in ENGINES:
        after = training.fit(
            step, state, batch, epochs=2, batch_size=16, shuffle=False, layout=data_parallel(), engine=engine
        ).state
        np.testing.assert_array_equal(after.params, batch)  # rate 8 on the mean of 16 squares: at once
        assert after.params.sharding == data_parallel().replicated


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_call_compiles_nothing(engine):
    step, state = make_run(Normalized(), DATA)
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **kwargs: events.append(event) if "backend_compile" in event else None
    )
    options = dict(engine=engine, validation=DATA)
    train(step, state, data_parallel(parameters=SHARDED), **options)
    before = len(events)
    assert before > 0
    train(step, state, data_parallel(parameters=fully_sharded(min_size=32)), **options)
    assert len(events) == before
