"""The training step and the epoch of every family of models lower for TPU and CUDA, which are not here to run them."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn
from jax import export

import jaxdl
from jaxdl import losses, optimizers, training
from jaxdl.data import make_augmentation
from jaxdl.diagnostics import measure_gradient_flow, measure_signal_propagation, measure_unit_health
from jaxdl.layers import BatchRenorm, Maxout
from jaxdl.training import engines
from tests.diagnostics.per_example.models import ResNet, TiedAutoencoder, Transformer, TwoLSTMs
from tests.models import all_cases

PLATFORMS = ("tpu", "cuda")
EXAMPLES, BATCH = 20, 8


class Regularized(nn.Module):
    """Maxout, then dropout."""

    @nn.compact
    def __call__(self, x, train):
        x = Maxout(6, 2)(x.reshape(x.shape[0], -1))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


class Convolutional(nn.Module):
    """Convolution, normalization, pooling."""

    norm: Any = nn.BatchNorm

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(self.norm(use_running_average=not train)(nn.Conv(4, (3, 3))(x)))
        return nn.Dense(3)(nn.max_pool(x, (2, 2), (2, 2)).reshape(x.shape[0], -1))


class GRU(nn.Module):
    """A recurrent layer under `scan`."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.RNN(nn.GRUCell(4))(x)[:, -1])


def of_tokens(outputs, targets):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, targets), 1)


class Family(NamedTuple):
    """A model, the loss it is trained by, and the shapes of its examples."""

    model: Any
    loss: Any
    x: jax.ShapeDtypeStruct
    y: jax.ShapeDtypeStruct


def family(model, x_shape, *, x_dtype=jnp.float32, loss=losses.softmax_cross_entropy, y_shape=(), y_dtype=jnp.int32):
    x, y = ((x_shape, x_dtype), (y_shape, y_dtype))
    return Family(model, loss, *(jax.ShapeDtypeStruct((EXAMPLES, *shape), dtype) for shape, dtype in (x, y)))


IMAGE = (8, 8, 2)
FAMILIES = {
    "sigmoid": family(jaxdl.models.MLP((6, 3), activation=nn.sigmoid), IMAGE, loss=losses.sigmoid_cross_entropy),
    "relu": family(jaxdl.models.MLP((6, 6, 3)), IMAGE),
    "bfloat16": family(jaxdl.models.MLP((6, 3), dtype=jnp.bfloat16), IMAGE),
    "maxout_dropout": family(Regularized(), IMAGE),
    "batch_norm": family(Convolutional(), IMAGE),
    "batch_renorm": family(Convolutional(BatchRenorm), IMAGE),
    "residual_group_norm": family(ResNet(), IMAGE),
    "residual_batch_norm": family(ResNet(batch_norm=True), IMAGE),
    "lstm": family(TwoLSTMs(), (6, 3)),
    "gru": family(GRU(), (6, 3)),
    "transformer": family(Transformer(), (7,), x_dtype=jnp.int32, loss=of_tokens, y_shape=(7,)),
    "tied_autoencoder": family(
        TiedAutoencoder(), (6,), loss=losses.squared_error, y_shape=(6,), y_dtype=jnp.float32
    ),
}  # fmt: skip
RECIPES = {
    "gradient_descent": optimizers.gradient_descent(0.1),
    "momentum": optimizers.momentum(0.1),
    "nesterov": optimizers.nesterov(0.1),
    "adagrad": optimizers.adagrad(0.1),
    "rmsprop": optimizers.rmsprop(0.1),
    "adadelta": optimizers.adadelta(),
    "adam": optimizers.adam(0.1),
    "lbfgs": optimizers.lbfgs(),
    "newton_cg": optimizers.newton(solver="cg"),
    "max_norm": optax.chain(optimizers.adam(0.1), optimizers.max_norm(1.0)),
}
OPTIONS = {
    "average": dict(average=training.ema(0.9)),
    "microbatches": dict(microbatches=2),
    "clipped_examples": dict(max_example_norm=1.0),
    "guard": dict(guard="skip"),
    "penalty": dict(regularizer=jaxdl.regularizers.l2(0.1)),
    "gradient_flow": dict(measure=measure_gradient_flow, measure_every=2),
    "signals": dict(measure=measure_signal_propagation, measure_every=2),
    "units": dict(measure=measure_unit_health),
}


@pytest.fixture
def as_on_tpu(monkeypatch):
    """Programs traced for a CPU have their convolutions rewritten."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")


def lowered(name, tx, *, augment=None, **options):
    """Step and epoch of a family, for both platforms, from shapes alone."""
    family = FAMILIES[name]
    model = jaxdl.as_model(family.model)
    step = training.make_train_step(training.supervised(model, family.loss, augment=augment), tx, **options)
    data = (family.x, family.y)
    init = lambda x: training.init_state(model, tx, x, key=jax.random.key(0), average="average" in options)  # noqa: E731
    state = jax.eval_shape(init, family.x)
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((BATCH, *leaf.shape[1:]), leaf.dtype), data)
    of_step = export.export(jax.jit(step), platforms=PLATFORMS)(state, batch)
    static = dict(step=step, batch_size=BATCH, steps_per_epoch=2, num_examples=EXAMPLES, shuffle=True, length=2)
    epoch = jax.jit(partial(engines.whole_epoch, **static), donate_argnums=0)
    return of_step, export.export(epoch, platforms=PLATFORMS)(state, data, None)


@pytest.mark.usefixtures("as_on_tpu")
@all_cases.each_case
def test_every_reference_model(name):
    case = all_cases.CASES[name]
    step, state = all_cases.begun(case)
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((BATCH, *leaf.shape[1:]), leaf.dtype), case.data)
    assert_lowered(export.export(jax.jit(step), platforms=PLATFORMS)(state, batch))


def assert_lowered(*exported):
    for program in exported:
        assert program.platforms == PLATFORMS
        assert "lapack" not in program.mlir_module()


@pytest.mark.usefixtures("as_on_tpu")
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name):
    assert_lowered(*lowered(name, optimizers.adam(1e-3)))


def test_convolutions_that_were_rewritten_for_cpu():
    assert_lowered(*lowered("residual_group_norm", optimizers.adam(1e-3)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe(recipe):
    assert_lowered(*lowered("sigmoid", RECIPES[recipe]))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_the_step(option):
    assert_lowered(*lowered("relu", optimizers.adam(1e-3), **OPTIONS[option]))


def test_augmentation():
    augment = make_augmentation(rotation=10, shift_pixels=1, zoom=0.1, flip_horizontal=True, elastic=(1.0, 2.0))
    assert_lowered(*lowered("batch_norm", optimizers.adam(1e-3), augment=augment))


@pytest.mark.parametrize("recipe", [optimizers.newton(solver="dense"), optimizers.saddle_free_newton(damping=0.1)])
def test_factorizations(recipe):
    assert_lowered(*lowered("sigmoid", recipe))
