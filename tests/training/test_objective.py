import jax
import numpy as np
import pytest

import jaxdl
from jaxdl import training

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


@pytest.mark.parametrize("metrics", [["accuracy"], jaxdl.losses.correct])
def test_metrics_that_are_no_mapping(metrics):
    with pytest.raises(TypeError, match=r"metrics: expected a mapping of names to functions; got (list|function)"):
        training.supervised(MODEL, jaxdl.losses.hinge, metrics=metrics)
