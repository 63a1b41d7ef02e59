"""Whole models: exact against `vmap(grad)`, and refused with batch norm in training."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxdl import as_model
from jaxdl.diagnostics import losses_of, per_example_gradient_norms, per_example_gradients
from jaxdl.layers import freeze_statistics
from jaxdl.losses import softmax_cross_entropy
from jaxdl.training import supervised
from tests.diagnostics.per_example.models import (
    IMAGES,
    POINTS,
    SERIES,
    TOKENS,
    ResNet,
    TiedAutoencoder,
    Transformer,
    TwoLSTMs,
)
from tests.diagnostics.per_example.oracle import assert_exact

MODELS = [(ResNet, IMAGES), (TwoLSTMs, SERIES), (Transformer, TOKENS), (TiedAutoencoder, POINTS)]


def losses_by(module):
    """A loss of each example, and the module's parameters."""

    def losses(params, x):
        outputs = module.apply({"params": params}, x, mutable=["batch_stats"])[0]
        if isinstance(module, Transformer):
            next_token = jax.nn.one_hot(jnp.roll(x, -1, 1), 11)
            return -jnp.sum(jax.nn.log_softmax(outputs)[:, :-1] * next_token[:, :-1], (1, 2))
        if isinstance(module, TiedAutoencoder):
            return jnp.sum(jnp.square(outputs - x), 1)
        return jax.nn.logsumexp(outputs, -1) - outputs[:, 0]

    return losses


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize(("model", "x"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_exact(model, x, dtype):
    params = model().init(jax.random.key(4), x)["params"]
    methods = assert_exact(losses_by(model()), params, x, dtype=dtype, gradients=dtype == "float32")
    assert "vmap(grad)" not in methods.values()


def test_the_kernel_of_a_tied_autoencoder_is_one_product_of_both_uses():
    params = TiedAutoencoder().init(jax.random.key(4), POINTS)["params"]
    methods = assert_exact(losses_by(TiedAutoencoder()), params, POINTS)
    assert methods == {"kernel": "gram", "hidden": "sum", "visible": "sum"}


@pytest.mark.parametrize("function", [per_example_gradient_norms, per_example_gradients])
@pytest.mark.parametrize(("model", "x"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_batch_normalization_in_training_raises_and_is_named(model, x, function):
    module = model(batch_norm=True)
    params = module.init(jax.random.key(4), x)["params"]
    message = (
        r"losses_fn: expected the loss of every example to depend on that example alone; got reduce_\w+, which "
        rf"reduces over the axis of the examples, at .* {model.__name__}/BatchNorm_0\. Use statistics that are frozen"
    )
    with pytest.raises(ValueError, match=message):
        function(losses_by(module), params, x)


class Normalized(nn.Module):
    """Batch normalization whose mode is chosen by the caller."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(3)(jnp.mean(x, (1, 2)))


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_keep_examples_apart(frozen):
    """In evaluation mode, and in training mode with the statistics frozen."""
    model = freeze_statistics(Normalized(), where="**") if frozen else as_model(Normalized())
    variables = model.init(jax.random.key(0), IMAGES)
    statistics = jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])
    objective = supervised(model, softmax_cross_entropy)
    losses = losses_of(objective, model_state={"batch_stats": statistics}, train=frozen)
    methods = assert_exact(losses, variables["params"], (IMAGES, jnp.arange(5) % 3))
    assert "vmap(grad)" not in methods.values()
    if not frozen:
        training = losses_of(objective, model_state={"batch_stats": statistics}, train=True)
        with pytest.raises(ValueError, match=r"Normalized/BatchNorm_0\. Use statistics that are frozen"):
            per_example_gradient_norms(training, variables["params"], (IMAGES, jnp.arange(5) % 3))


def test_losses_of_checks_what_it_is_given():
    with pytest.raises(TypeError, match=r"objective: expected a function of \(params, batch\); got the model Model"):
        losses_of(as_model(Normalized()))
    with pytest.raises(TypeError, match="key: expected one typed key; got int"):
        losses_of(lambda params, batch: batch, key=0)
