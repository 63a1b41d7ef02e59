"""The law of the members: each one of `run_many` is its single run."""

import jax
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.diagnostics import measure_gradient_flow

from .conftest import make_task

OPTIONS = dict(epochs=3, batch_size=10)
ROUNDING = dict(rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "tx"),
    [
        pytest.param("vmap", optax.adam(1e-2), id="vmap-adam"),
        pytest.param("map", optax.sgd(0.5), id="map-sgd"),
        pytest.param("vmap", optax.sgd(0.5), id="vmap-sgd", marks=pytest.mark.slow),
        pytest.param("map", optax.adam(1e-2), id="map-adam", marks=pytest.mark.slow),
    ],
)
def test_every_member_is_its_single_run(digits_like, same_bytes, mode, tx):
    task = make_task(digits_like, tx, measure=measure_gradient_flow, measure_every=10)
    seeds = [4, 1, 7]
    states, history = training.run_many(
        task.step, task.init, task.data, seeds=seeds, mode=mode, validation=task.data, **OPTIONS
    )
    assert history.engine == mode
    for i, seed in enumerate(seeds):
        single = training.fit(task.step, task.init(jax.random.key(seed)), task.data, validation=task.data, **OPTIONS)
        ours = training.member(states, i)
        if mode == "map":
            same_bytes(ours, single.state)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), ours.params, single.state.params)
        np.testing.assert_allclose(history.train["loss"][i], single.history.train["loss"], **ROUNDING)
        np.testing.assert_allclose(history.validation["loss"][i], single.history.validation["loss"], **ROUNDING)
        np.testing.assert_allclose(history.measures.error_signal[i], single.history.measures.error_signal, **ROUNDING)
        np.testing.assert_array_equal(history.measure_steps, single.history.measure_steps)


def test_members_differ(task):
    _, history = training.run_many(task.step, task.init, task.data, seeds=range(3), mode="vmap", **OPTIONS)
    assert len({row.tobytes() for row in history.train["loss"]}) == 3


def test_auto_names_the_mode_it_measured(task):
    _, history = training.run_many(task.step, task.init, task.data, seeds=[0, 1], steps=2, batch_size=10)
    assert history.engine in ("vmap", "map")


def test_a_member_that_blows_up_disturbs_no_other(digits_like):
    task = make_task(digits_like)

    def init(key):
        state = task.init(key)
        bad = np.array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(1)))
        params = jax.tree.map(lambda leaf: leaf * (np.nan if bad else 1.0), state.params)
        return training.make_state(params, task.step.tx, key=state.key)

    _, history = training.run_many(task.step, init, task.data, seeds=[0, 1, 2], mode="vmap", **OPTIONS)
    assert np.all(np.isnan(history.train["loss"][1]))
    assert np.all(np.isfinite(history.train["loss"][[0, 2]]))


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_make_no_members(task, seeds):
    with pytest.raises(ValueError, match="seeds: expected at least one seed, each once; got"):
        training.run_many(task.step, task.init, task.data, seeds=seeds, **OPTIONS)


def test_an_unknown_mode(task):
    with pytest.raises(ValueError, match="mode: expected auto, vmap or map; got 'pmap'"):
        training.run_many(task.step, task.init, task.data, seeds=[0], mode="pmap", **OPTIONS)


def test_a_batch_too_large(task):
    with pytest.raises(ValueError, match="batch_size: expected at most the number of examples, 120; got 500"):
        training.run_many(task.step, task.init, task.data, seeds=[0], epochs=1, batch_size=500)


@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_a_convolutional_network_with_running_statistics(digits_like, same_bytes, mode):
    from flax import linen as nn

    import jaxdl

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            for _ in range(2):
                x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3), use_bias=False)(x)))
            return nn.Dense(10)(x.reshape(x.shape[0], -1))

    objective, tx = training.supervised(Net(), jaxdl.losses.softmax_cross_entropy), optax.sgd(0.1, momentum=0.9)
    init = lambda key: training.init_state(Net(), tx, digits_like[0][:1], key=key)  # noqa: E731
    step = training.make_train_step(objective, tx)
    states, _ = training.run_many(step, init, digits_like, seeds=[0, 1], mode=mode, **OPTIONS)
    for i in range(2):
        single = training.fit(step, init(jax.random.key(i)), digits_like, **OPTIONS).state
        if mode == "map":
            same_bytes(training.member(states, i), single)
        rounding = dict(rtol=1e-3, atol=1e-4)
        ours = training.member(states, i)
        for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(single.params), strict=True):
            np.testing.assert_allclose(a, b, **rounding)


def test_a_member_that_is_not_there(task):
    states, _ = training.run_many(task.step, task.init, task.data, seeds=[0, 1], mode="map", steps=1, batch_size=10)
    with pytest.raises(IndexError, match="index: expected a member from 0 to 1; got 2"):
        training.member(states, 2)


def test_a_number_in_place_of_seeds(task):
    with pytest.raises(ValueError, match=r"seeds: expected at least one seed, each once; got 3\."):
        training.run_many(task.step, task.init, task.data, seeds=3, **OPTIONS)  # type: ignore[arg-type]


def test_a_state_in_place_of_its_init(task):
    with pytest.raises(TypeError, match="init: expected a function key -> TrainState; got TrainState"):
        training.run_many(task.step, task.state, task.data, seeds=[0], **OPTIONS)  # type: ignore[arg-type]


def test_seeds_in_an_array(task):
    _, history = training.run_many(
        task.step, task.init, task.data, seeds=np.arange(2), mode="vmap", steps=1, batch_size=10
    )
    assert history.train["loss"].shape == (2, 1)
