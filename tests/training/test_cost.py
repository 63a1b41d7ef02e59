import dataclasses
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.training.cost import Estimate, estimate
from jaxdl.training.engines import ENGINES

from .conftest import make_task

NO_WEIGHTS = 16 * 8 + 8 + 8 * 6 + 6 + 6 * 10 + 10


@pytest.fixture
def programs_compiled():
    """Names of our own programs that were compiled, as they are."""
    names = []

    def listen(event, seconds, fun_name="", **_):
        if "backend_compile" in event and "program" in fun_name:
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return names


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_then_finds_everything_compiled(digits_like, same_bytes, programs_compiled, engine):
    task = make_task(digits_like)
    run = dict(steps=31, batch_size=10, engine=engine, chunk_size=5)
    guessed = estimate(task.step, task.state, task.data, **run, timed_steps=3)
    assert guessed.steps == 31
    assert guessed.compile_seconds > 0
    compiled = len(programs_compiled)
    assert compiled > 0
    result = training.fit(task.step, task.state, task.data, **run)
    assert len(programs_compiled) == compiled
    same_bytes(result.state, training.fit(make_task(digits_like).step, task.state, task.data, **run).state)


def test_operations_of_an_mlp(task):
    """Forward, and for the gradient as much for the kernels, and as much again for the inputs of all but the first."""
    sizes = [16 * 8, 8 * 6, 6 * 10]
    forward = 2 * 10 * sum(sizes)
    expected = 2 * forward + 2 * 10 * sum(sizes[1:])
    assert estimate(task.step, task.state, task.data, epochs=1, batch_size=10).flops_per_step == expected


def test_bytes_are_those_one_counts(digits_like):
    task = make_task(digits_like, optax.adam(0.01))
    guessed = estimate(task.step, task.state, task.data, epochs=2, batch_size=10)
    x, y = digits_like
    scalars = 4 * len([leaf for leaf in jax.tree.leaves(task.state) if leaf.ndim == 0 and leaf.dtype == jnp.int32])
    state = 3 * 4 * NO_WEIGHTS + scalars + 8  # parameters and two moments; counters; the key
    assert guessed.state_bytes == state
    assert guessed.argument_bytes == state + x.nbytes + y.nbytes
    metrics = 4 * 12 * 2  # loss and accuracy of twelve steps
    # What stands beside is the table of the outputs' addresses.
    assert state + metrics <= guessed.output_bytes <= state + metrics + 8 * 100
    assert guessed.aliased_bytes == state, "the state is updated in its place"
    assert guessed.temporary_bytes >= 4 * 120, "the order of the examples, for one"
    program = guessed.argument_bytes + guessed.output_bytes - guessed.aliased_bytes + guessed.temporary_bytes
    assert guessed.peak_bytes == program + 3 * state


def test_temporaries_grow_with_the_batch(digits_like):
    task = make_task(digits_like)
    small, large = (
        estimate(task.step, task.state, task.data, epochs=1, batch_size=size, timed_steps=1).temporary_bytes
        for size in (2, 120)
    )
    # The batch itself, and the values of the hidden layers.
    assert large - small >= 118 * 4 * 16


def test_seconds_are_those_of_the_timed_steps(task, monkeypatch):
    seen = []

    def shortest_seconds(run, state):
        seen.append(jax.tree.map(np.asarray, run(jax.tree.map(jnp.copy, state))[1]["loss"]))
        return 0.5

    monkeypatch.setattr(sys.modules["jaxdl.training.cost"], "shortest_seconds", shortest_seconds)
    guessed = estimate(task.step, task.state, task.data, epochs=3, batch_size=10, timed_steps=5)
    assert (guessed.seconds_per_step, guessed.run_seconds) == (0.1, pytest.approx(3.6))
    reference = training.fit(task.step, task.state, task.data, steps=5, batch_size=10).history
    np.testing.assert_array_equal(seen[0], reference.train["loss"])
    estimate(task.step, task.state, task.data, epochs=3, batch_size=60, timed_steps=5)
    assert seen[1].shape == (2,), "no further than the epoch goes"


def test_a_run_under_way(task):
    state = training.fit(task.step, task.state, task.data, steps=7, batch_size=10).state
    before = jax.device_get(state.params)
    assert estimate(task.step, state, task.data, epochs=2, batch_size=10).steps == 17
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state.params))


