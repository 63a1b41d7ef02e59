"""`fit` takes arrays, names, streams, Grain datasets and iterables; each can be cut and goes on."""

import grain
import jax
import numpy as np
import pytest

import jaxdl
from jaxdl import training

BATCH = 10


def batches(data, count=12):
    return [tuple(leaf[i * BATCH : (i + 1) * BATCH] for leaf in data) for i in range(count)]


KINDS = {
    "a stream": lambda data: jaxdl.data.stream(data, batch_size=BATCH, key=jax.random.key(0), shuffle=False),
    "a Grain map dataset": lambda data: grain.MapDataset.source(batches(data)),
    "a Grain iter dataset": lambda data: grain.MapDataset.source(batches(data)).to_iter_dataset(),
    "a generator": lambda data: (batch for batch in batches(data)),
    "an iterator": lambda data: iter(batches(data)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_batches_give_the_same_bytes(task, tmp_path, same_bytes, kind):
    expected = training.fit(task.step, task.state, task.data, steps=12, batch_size=BATCH, shuffle=False)
    make = KINDS[kind]
    result, history = training.fit(task.step, task.state, make(task.data), steps=12, batch_size=BATCH)
    same_bytes(result, expected.state)
    np.testing.assert_array_equal(history.train["loss"], expected.history.train["loss"])
    assert history.engine == "stream"
    # Cut after five steps, from another object of the same kind.
    options = dict(batch_size=BATCH, folder=tmp_path)
    training.fit(task.step, task.state, make(task.data), steps=5, **options)
    result, history = training.fit(task.step, task.state, make(task.data), steps=12, **options)
    same_bytes(result, expected.state)
    np.testing.assert_array_equal(history.train["loss"], expected.history.train["loss"])


def test_a_name(digits_like):
    digits = jaxdl.data.load("digits")
    model = jaxdl.models.MLP((64, 10))
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    step = training.make_train_step(objective, jaxdl.optimizers.gradient_descent(0.1))
    state = training.init_state(model, step.tx, digits.train.x[:1], key=jax.random.key(0))
    result, history = training.fit(step, state, "digits", epochs=1, batch_size=100, validation="digits")
    assert history.train["loss"].shape == (11,)
    exact = training.evaluate(objective, result, digits.validation)["loss"]
    np.testing.assert_allclose(history.validation["loss"], [exact], rtol=1e-6)
    np.testing.assert_allclose(training.evaluate(objective, result, "digits")["loss"], exact, rtol=1e-6)


def test_validation_as_a_stream_is_exact_with_averages_and_early_stopping(task):
    step = training.make_train_step(task.objective, task.step.tx, average=training.ema(0.9))
    state = training.make_state(task.state.params, step.tx, key=task.state.key, average=True)
    held_out = jaxdl.data.stream(task.data, batch_size=50, key=jax.random.key(0))
    rule = training.EarlyStopping(5, metric="averaged_accuracy", mode="max")
    options = dict(epochs=3, batch_size=BATCH, early_stopping=rule)
    streamed = training.fit(step, state, task.data, validation=held_out, **options)
    plain = training.fit(step, state, task.data, validation=task.data, **options)
    assert sorted(streamed.history.validation) == ["accuracy", "averaged_accuracy", "averaged_loss", "loss"]
    for name, values in plain.history.validation.items():
        np.testing.assert_allclose(streamed.history.validation[name], values, rtol=1e-6)
    assert int(streamed.state.stopping.best_step) == int(plain.state.stopping.best_step)


def test_epochs_of_a_stream_that_does_not_know_them(task):
    data = batches(task.data)
    with pytest.raises(ValueError, match=r"epochs: expected steps in their place, since this stream does not know its"):
        training.fit(task.step, task.state, (b for b in data), epochs=1, batch_size=BATCH)
    result = training.fit(
        task.step, task.state, iter(data), epochs=3, batch_size=BATCH, steps_per_epoch=4, validation=task.data
    )
    assert int(result.state.step) == 12
    np.testing.assert_array_equal(result.history.validation_steps, [4, 8, 12])


def test_lengths_of_epochs_that_are_known_already(task):
    with pytest.raises(ValueError, match=r"steps_per_epoch: expected None for arrays, whose number says it; got 4"):
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=BATCH, steps_per_epoch=4)
    stream = KINDS["a stream"](task.data)
    with pytest.raises(ValueError, match=r"steps_per_epoch: expected None or the 12 that .* has; got 4"):
        training.fit(task.step, task.state, stream, epochs=1, batch_size=BATCH, steps_per_epoch=4)


def test_an_iterator_that_ends_early_says_how_far_it_came(task, tmp_path):
    with pytest.raises(ValueError, match=r"12.*20|20.*12"):
        training.fit(task.step, task.state, iter(batches(task.data)), steps=20, batch_size=BATCH, folder=tmp_path)
    with pytest.raises(ValueError, match=r"data: expected an iterator over batches; got one without any"):
        training.fit(task.step, task.state, iter([]), steps=1, batch_size=BATCH)


def test_another_stream_is_refused(task, tmp_path):
    make = lambda seed: jaxdl.data.stream(task.data, batch_size=BATCH, key=jax.random.key(seed))  # noqa: E731
    options = dict(batch_size=BATCH, folder=tmp_path)
    training.fit(task.step, task.state, make(0), steps=3, **options)
    with pytest.raises(ValueError, match=r"data/first_batch: crc \w{8} in the checkpoint, crc \w{8} now"):
        training.fit(task.step, task.state, make(1), steps=6, **options)
    with pytest.raises(ValueError, match=r"data/stream: "):
        training.fit(task.step, task.state, task.data, steps=6, **options)


@pytest.mark.parametrize("guard", ["raise", None])
def test_the_batch_of_a_bad_step_is_drawn_again(task, guard, same_bytes):
    x, y = task.data
    x = x.copy()
    x[35] = np.nan
    step = training.make_train_step(task.objective, task.step.tx, guard=guard)
    with pytest.raises(training.NotFiniteError, match=r"at step 3 .* in its leaf '0'") as caught:
        training.fit(step, task.state, KINDS["a stream"]((x, y)), epochs=1, batch_size=BATCH)
    np.testing.assert_array_equal(caught.value.batch[0], x[30:40])
    before = training.fit(step, task.state, KINDS["a stream"]((x, y)), steps=3, batch_size=BATCH).state
    same_bytes(caught.value.state, before)
    with pytest.raises(
        training.NotFiniteError, match="Its batch is gone with the stream, which cannot be read"
    ) as caught:
        training.fit(step, task.state, iter(batches((x, y))), steps=12, batch_size=BATCH)
    assert caught.value.batch is None
