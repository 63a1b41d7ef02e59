"""The streamed engine: the same bytes as `fit` on the same batches, wherever it is cut."""

import json
from itertools import islice

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.data.streaming import as_stream, stream
from jaxdl.training import programs
from jaxdl.training.history import Recorder
from jaxdl.training.streaming import StreamDriver

from .conftest import make_task


class ConvNet(nn.Module):
    """Convolution, batch normalization, dropout."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.3, deterministic=not train)(nn.max_pool(x, (2, 2), strides=(2, 2)))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


def noisy(key, x):
    return x + 0.1 * jax.random.normal(key, x.shape)


def moment(moment):
    return {"norm": jnp.sum(jnp.abs(moment.updates["Conv_0"]["kernel"])), "kernel": moment.params["Dense_0"]["kernel"]}


def convolutional(data, **options):
    objective = training.supervised(ConvNet(), jaxdl.losses.softmax_cross_entropy, augment=noisy)
    step = training.make_train_step(objective, optax.adam(1e-2), average=training.ema(0.9), **options)
    return step, training.init_state(ConvNet(), step.tx, data[0][:1], key=jax.random.key(1), average=True)


def plain(data, **options):
    task = make_task(data, **options)
    return task.step, task.state


TASKS = {
    "plain": plain,
    "convolutional": convolutional,
    "measured": lambda data: convolutional(data, measure=moment),
    "measured at times": lambda data: convolutional(data, measure=moment, measure_every=3),
}


def run(step, state, data, lengths, *, place=0, last_step=None):
    """Drives a stream through segments of these lengths; the state, the record, and the place where it is."""
    start = int(state.step)
    watch = programs.Stopwatch()
    driver = StreamDriver(step, data, watch, last_step=start + sum(lengths) if last_step is None else last_step)
    driver.seek(place)
    recorder = Recorder(first_step=start, time_axis=0, measure_every=step.measure_every)
    state = jax.tree.map(jnp.copy, state)
    for length in lengths:
        state, metrics = driver.advance(state, start, length)
        assert recorder.add(metrics) is None
        start += length
    history = recorder.history(steps_per_epoch=1, engine="stream", compile_seconds=0, run_seconds=0)
    place = driver.position()
    driver.close()
    return state, history, place


@pytest.mark.parametrize("lengths", [(24,), (1, 7, 16), (5, 5, 5, 5, 4)], ids=str)
@pytest.mark.parametrize("name", TASKS)
def test_the_bytes_are_those_of_fit_on_the_same_batches(name, lengths, digits_like, same_bytes):
    step, state = TASKS[name](digits_like)
    expected, record = training.fit(step, state, digits_like, steps=24, batch_size=10, shuffle=False, progress=False)
    made = stream(digits_like, batch_size=10, shuffle=False)
    ours, history, place = run(step, state, made, lengths)
    same_bytes(ours, expected)
    same_bytes(history.train, record.train)
    assert place["batches"] == 24
    if step.measure is None:
        assert history.measures is None
    else:
        same_bytes(history.measures, record.measures)
        np.testing.assert_array_equal(history.measure_steps, record.measure_steps)


@pytest.mark.parametrize("width", [100_000, 700_000])  # groups of two batches and of one
def test_groups_of_few_batches_change_nothing(width, same_bytes):
    x = np.random.RandomState(0).rand(12, width).astype(np.float32)
    data = x, np.arange(12, dtype=np.int32) % 3
    model = nn.Dense(3)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(1e-3))
    state = training.init_state(model, step.tx, x[:1], key=jax.random.key(0))
    expected = training.fit(step, state, data, steps=7, batch_size=4, shuffle=False, progress=False).state
    same_bytes(run(step, state, stream(data, batch_size=4, shuffle=False), (3, 4))[0], expected)


@pytest.mark.parametrize("cut", [0, 4, 13, 19])
def test_a_run_cut_anywhere_goes_on_to_the_same_bytes(cut, digits_like, key, same_bytes):
    step, state = convolutional(digits_like, measure=moment, measure_every=3)
    made = stream(digits_like, batch_size=16, key=key, on_corrupt="skip", num_threads=2)
    whole, _, place = run(step, state, made, (20,))
    half, _, cut_place = run(step, state, made, (cut,) if cut else (), last_step=20)
    cut_place = json.loads(json.dumps(cut_place))
    for again in (cut_place, cut):
        resumed, history, end = run(step, half, made, (20 - cut,), place=again)
        same_bytes(resumed, whole)
        assert end == place
        assert [int(i) for i in history.measure_steps] == [i for i in range(cut, 20) if i % 3 == 0]


def test_a_resumed_place_within_a_group_is_exact_for_foreign_states(digits_like, same_bytes):
    import grain

    examples = [(digits_like[0][i], digits_like[1][i]) for i in range(120)]
    data = grain.MapDataset.source(examples).seed(1).shuffle().repeat().to_iter_dataset().batch(8)
    step, state = plain(digits_like)
    whole, _, _ = run(step, state, as_stream(data, batch_size=8), (30,))
    half, _, place = run(step, state, as_stream(data, batch_size=8), (11, 2), last_step=30)
    assert place["batches"] == 13
    assert "states" not in place
    resumed, _, _ = run(step, half, as_stream(data, batch_size=8), (17,), place=json.loads(json.dumps(place)))
    same_bytes(resumed, whole)


def batches_of(data, size=10):
    return [tuple(leaf[i : i + size] for leaf in data) for i in range(0, len(data[1]), size)]


def test_an_iterator_is_drawn_no_further_than_the_run(digits_like, same_bytes):
    step, state = plain(digits_like)
    source = iter(batches_of(digits_like))
    half, _, _ = run(step, state, as_stream(source, batch_size=10), (5,))
    whole, _, _ = run(step, half, as_stream(source, batch_size=10), (7,))
    expected = training.fit(step, state, digits_like, epochs=1, batch_size=10, shuffle=False, progress=False).state
    same_bytes(whole, expected)
    assert next(source, None) is None


def test_an_iterator_that_ends_early_is_named_with_its_steps(digits_like):
    step, state = plain(digits_like)
    with pytest.raises(
        ValueError,
        match=r"data: expected 20 batches; list_iterator ended after 12\. Pass fewer steps, or let it repeat",
    ):
        run(step, state, as_stream(iter(batches_of(digits_like)), batch_size=10), (8, 12))


def test_what_was_reached_survives_a_stream_that_fails(digits_like, same_bytes):
    step, state = plain(digits_like)

    def broken():
        yield from batches_of(digits_like)[:7]
        raise ConnectionError("gone")

    driver = StreamDriver(step, as_stream(broken(), batch_size=10), programs.Stopwatch(), last_step=12)
    assert driver.reached is None
    with pytest.raises(ConnectionError, match="gone"):
        driver.advance(jax.tree.map(jnp.copy, state), 0, 12)
    expected = training.fit(step, state, digits_like, steps=7, batch_size=10, shuffle=False, progress=False).state
    same_bytes(driver.reached, expected)
    assert driver.position() == {"batches": 7}
    driver.close()


def test_batches_can_be_looked_at_again(digits_like, key, same_bytes):
    step, state = plain(digits_like)
    made = stream(digits_like, batch_size=10, key=key)
    driver = StreamDriver(step, made, programs.Stopwatch(), last_step=9)
    state, _ = driver.advance(jax.tree.map(jnp.copy, state), 0, 4)
    place = driver.position()
    driver.advance(state, 4, 3)
    with driver.batches_from(place) as again:
        same_bytes([next(again) for _ in range(3)], list(islice(made, 7))[4:])
    assert driver.position()["batches"] == 7
    driver.close()
    begun = StreamDriver(
        step, as_stream(iter(batches_of(digits_like)), batch_size=10), programs.Stopwatch(), last_step=9
    )
    with pytest.raises(
        ValueError, match=r"data: expected what can be read again; list_iterator is an iterator\. Pass an"
    ):
        begun.batches_from(begun.position())
    begun.close()


def test_skipped_records_are_counted_up_to_the_steps_done(digits_like):
    class Records:
        def __len__(self):
            return 120

        def __getitem__(self, index):
            if index in (3, 57):
                raise OSError("no")
            return tuple(leaf[index] for leaf in digits_like)

    step, state = plain(digits_like)
    made = stream(Records(), batch_size=10, shuffle=False, on_corrupt="skip")
    driver = StreamDriver(step, made, programs.Stopwatch(), last_step=12)
    counts = []
    for start, length in ((0, 1), (1, 4), (5, 7)):
        state, _ = driver.advance(state, start, length)
        counts.append(driver.skipped)
    assert counts == [1, 1, 2]
    driver.close()


@pytest.fixture
def key():
    return jax.random.key(9)


@pytest.fixture
def compilations():
    """Seconds of every compilation from here on."""
    seconds = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: (
            seconds.append(duration) if event == "/jax/core/compile/backend_compile_duration" else None
        )
    )
    return seconds


def test_one_program_serves_segments_of_all_lengths(digits_like, key, compilations):
    step, state = convolutional(digits_like)
    made = stream(digits_like, batch_size=16, key=key)
    run(step, state, made, (1,))
    count = len(compilations)
    run(step, state, made, (2, 7, 1, 64, 3))
    assert len(compilations) == count


def test_half_precision_batches_stay_so(key):
    x = jnp.ones((8, 3), jnp.bfloat16)
    model = nn.Dense(2, dtype=jnp.bfloat16)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.1))
    state = training.init_state(model, step.tx, x[:1], key=key)
    data = x, jnp.zeros(8, jnp.int32)
    expected = training.fit(step, state, data, steps=4, batch_size=4, shuffle=False, progress=False).state
    ours, _, _ = run(step, state, stream(data, batch_size=4, shuffle=False), (4,))
    for left, right in zip(jax.tree.leaves(ours.params), jax.tree.leaves(expected.params), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()