def test_what_a_backend_does_not_report(task, monkeypatch):
    executables = [types.SimpleNamespace(memory_analysis=lambda: None)]
    monkeypatch.setattr(training.compilation.Stopwatch, "executables", executables)
    guessed = estimate(task.step, task.state, task.data, epochs=1, batch_size=10, timed_steps=1)
    assert (guessed.argument_bytes, guessed.peak_bytes) == (None, None)
    assert guessed.verdict(10**9).endswith("this backend does not report memory")
    assert " -" in guessed.table()


def test_a_step_with_products_in_a_loop_of_unknown_length(digits_like):
    def objective(params, batch, *, model_state, key, train):
        turns = (batch[1][0] * 0 + 3).astype(jnp.int32)
        out = jax.lax.fori_loop(0, turns, lambda _, w: jax.lax.stop_gradient(w @ w), jnp.eye(4))
        return out[0, 0] + params * jnp.ones(len(batch[0])), training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.make_state(jnp.zeros(()), optax.sgd(0.1), key=jax.random.key(0))
    guessed = estimate(step, state, digits_like, epochs=1, batch_size=10, timed_steps=1)
    assert guessed.flops_per_step is None
    assert "operations of products a step" in guessed.table()


FIGURES = Estimate(1200, 1.5, 0.25, 10**9, 400, 100, 100, 300, 100, None)


def test_the_table():
    lines = FIGURES.table().splitlines()
    assert lines[1].split() == ["steps", "1,200"]
    assert any(line.split() == ["seconds", "of", "all", "steps", "300"] for line in lines)
    assert any(line.endswith("4 GFLOP/s") for line in lines)
    assert any(line.split() == ["peak", "memory", "1", "kB"] for line in lines)
    assert len(lines) == 14


@pytest.mark.parametrize(
    ("available", "words"),
    [
        (None, "peak memory 1 kB, of how much is not known: pass available_memory"),
        (2 * 10**9, "peak memory 1 kB of 2 GB: fits"),
        (1111, "1.111 kB: barely fits, take a smaller batch"),
        (1000, "1 kB: barely fits"),
        (999, "999 B: does not fit, take a smaller batch, microbatches, bfloat16"),
    ],
)
def test_the_verdict(available, words):
    verdict = FIGURES.verdict(available)
    assert verdict.startswith("1,200 steps of 0.25 s take about 5 min, after 1.5 s of compiling; ")
    assert words in verdict


def test_the_device_says_how_much_there_is():
    known = dataclasses.replace(FIGURES, available_bytes=10**6, steps=40_000)
    assert "take about 2.78 h" in known.verdict()
    assert known.verdict().endswith("peak memory 1 kB of 1 MB: fits")
    assert "does not fit" in known.verdict(999)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "epochs, steps: expected a total beyond the steps this state has done; got none left"),
        (dict(epochs=1, timed_steps=0), "timed_steps: expected a whole number >= 1; got 0"),
        (dict(epochs=1, chunk_size=0), "chunk_size: expected a whole number >= 1; got 0"),
        (dict(epochs=1, engine="auto"), "engine: expected one of 'loop', 'chunk', 'epoch'; got 'auto'"),
        (dict(epochs=1, batch_size=121), "batch_size: expected at most the number of examples, 120; got 121"),
    ],
)
def test_what_makes_no_estimate(task, options, message):
    with pytest.raises(ValueError, match=message):
        estimate(task.step, task.state, task.data, **{"batch_size": 10, **options})


def test_memory_is_a_number_of_bytes():
    with pytest.raises(ValueError, match=r"available_memory: expected a whole number >= 1; got 0\.5"):
        FIGURES.verdict(0.5)


def test_convolutions_count(digits_like):
    """As `fit` runs them, in the layout of the fast kernel: 3x3 on 4x4 with padding touches 10 of 12 an axis."""
    from flax import linen as nn

    model = nn.Sequential([nn.Conv(5, (3, 3)), lambda x: x.mean((1, 2)), nn.Dense(10)])
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.init_state(model, optax.sgd(0.1), digits_like[0][:1], key=jax.random.key(0))
    convolution, dense = 2 * 10 * 5 * (4 * 3 - 2) ** 2, 2 * 10 * 5 * 10
    guessed = estimate(step, state, digits_like, epochs=1, batch_size=10, timed_steps=1)
    assert guessed.flops_per_step == 2 * convolution + 3 * dense
