"""The law of devices: one device and n agree to 1e-6, batch normalization included.

Run by `test_on_eight_devices.py`.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import measure_gradient_flow
from jaxdl.training.engines import ENGINES
from jaxdl.training.parallel import data_parallel, fully_sharded
from tests.training.parallel.tasks import Dropped, Normalized, assert_agree, make_data, make_run

DEVICES = (1, 2, 4, 8)
SHARDED = fully_sharded(min_size=32)
DATA = make_data()
CASES = {
    "dropout": (Dropped, None),
    "batch_norm": (Normalized, None),
    "batch_norm_fully_sharded": (Normalized, SHARDED),
}


def run(step, state, layout=None, *, data=DATA, epochs=2, **options):
    return training.fit(step, state, data, epochs=epochs, batch_size=16, layout=layout, **options)


def same_run(ours, theirs, *, rtol=1e-6):
    assert_agree(ours.state, theirs.state, rtol=rtol)
    for record in ("train", "validation", "measures"):
        assert_agree(getattr(ours.history, record), getattr(theirs.history, record), rtol=rtol)


@pytest.mark.parametrize(
    "case", [*(pytest.param(case, marks=pytest.mark.slow) for case in ("dropout", "batch_norm")), *list(CASES)[2:]]
)
def test_n_devices_agree_with_one(case):
    make_model, parameters = CASES[case]
    step, state = make_run(make_model(), DATA)
    validation = tuple(array[:101] for array in DATA)
    alone = run(step, state, validation=validation)
    for count in DEVICES:
        result = run(step, state, data_parallel(count, parameters=parameters), validation=validation)
        same_run(result, alone)
        assert len(result.state.step.sharding.device_set) == count


@pytest.mark.parametrize("case", CASES)
def test_in_double_precision_the_difference_is_rounding(case):
    """So what float32 shows is rounding as well."""
    make_model, parameters = CASES[case]
    jax.config.update("jax_enable_x64", True)
    try:
        data = make_data(dtype=np.float64)
        step, state = make_run(make_model(jnp.float64), data)
        double = lambda leaf: leaf.astype(jnp.float64)  # noqa: E731
        state = replace(state, model_state=jax.tree.map(double, state.model_state))
        state = replace(state, average=replace(state.average, model_state=state.model_state))
        same_run(
            run(step, state, data_parallel(parameters=parameters), data=data), run(step, state, data=data), rtol=1e-13
        )
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("examples", ["replicated", "sharded"])
def test_every_engine_and_placement_of_the_data(engine, examples):
    data = make_data(136)
    step, state = make_run(Dropped(), data)
    layout = data_parallel(examples=examples, parameters=SHARDED)
    options = dict(data=data, engine=engine, chunk_size=3)
    same_run(run(step, state, layout, **options), run(step, state, data=data))


def test_batch_statistics_are_those_of_the_whole_batch():
    """Running statistics after one step are 0.9 (0, 1) + 0.1 (mean, variance) of all 16 examples, by NumPy."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x.reshape(x.shape[0], -1))
            return nn.Dense(10)(x)

    step, state = make_run(Model(), DATA)
    after = training.fit(step, state, DATA, steps=1, batch_size=16, shuffle=False, layout=data_parallel()).state
    x = DATA[0][:16].reshape(16, -1).astype(np.float64)
    statistics = after.model_state["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * x.var(0), rtol=1e-6)
    by_device = np.mean([part.var(0) for part in np.split(x, 8)], 0)
    assert np.all(np.abs(by_device / x.var(0) - 1) > 0.05), "an average over devices would be another number"


STEPS = {
    "parts_penalty_measures": dict(
        microbatches=2, regularizer=jaxdl.regularizers.l2(0.01), measure=measure_gradient_flow, measure_every=3
    ),
    "clipped_examples": dict(max_example_norm=0.5, measure=measure_gradient_flow),
}


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_what_a_step_may_hold(options):
    step, state = make_run(Dropped(), DATA, **options)
    same_run(run(step, state, data_parallel(parameters=SHARDED), epochs=1), run(step, state, epochs=1))


def test_a_line_search_calls_the_loss_of_the_whole_batch():
    step, state = make_run(Dropped(), DATA, tx=jaxdl.optimizers.lbfgs(), average=False)
    layout = data_parallel(parameters=SHARDED)
    options = dict(steps=3, batch_size=128)
    ours, alone = (training.fit(step, state, DATA, layout=where, **options) for where in (layout, None))
    assert_agree(ours.history.train, alone.history.train, rtol=1e-5)  # curvature divides by differences of gradients
    memories = [leaf for leaf in jax.tree.leaves(ours.state.opt_state) if leaf.shape[1:] == (16, 32)]
    assert memories
    for memory in memories:
        assert memory.addressable_shards[0].data.shape == (len(memory), 16, 4)


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize("count", [1, 7, 16, 101])
def test_evaluation_is_exact(devices, count):
    """The mean of 1 to N is (N + 1) / 2, whatever the batch and the devices."""

    def objective(params, batch, *, model_state, key, train):
        return batch, training.Aux(model_state, {})

    state = training.make_state({}, optax.sgd(0.1), key=jax.random.key(0))
    data = np.arange(1, count + 1, dtype=np.float32)
    for batch_size in (1, 5, 1000):
        found = training.evaluate(objective, state, data, batch_size=batch_size, layout=data_parallel(devices))
        assert found == {"loss": (count + 1) / 2}


def test_data_that_are_not_finite_are_found_by_doing_the_steps_again():
    x, y = make_data(136)
    x[40] = np.inf
    step, state = make_run(Dropped(), (x, y))
    message = r"at step 2 .*The batch of that step holds numbers that are not finite, in its leaf '0'"
    with pytest.raises(training.NotFiniteError, match=message) as caught:
        run(step, state, data_parallel(parameters=SHARDED, examples="sharded"), data=(x, y), shuffle=False)
    assert int(caught.value.state.step) == 2
    np.testing.assert_array_equal(caught.value.batch[0], x[32:48])


def test_a_run_goes_on_with_other_devices(tmp_path):
    step, state = make_run(Normalized(), DATA)
    whole = run(step, state)
    first = run(step, state, data_parallel(8, parameters=SHARDED), epochs=1, folder=tmp_path)
    second = run(step, state, data_parallel(2), folder=tmp_path)
    assert int(first.state.step) == 8
    same_run(second, whole)
    assert second.history.train["loss"].shape == (16,)
    # A state that lies on some devices is placed on others.
    same_run(run(step, first.state, data_parallel(4)), run(step, first.state))
