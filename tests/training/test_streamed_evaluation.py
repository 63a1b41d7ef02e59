"""`evaluate_stream` against `evaluate`, whose own oracle is the mean over single examples."""

import grain
import jax
import numpy as np
import pytest

import jaxdl
from jaxdl import training
from jaxdl.data import load
from jaxdl.data.streaming import stream
from jaxdl.training import programs
from jaxdl.training.streamed_evaluation import evaluate_stream


def close(ours, expected):
    assert ours.keys() == expected.keys() == {"loss", "accuracy"}
    for name in ours:
        np.testing.assert_allclose(ours[name], expected[name], rtol=2e-6)  # float32 sums in another order


@pytest.mark.parametrize("batch_size", [1, 7, 40, 119, 120, 1000])
def test_means_are_exact_whatever_the_batch_size(batch_size, task):
    expected = training.evaluate(task.objective, task.state, task.data)
    watch = programs.Stopwatch()
    close(evaluate_stream(task.objective, task.state, task.data, batch_size=batch_size, watch=watch), expected)
    assert len(watch.executables) == 1


def test_every_kind_of_data_is_evaluated(task):
    expected = training.evaluate(task.objective, task.state, task.data)
    batches = [tuple(leaf[i : i + 50] for leaf in task.data) for i in (0, 50, 100)]
    examples = [tuple(leaf[i] for leaf in task.data) for i in range(120)]
    kinds = [
        batches,
        iter(batches),
        (b for b in batches),
        grain.MapDataset.source(examples).batch(32),
        grain.MapDataset.source(examples).to_iter_dataset().batch(32),
        stream(task.data, batch_size=7, key=jax.random.key(0)),
    ]
    for data in kinds:
        for _ in range(2 if isinstance(data, list) else 1):
            close(evaluate_stream(task.objective, task.state, data), expected)


def test_records_that_cannot_be_read_do_not_count(task):
    x, y = task.data

    class Records:
        def __len__(self):
            return 120

        def __getitem__(self, index):
            if index in (0, 1, 60, 119):
                raise OSError("no")
            return x[index], y[index]

    data = stream(Records(), batch_size=32, shuffle=False, on_corrupt="skip")
    kept = np.delete(np.arange(120), [0, 1, 60, 119])
    close(
        evaluate_stream(task.objective, task.state, data),
        training.evaluate(task.objective, task.state, (x[kept], y[kept])),
    )


def test_a_name_is_evaluated_on_its_validation_split(task):
    model = jaxdl.models.MLP((64, 6, 10), activation=jax.nn.sigmoid)
    objective = training.supervised(
        model, jaxdl.losses.sigmoid_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    splits = load("digits")
    state = training.init_state(model, task.step.tx, splits.train.x[:1], key=jax.random.key(0))
    close(evaluate_stream(objective, state, "digits"), training.evaluate(objective, state, splits.validation))
    close(evaluate_stream(objective, state, "digits", split="test"), training.evaluate(objective, state, splits.test))


def test_arguments(task):
    with pytest.raises(TypeError, match=r"objective: expected an objective; got a TrainStep\. Pass step\.objective"):
        evaluate_stream(task.step, task.state, task.data)
    with pytest.raises(TypeError, match="objective: expected a function"):
        evaluate_stream("loss", task.state, task.data)
    with pytest.raises(TypeError, match="state: expected a TrainState"):
        evaluate_stream(task.objective, task.state.params, task.data)
    with pytest.raises(TypeError, match="data: expected the name of a data set"):
        evaluate_stream(task.objective, task.state, 5)
