"""Every noise layer through `fit`, `run_many` and `evaluate`, in plain, rematerialised and scanned blocks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import layers, regularizers, training

DRAWS = np.random.RandomState(0)
X, Y = DRAWS.randn(24, 5).astype(np.float32), DRAWS.randn(24, 5).astype(np.float32)
KEY = jax.random.key(0)
# Each with what it does in evaluation, in NumPy.
NOISES = {
    "Dropout": (partial(layers.Dropout, 0.3), lambda x: x),
    "ClassicDropout": (partial(layers.ClassicDropout, 0.3), lambda x: 0.7 * x),
    "GaussianDropout": (partial(layers.GaussianDropout, 0.3), lambda x: x),
    "AlphaDropout": (partial(layers.AlphaDropout, 0.3), lambda x: x),
    "GaussianNoise": (partial(layers.GaussianNoise, 0.3), lambda x: x),
    "RReLU": (layers.RReLU, lambda x: np.where(x >= 0, x, 11 / 48 * x)),
}


class Block(nn.Module):
    name_of_noise: str
    train: bool

    @nn.compact
    def __call__(self, x, _=None):
        x = NOISES[self.name_of_noise][0](deterministic=not self.train)(x)
        return nn.Dense(5)(x), None


class Net(nn.Module):
    name_of_noise: str
    wrapped: str

    @nn.compact
    def __call__(self, x, train):
        if self.wrapped == "scan":
            streams = {"params": True, "dropout": True}
            block = nn.scan(Block, variable_axes={"params": 0}, split_rngs=streams, length=2)
            return block(self.name_of_noise, train)(x, None)[0]
        block = nn.remat(Block) if self.wrapped == "remat" else Block
        for _ in range(2):
            x, _ = block(self.name_of_noise, train)(x)
        return x


def kernels_and_biases(params):
    """Those of the two layers, stacked, float64."""
    dense = [layer["Dense_0"] for _, layer in sorted(params.items())]
    stacked = dense[0] if len(dense) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *dense)
    return np.asarray(stacked["kernel"], np.float64), np.asarray(stacked["bias"], np.float64)


def task(name, wrapped):
    model, tx = Net(name, wrapped), optax.sgd(0.05)
    objective = training.supervised(model, jaxdl.losses.squared_error)
    return training.make_train_step(objective, tx), lambda key: training.init_state(model, tx, X[:1], key=key)


@pytest.mark.parametrize("name", NOISES)
def test_a_member_of_a_sweep_is_the_single_run(name):
    step, init = task(name, "plain")
    options = dict(steps=6, batch_size=8)
    alone = training.fit(step, init(KEY), (X, Y), **options).state
    states, _ = training.run_many(step, init, (X, Y), seeds=[0, 1], **options)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    jax.tree.map(close, training.member(states, 0).params, alone.params)


@pytest.mark.parametrize("wrapped", ["plain", "remat", "scan"])
@pytest.mark.parametrize("name", NOISES)
def test_training_draws_and_evaluation_does_not(name, wrapped):
    step, init = task(name, wrapped)
    objective, state = step.objective, init(KEY)
    outputs = X.astype(np.float64)
    for kernel, bias in zip(*kernels_and_biases(state.params), strict=True):
        outputs = NOISES[name][1](outputs) @ kernel + bias
    for size in (24, 7):
        loss = training.evaluate(objective, state, (X, Y), batch_size=size)["loss"]
        assert loss == pytest.approx(np.square(outputs - Y).sum(-1).mean(), rel=1e-5)

    @jax.jit
    def noisy(params, key):
        batch = (np.repeat(X[:1], 24, 0), np.repeat(Y[:1], 24, 0))
        return objective(params, batch, model_state={}, key=key, train=True)[0]

    losses = noisy(state.params, KEY)
    assert not np.allclose(losses, noisy(state.params, jax.random.key(1)), rtol=1e-4)
    assert len(np.unique(losses)) > 12, "every example has noise of its own; masks of ten entries may coincide"
    # Forward mode draws once; the backward pass under remat draws again, and has to draw the same.
    mean = lambda params: noisy(params, KEY).mean()  # noqa: E731
    direction = jax.tree.map(jnp.sin, state.params)
    _, forward = jax.jvp(mean, (state.params,), (direction,))
    np.testing.assert_allclose(optax.tree.vdot(jax.grad(mean)(state.params), direction), forward, rtol=1e-4)


def test_masks_of_augmentation_model_and_steps_are_independent():
    """Shares of entries that two masks of rate 1/2 keep: 1/4, and 1/2 or 0 where both come from one key."""
    width, count = 500, 40
    x = np.ones((count, width), np.float32)
    objective = training.supervised(
        nn.Dropout(0.5),
        lambda outputs, y: outputs.sum(-1),
        metrics={"kept": lambda outputs, y: (outputs != 0).mean(-1)},
        augment=lambda key, x: regularizers.dropout(key, x, rate=0.5),
    )
    step = training.make_train_step(objective, optax.sgd(0.1))
    state = training.make_state({}, step.tx, key=KEY)
    history = training.fit(step, state, (x, x), epochs=10, batch_size=count).history.train
    # 20,000 entries a step: ten shares within five deviations, false alarm 6e-6.
    assert np.abs(history["kept"] - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / (count * width))
    assert len(np.unique(history["loss"])) == 10, "every step draws anew"
