"""Whatever is wrong with a run is said by the argument's name, and leaves the checkpoints there are as they were."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from tests.training.conftest import make_task


def labels(y, value):
    return np.where(np.arange(len(y)) == 7, value, y)


def strings(y):
    return np.array(["ab"[i % 2] for i in range(len(y))])


def vectors(params, batch, *, model_state, key, train):
    outputs = batch[0].reshape(len(batch[0]), -1) @ params["Dense_0"]["kernel"]
    return jnp.square(outputs).mean(1), training.Aux(model_state, {"outputs": outputs})


def scalar_loss(params, batch, *, model_state, key, train):
    losses, _ = vectors(params, batch, model_state=model_state, key=key, train=train)
    return losses.mean(), training.Aux(model_state, {})


def step_of(objective):
    return training.make_train_step(objective, optax.sgd(0.5))


def supervised(**metrics):
    model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)
    return step_of(training.supervised(model, jaxdl.losses.sigmoid_cross_entropy, metrics=metrics))


SHAPES = r"expected arrays that share one leading example axis of length >= 1; got 0: "
CASES = {
    "unknown name": (
        lambda x, y: dict(data="mnsit"),
        ValueError,
        r"name: expected 'digits', 'mnist' or .* Did you mean",
    ),
    "a label too large": (
        lambda x, y: dict(data=(x, labels(y, 17))),
        training.NotFiniteError,
        r"1 of 10 examples have a loss that is not finite, the first at row \d of .* \(there leaf '1' holds 17\)",
    ),
    "a negative label": (
        lambda x, y: dict(data=(x, labels(y, -1))),
        training.NotFiniteError,
        r"\(there leaf '1' holds -1\).* no class",
    ),
    "NaN in the data": (
        lambda x, y: dict(data=(np.where(np.arange(120)[:, None, None, None] == 7, np.nan, x), y)),
        training.NotFiniteError,
        r"The batch of that step holds numbers that are not finite, in its leaf '0'",
    ),
    "an empty split": (lambda x, y: dict(data=(x[:0], y[:0])), ValueError, "data: " + SHAPES + "0, 1: 0"),
    "unequal lengths": (lambda x, y: dict(data=(x, y[:-1])), ValueError, "data: " + SHAPES + "120, 1: 119"),
    "empty validation": (lambda x, y: dict(validation=(x[:0], y[:0])), ValueError, "validation: " + SHAPES + "0"),
    "a batch too large": (
        lambda x, y: dict(batch_size=121),
        ValueError,
        r"batch_size: expected at most .* 120; got 121",
    ),
    "no batch": (lambda x, y: dict(batch_size=0), ValueError, r"batch_size: expected a whole number >= 1; got 0"),
    "negative epochs": (lambda x, y: dict(epochs=-1), ValueError, r"epochs: expected a whole number >= 0; got -1"),
    "names of classes": (
        lambda x, y: dict(data=(x, strings(y))),
        TypeError,
        r"data: expected arrays of numbers; got dtype <U1 in its leaf '1'",
    ),
    "objects": (
        lambda x, y: dict(validation=(x, strings(y).astype(object))),
        TypeError,
        r"validation: expected arrays of numbers; got dtype object in its leaf '1'",
    ),
    "labels of floats": (
        lambda x, y: dict(data=(x, y + 0.5)),
        ValueError,
        r"targets: expected .* got shape \(10,\) of float",
    ),
    "another input": (
        lambda x, y: dict(data=(x[:, :2], y)),
        ValueError,
        r"data: expected inputs of the shape for which the state was made; got a batch of 0: \(10, 2, 4, 1\), 1",
    ),
    "another input to validate": (
        lambda x, y: dict(validation=(x[:, :2], y)),
        ValueError,
        r"validation: expected inputs of the shape for which the state was made; got a batch of 0: \(1, 2, 4, 1\)",
    ),
    "a metric that is a vector": (
        lambda x, y: dict(step=step_of(vectors)),
        ValueError,
        r"objective: expected a metric 'outputs' of one value per example, shape \(10,\); got shape \(10, 8\)",
    ),
    "a vector of a supervised metric": (
        lambda x, y: dict(step=supervised(all=lambda outputs, targets: outputs)),
        ValueError,
        r"metrics\['all'\]: expected one value per example, shape \(10,\); got shape \(10, 10\)",
    ),
    "a mean for a metric": (
        lambda x, y: dict(step=supervised(mean=lambda outputs, targets: outputs.mean())),
        ValueError,
        r"metrics\['mean'\]: expected one value per example, shape \(10,\); got shape \(\)",
    ),
    "a mean for losses": (
        lambda x, y: dict(step=step_of(scalar_loss)),
        ValueError,
        r"losses: expected one value per example, shape \(batch,\)",
    ),
    "a folder that is none": (
        lambda x, y: dict(folder=3),
        TypeError,
        r"folder: expected None or what looks like 'runs/a'",
    ),
    "a policy that is none": (
        lambda x, y: dict(checkpoints=5),
        TypeError,
        r"checkpoints: expected None or what looks like .*; got int\. Pass that",
    ),
    "a rule that is none": (
        lambda x, y: dict(early_stopping=5),
        TypeError,
        r"early_stopping: expected None or what looks",
    ),
    "a layout that is none": (
        lambda x, y: dict(layout=jax.devices()),
        TypeError,
        r"layout: expected None or what .* got list",
    ),
    "a callback that is none": (
        lambda x, y: dict(callbacks=[5]),
        TypeError,
        r"callbacks: expected a .*Callback or a function",
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a checkpoint."""
    draws = np.random.RandomState(0)
    data = draws.rand(120, 4, 4, 1).astype(np.float32), draws.randint(0, 10, 120).astype(np.int32)
    task, folder = make_task(data), tmp_path_factory.mktemp("run")
    training.fit(task.step, task.state, data, epochs=1, batch_size=10, folder=folder)
    return task, folder


