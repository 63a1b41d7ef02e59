import jax
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.training.engines import ENGINES

X, Y = np.ones((4, 2), np.float32), np.array([0, 1, 1, 0])
MODEL = jaxdl.as_model((lambda key, x: {"w": np.eye(2, dtype=np.float32)}, lambda params, x: x @ params["w"]))


def call(objective):
    return objective({"w": np.eye(2, dtype=np.float32)}, (X, Y), model_state={}, key=None, train=True)


def test_loss_and_metrics_are_per_example():
    objective = training.supervised(
        MODEL, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    losses, aux = call(objective)
    np.testing.assert_allclose(losses, np.full(4, np.log(2)), rtol=1e-6)
    np.testing.assert_array_equal(aux.metrics["accuracy"], [1, 0, 0, 1])
    assert aux.model_state == {}


def test_model_state_is_handed_back():
    from flax import linen as nn

    model = jaxdl.as_model(nn.BatchNorm(use_running_average=None, momentum=0.5))
    state = {key: value for key, value in model.init(jax.random.key(0), X).items() if key != "params"}
    params = model.init(jax.random.key(0), X)["params"]
    objective = training.supervised(model, lambda outputs, y: outputs.sum(-1))
    _, aux = objective(params, (X, Y), model_state=state, key=None, train=True)
    np.testing.assert_allclose(aux.model_state["batch_stats"]["mean"], [0.5, 0.5])


def test_a_loss_that_took_the_mean_itself():
    with pytest.raises(ValueError, match=r"loss: expected one value per example, shape \(4,\); got shape \(\)"):
        call(training.supervised(MODEL, lambda outputs, y: outputs.mean()))


def test_a_metric_that_took_the_mean_itself():
    metrics = {"error": lambda outputs, y: outputs.mean()}
    with pytest.raises(ValueError, match=r"metrics\['error'\]: expected one value per example, shape \(4,\)"):
        call(training.supervised(MODEL, jaxdl.losses.softmax_cross_entropy, metrics=metrics))


def test_what_is_no_function():
    with pytest.raises(TypeError, match=r"loss: expected a function \(outputs, targets\) -> \(batch,\); got str"):
        training.supervised(MODEL, "cross_entropy")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"metrics\['accuracy'\]: expected a function .* got str"):
        training.supervised(MODEL, jaxdl.losses.hinge, metrics={"accuracy": "accuracy"})  # type: ignore[dict-item]


def test_a_metric_called_loss():
    with pytest.raises(ValueError, match=r"metrics: expected names other than loss, .* got \['loss'\]"):
        training.supervised(MODEL, jaxdl.losses.hinge, metrics={"loss": jaxdl.losses.correct})


@pytest.mark.parametrize("taken", ["averaged_loss", "averaged_hit"])
def test_a_metric_called_like_that_of_an_average(taken):
    metrics = {"hit": jaxdl.losses.correct, "averaged_age": jaxdl.losses.correct}
    training.supervised(MODEL, jaxdl.losses.hinge, metrics=metrics)
    with pytest.raises(ValueError, match=rf"metrics: expected names .* behind 'averaged_'; got \['{taken}'\]"):
        training.supervised(MODEL, jaxdl.losses.hinge, metrics={**metrics, taken: jaxdl.losses.correct})


@pytest.mark.parametrize("metrics", [["accuracy"], jaxdl.losses.correct])
def test_metrics_that_are_no_mapping(metrics):
    with pytest.raises(TypeError, match=r"metrics: expected a mapping of names to functions; got (list|function)"):
        training.supervised(MODEL, jaxdl.losses.hinge, metrics=metrics)


def noise(key, x):
    return x + jax.random.normal(key, x.shape)


def test_augmentation_in_training_mode_only(same_bytes):
    seen = {}

    def apply(params, x, *, train=False, key=None):
        seen[train] = key
        return x @ params["w"]

    model = (lambda key, x: {"w": np.eye(2, dtype=np.float32)}, apply)
    plain = training.supervised(model, lambda outputs, y: outputs.sum(-1))
    augmented = training.supervised(model, lambda outputs, y: outputs.sum(-1), augment=noise)
    arguments = ({"w": np.eye(2, dtype=np.float32)}, (X, Y))
    key = jax.random.key(4)
    evaluated = [objective(*arguments, model_state={}, key=key, train=False)[0] for objective in (plain, augmented)]
    same_bytes(*evaluated)
    same_bytes(seen[False], key)
    without, _ = plain(*arguments, model_state={}, key=key, train=True)
    same_bytes(seen[True], key)
    losses, _ = augmented(*arguments, model_state={}, key=key, train=True)
    # The loss sums the noise: it tells whose key drew it, neither the step's nor the model's.
    augment_key, model_key = jax.random.split(key)
    same_bytes(seen[True], model_key)
    np.testing.assert_allclose(losses - without, jax.random.normal(augment_key, X.shape).sum(-1), rtol=1e-5)


def test_augmentation_without_a_key():
    objective = training.supervised(MODEL, jaxdl.losses.softmax_cross_entropy, augment=noise)
    with pytest.raises(ValueError, match="key: expected a key in training mode, since the objective augments"):
        call(objective)
    losses, _ = objective({"w": np.eye(2, dtype=np.float32)}, (X, Y), model_state={}, key=None, train=False)
    np.testing.assert_allclose(losses, np.full(4, np.log(2)), rtol=1e-6)


def test_augmentation_that_is_no_function():
    with pytest.raises(TypeError, match=r"augment: expected a function \(key, x\) -> x; got dict"):
        training.supervised(MODEL, jaxdl.losses.hinge, augment={"rotation": 5})  # type: ignore[arg-type]


@pytest.mark.parametrize("elastic", [None, pytest.param((8.0, 2.0), marks=pytest.mark.slow)])
def test_engines_give_the_same_bytes_with_augmentation(digits_like, same_bytes, elastic):
    augment = jaxdl.data.make_augmentation(
        rotation=20, shift=0.2, zoom=0.2, shear=10, flip_horizontal=True, elastic=elastic
    )
    model = jaxdl.models.MLP((8, 10))
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy, augment=augment)
    step = training.make_train_step(objective, optax.adam(1e-2))
    state = training.init_state(model, step.tx, digits_like[0][:1], key=jax.random.key(0))
    runs = {
        engine: training.fit(step, state, digits_like, steps=20, batch_size=16, engine=engine, chunk_size=3)
        for engine in ENGINES
    }
    for run in runs.values():
        same_bytes(run.state, runs["loop"].state)
    # Evaluation sees the images as they are: the same for an objective that does not augment.
    plain = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    ours, theirs = (training.evaluate(o, runs["loop"].state, digits_like) for o in (objective, plain))
    assert ours == theirs
    unaugmented = training.make_train_step(plain, step.tx)
    other = training.fit(unaugmented, state, digits_like, steps=20, batch_size=16)
    kernels = [run.state.params["Dense_0"]["kernel"] for run in (other, runs["epoch"])]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3
