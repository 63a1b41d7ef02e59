"""What is measured before the members start: which strategy is faster, and how many members fit."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training.compilation import Stopwatch
from jaxdl.training.schedule import make_schedule
from jaxdl.training.sweep import memory, strategies
from jaxdl.training.sweep.job import Job

OPTIONS = dict(epochs=2, batch_size=10)
ROUNDING = dict(rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("slower", "order_key"),
    [("vmap", None), ("map", jax.random.PRNGKey), pytest.param("map", None, marks=pytest.mark.slow)],
)
def test_what_is_slowed_down_is_not_taken(task, monkeypatch, slower, order_key):
    timed = strategies.STRATEGIES[slower].timed

    def slow(self, group, orders, count):
        time.sleep(0.06)
        return timed(self, group, orders, count)

    monkeypatch.setattr(strategies.STRATEGIES[slower], "timed", slow)
    key = None if order_key is None else jax.random.key(1)
    runs = training.run_many(task.step, task.init, task.data, seeds=[0, 1], order_key=key, **OPTIONS)
    assert runs.history.engine == {"vmap": "map", "map": "vmap"}[slower]
    assert set(runs.timings) == {"vmap", "map"}
    assert runs.timings[slower] >= 0.06 / 12
    assert min(runs.timings.values()) > 0


def test_a_mode_that_is_given_is_not_timed(task):
    for mode in ("vmap", "map"):
        runs = training.run_many(task.step, task.init, task.data, seeds=[0], mode=mode, **OPTIONS)
        assert (runs.history.engine, runs.timings) == (mode, {})


def test_nothing_left_to_do_is_timed_neither(task, same_bytes):
    runs = training.run_many(task.step, task.init, task.data, seeds=[4, 2], steps=0, batch_size=10)
    same_bytes(training.member(runs.states, 1), task.init(jax.random.key(2)))
    assert runs.history.train == {}


@pytest.mark.parametrize("mode", ["vmap", "map"])
@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_groups_are_their_members(task, same_bytes, mode, at_once):
    options = dict(validation=task.data, mode=mode, **OPTIONS)
    seeds = range(5)
    whole = training.run_many(task.step, task.init, task.data, seeds=seeds, **options)
    runs = training.run_many(task.step, task.init, task.data, seeds=seeds, members_at_once=at_once, **options)
    assert (runs.members, runs.members_at_once) == (whole.members, min(at_once, 5))
    if mode == "map":
        same_bytes(runs.states, whole.states)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **ROUNDING), runs.states.params, whole.states.params)
    for ours, theirs in (
        (runs.history.train, whole.history.train),
        (runs.history.validation, whole.history.validation),
    ):
        assert ours["loss"].shape == theirs["loss"].shape
        np.testing.assert_allclose(ours["loss"], theirs["loss"], **ROUNDING)


def test_groups_share_their_program(digits_like):
    """Three members in groups of two: the last group is filled up, and traces nothing anew."""
    traces = []

    def objective(params, batch, *, model_state, key, train):
        traces.append(len(traces))
        return jnp.square(batch[1] - params), training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.1))
    init = lambda key: training.make_state(jax.random.normal(key), optax.sgd(0.1), key=key)  # noqa: E731
    data = (digits_like[0], digits_like[1].astype(np.float32))

    def run(count, at_once):
        traces.clear()
        options = dict(seeds=range(count), members_at_once=at_once, mode="vmap", **OPTIONS)
        training.run_many(step, init, data, **options)
        return len(traces)

    assert run(2, 2) > 0
    assert run(3, 2) == 0
    assert run(3, 3) > 0


def test_members_that_do_not_fit_go_in_groups_of_the_same_size(task, monkeypatch):
    def needed(self, single, cell, size, length):
        return 100 * size

    for strategy in strategies.STRATEGIES.values():
        monkeypatch.setattr(strategy, "bytes_needed", needed)
    monkeypatch.setattr(memory, "available_bytes", lambda devices: 1000)
    for mode in ("vmap", "map"):  # half of it holds 5, so 7 go as 4 and 3
        runs = training.run_many(task.step, task.init, task.data, seeds=range(7), mode=mode, **OPTIONS)
        assert runs.members_at_once == 4
        assert runs.history.train["loss"].shape == (7, 24)


@pytest.mark.parametrize(
    ("needed", "available", "fit"),
    [
        (lambda size: 10 * size, 10_000, 20),
        (lambda size: 10 * size, 100, 5),
        (lambda size: 10 * size, 9, 1),
        (lambda size: 40 + 10 * size, 200, 6),
        (lambda size: None, 100, 20),
        (lambda size: 10 * size, None, 20),
    ],
)
def test_the_largest_group_within_half_of_the_memory(needed, available, fit):
    assert memory.members_that_fit(needed, available, 20) == fit


def test_memory_needed_grows_by_what_members_hold(task):
    """Of the program's own account: two states more need at least the bytes of two states more, and no data."""
    job = run_job(task)
    single = task.init(jax.random.key(0))
    size = memory.tree_bytes(single)
    leaves = jax.tree.leaves((single.params, single.opt_state, single.step, single.bad_step))
    assert size == sum(leaf.nbytes for leaf in leaves) + 8  # the key is two numbers of four bytes
    for strategy in strategies.STRATEGIES.values():
        few, many = (strategy(job, jax.devices()[:1]).bytes_needed(single, {}, count, 12) for count in (2, 10))
        assert few is not None
        assert many - few >= 8 * (size - 4)
        assert many < 100 * size