@pytest.mark.parametrize("with_folder", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_and_checkpoints_stay(run, case, with_folder, same_bytes):
    task, folder = run
    change, kind, message = CASES[case]
    options = dict(data=task.data, step=task.step, epochs=2, batch_size=10) | change(*task.data)
    before = {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()}
    if with_folder:
        # Another run of the same folder is refused before anything else can go wrong: so the bad run has its own.
        options = dict(folder=folder / "other" / case.replace(" ", "_")) | options
    step, data = options.pop("step"), options.pop("data")
    with pytest.raises(kind, match=message):
        training.fit(step, task.state, data, **options)
    assert {path: path.read_bytes() for path in (folder / "checkpoints").rglob("*") if path.is_file()} == before
    same_bytes(
        training.restore_checkpoint(folder / "checkpoints", task.state),
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10).state,
    )


def test_numbers_that_go_bad_later_leave_the_checkpoints_before(tmp_path, digits_like, same_bytes):
    """The rate explodes in the third epoch: the checkpoint of the second is there, and is no later one."""
    rates = optax.piecewise_constant_schedule(0.1, {24: 1e38})
    model = jaxdl.models.MLP((8, 10), activation=lambda z: z)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(rates))
    state = training.init_state(model, step.tx, digits_like[0][:1], key=jax.random.key(0))
    options = dict(batch_size=10, engine="chunk", chunk_size=4)
    saving = dict(folder=tmp_path, checkpoints=training.Checkpoints(every_steps=4, keep_last=9))
    with pytest.raises(training.NotFiniteError) as caught:
        training.fit(step, state, digits_like, epochs=4, **options, **saving)
    steps = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert steps[-1] <= caught.value.step
    assert 24 in steps
    expected = training.fit(step, state, digits_like, epochs=2, **options).state
    same_bytes(training.restore_checkpoint(tmp_path / "checkpoints", state, step=24), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jaxdl.optimizers.adam(-0.1), r"learning_rate: expected one finite number >= 0; got -0\.1"),
        (lambda: jaxdl.optimizers.momentum(-1e-3), r"learning_rate: expected one finite number >= 0; got -0\.001"),
        (lambda: jaxdl.regularizers.l2(-1e-4), r"strength: expected one finite number >= 0; got -0\.0001"),
        (lambda: training.ema(-0.1), r"decay: expected one finite number >= 0 and < 1; got -0\.1"),
    ],
)
def test_negative_rates(make, message):
    with pytest.raises(ValueError, match=message):
        make()
