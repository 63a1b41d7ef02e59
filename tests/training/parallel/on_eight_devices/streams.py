"""Streamed batches that eight devices share. Run by `test_on_eight_devices.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.data.streaming import stream
from jaxdl.diagnostics import measure_gradient_flow
from jaxdl.training.parallel import data_parallel, fully_sharded
from tests.training.parallel.tasks import Dropped, Normalized, assert_agree, make_data, make_run

DATA = make_data(136)
LAYOUT = data_parallel(parameters=fully_sharded(min_size=32))
REPLICATED = data_parallel()


def batches(data=DATA, batch_size=16):
    return stream(data, batch_size=batch_size, key=jax.random.key(5))


@pytest.mark.parametrize(
    ("make_model", "options"),
    [(Normalized, {}), (Dropped, dict(microbatches=2, measure=measure_gradient_flow, measure_every=3))],
)
def test_a_streamed_run_agrees_with_one_device(make_model, options):
    step, state = make_run(make_model(), DATA, **options)
    validation = batches(tuple(array[:101] for array in DATA), batch_size=20)
    ours, alone = (
        training.fit(step, state, batches(), epochs=2, batch_size=16, validation=validation, layout=layout)
        for layout in (LAYOUT, None)
    )
    assert_agree(ours.state, alone.state)
    for record in ("train", "validation", "measures"):
        assert_agree(getattr(ours.history, record), getattr(alone.history, record))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, ours.state)
    assert shardings == LAYOUT.state_shardings(state)


@pytest.mark.parametrize("count", [1, 7, 101])
def test_evaluation_of_a_stream_is_exact(count):
    """The mean of 1 to N is (N + 1) / 2, whatever the batch."""

    def objective(params, batch, *, model_state, key, train):
        return batch, training.Aux(model_state, {})

    state = training.make_state({}, optax.sgd(0.1), key=jax.random.key(0))
    data = np.arange(1, count + 1, dtype=np.float32)
    for batch_size in (1, 5, count):
        examples = batches(data, batch_size=min(batch_size, count))
        assert training.evaluate(objective, state, examples, layout=REPLICATED) == {"loss": (count + 1) / 2}


def test_a_state_stays_where_it_was_put():
    """A parameter for each place in the batch would drift to the devices that hold the examples."""

    def objective(params, batch, *, model_state, key, train):
        return jnp.square(params - batch), training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(8.0))
    state = training.make_state(jnp.zeros(16), optax.sgd(8.0), key=jax.random.key(0))
    data = np.ones(32, np.float32)
    after = training.fit(step, state, batches(data), epochs=2, batch_size=16, layout=REPLICATED).state
    np.testing.assert_array_equal(after.params, data[:16])
    assert after.params.sharding == REPLICATED.replicated


def test_the_batch_of_a_step_that_is_not_finite_is_drawn_again():
    spoiled = make_data(136)
    spoiled[0][40] = np.inf
    step, state = make_run(Dropped(), spoiled)
    found = []
    for layout in (None, LAYOUT):
        with pytest.raises(
            training.NotFiniteError, match="holds numbers that are not finite, in its leaf '0'"
        ) as error:
            training.fit(step, state, batches(spoiled), epochs=1, batch_size=16, layout=layout)
        found.append(error.value)
    assert found[0].step == found[1].step
    np.testing.assert_array_equal(found[0].batch[1], found[1].batch[1])
    assert found[1].batch[0].addressable_shards[0].data.shape == (2, 4, 4, 1)