def test_the_bytes_of_a_program_are_its_arguments_but_the_data():
    state, data = jnp.ones(1000), jnp.ones(50_000)
    program = jax.jit(lambda state, data: state + data[0], donate_argnums=0)
    watch = Stopwatch()
    found = memory.program_bytes(watch, program, state, data, data=data)
    assert found is not None
    assert state.nbytes <= found < state.nbytes + 1000
    assert watch.compile_seconds > 0


def run_job(task):
    schedule = make_schedule(
        task.step, task.state, task.data, None, evaluate_every=1, shuffle=True, order_key=None, steps=None, **OPTIONS
    )
    return Job(task.step, task.step, jax.device_put(task.data), None, schedule, Stopwatch())


def test_free_memory_is_read_from_the_device_or_the_machine(tmp_path):
    class Device:
        def __init__(self, platform, stats=None):
            self.platform, self.stats = platform, stats

        def memory_stats(self):
            return self.stats

    full, empty = (Device("gpu", {"bytes_limit": 100, "bytes_in_use": used}) for used in (90, 10))
    assert memory.available_bytes([empty, full]) == 10
    assert memory.available_bytes([Device("gpu"), full]) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4 kB\n")
    assert memory._free_on_the_host(tmp_path / "meminfo") == 4096
    assert memory._free_on_the_host(tmp_path / "none") is None
    whole, half = memory.available_bytes([Device("cpu")]), memory.available_bytes([Device("cpu")] * 2)
    assert (whole is None) == (half is None)
    assert whole is None or 0.3 < half / whole < 0.7


def test_the_bar_counts_members(task, capsys):
    training.run_many(task.step, task.init, task.data, seeds=range(3), mode="map", progress=True, **OPTIONS)
    assert "3 members: " in capsys.readouterr().err
    training.run_many(
        task.step, task.init, task.data, seeds=range(3), mode="map", members_at_once=2, progress=True, **OPTIONS
    )
    shown = capsys.readouterr().err
    assert "members 1 to 2 of 3: " in shown
    assert "members 3 to 3 of 3: " in shown
    training.run_many(task.step, task.init, task.data, seeds=[0], mode="map", **OPTIONS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("at_once", [0, -1, 2.5, True])
def test_groups_of_no_size(task, at_once):
    with pytest.raises(ValueError, match="members_at_once: expected a whole number >= 1; got"):
        training.run_many(task.step, task.init, task.data, seeds=[0], members_at_once=at_once, **OPTIONS)


@pytest.mark.parametrize("devices", [[], 3, [0], "cpu"])
def test_devices_that_are_none(task, devices):
    with pytest.raises(ValueError, match=r"devices: expected a list of at least one jax\.Device, each once; got"):
        training.run_many(task.step, task.init, task.data, seeds=[0], devices=devices, **OPTIONS)


def test_a_device_twice(task):
    with pytest.raises(ValueError, match=r"devices: expected a list of at least one jax\.Device, each once; got"):
        training.run_many(task.step, task.init, task.data, seeds=[0], devices=jax.devices()[:1] * 2, **OPTIONS)


def test_members_share_the_step_counter(task):
    def init(key):
        state = task.init(key)
        once = training.fit(task.step, state, task.data, steps=1, batch_size=10).state
        return once if np.array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(1))) else state

    with pytest.raises(
        ValueError, match=r"init: expected members that have done the same .* got 0 for member 0 and 1 for"
    ):
        training.run_many(task.step, init, task.data, seeds=[0, 1], mode="map", **OPTIONS)
