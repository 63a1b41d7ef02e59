"""The law of the engines: loop, chunk and epoch give the same bytes; so does the bare jitted step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.training.engines import ENGINES
from jaxdl.training.state import epoch_order


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Conv(4, (3, 3))(x)))
        x = nn.Dropout(0.3, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(10)(x)


class GroupedConv(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), feature_group_count=2)(nn.Conv(4, (1, 1))(x)))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class ScannedConv(nn.Module):
    @nn.compact
    def __call__(self, x):
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, carry, _):
                return nn.tanh(nn.Conv(3, (3, 3))(carry)), None

        stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = stack()(nn.Conv(3, (1, 1))(x), None)
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


CASES = {
    # A thousand steps, across many epochs and with examples left over, of the lectures' plain network ...
    "sigmoid_sgd": (lambda: jaxdl.models.MLP((30, 30, 10), activation=nn.sigmoid), optax.sgd(0.5), 7, 1000),
    # ... and shorter runs of what else a step may hold: momenta, dropout, running statistics, convolutions.
    "relu_adam": (lambda: jaxdl.models.MLP((64, 10)), optax.adam(1e-3), 32, 100),
    "conv_norm_dropout_momentum": (ConvNet, optax.sgd(0.05, momentum=0.9), 16, 60),
    "grouped_conv": (lambda: GroupedConv(), optax.sgd(0.05), 16, 30),
    "conv_in_scan": (lambda: ScannedConv(), optax.sgd(0.05), 16, 30),
}
# The bare jitted step of a user rounds grouped convolutions, and those inside a scan, in another way than XLA's own.
BARE_DIFFERS = ("grouped_conv", "conv_in_scan")


@pytest.mark.parametrize("case", CASES)
def test_engines_give_the_same_bytes(case, digits_like, same_bytes):
    make_model, tx, batch_size, steps = CASES[case]
    objective = training.supervised(make_model(), jaxdl.losses.softmax_cross_entropy)
    step = training.make_train_step(objective, tx)
    state = training.init_state(make_model(), tx, digits_like[0][:1], key=jax.random.key(0))
    results = [
        training.fit(step, state, digits_like, steps=steps, batch_size=batch_size, engine=engine, chunk_size=9)
        for engine in ENGINES
    ]
    assert int(results[0].state.step) == steps
    for result in results[1:]:
        same_bytes(results[0].state, result.state)
        np.testing.assert_array_equal(results[0].history.train["loss"], result.history.train["loss"])
    bare = bare_loop(step, state, digits_like, steps, batch_size)
    if case in BARE_DIFFERS:
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)  # noqa: E731
        jax.tree.map(close, results[0].state.params, bare.params)
    else:
        same_bytes(results[0].state, bare)


def bare_loop(step, state, data, steps, batch_size):
    """What a user writes without `fit`: a jitted step fed with the batches of the documented order."""
    jitted = jax.jit(step)
    x, y = map(jnp.asarray, data)
    steps_per_epoch = len(x) // batch_size
    for i in range(steps):
        epoch, position = divmod(i, steps_per_epoch)
        if position == 0:
            order = np.asarray(epoch_order(state.key, epoch, len(x)))
        rows = order[position * batch_size : (position + 1) * batch_size]
        state, _ = jitted(state, (x[rows], y[rows]))
    return state


def test_without_shuffling_batches_come_in_order():
    data = np.arange(6, dtype=np.float32)

    def objective(params, batch, *, model_state, key, train):
        return batch + 0 * params, training.Aux({"last": batch}, {})

    step = training.make_train_step(objective, optax.sgd(0.0))
    state = training.make_state(
        jnp.zeros(()), optax.sgd(0.0), key=jax.random.key(0), model_state={"last": jnp.zeros(2)}
    )
    for steps, expected in ((1, [0, 1]), (2, [2, 3]), (3, [4, 5]), (4, [0, 1])):
        result = training.fit(step, state, data, steps=steps, batch_size=2, shuffle=False)
        np.testing.assert_array_equal(result.state.model_state["last"], expected)


@pytest.mark.parametrize(("batch_size", "chunk_size", "pause"), [(60, 3, 2), (20, 1, 2), (20, 3, 5)])
def test_stretches_of_a_single_step_are_no_exception(batch_size, chunk_size, pause, same_bytes):
    """An epoch of one step, chunks of one, and one step left after a pause: a loop of one turn would be unrolled."""
    draws = np.random.RandomState(0)
    data = draws.randn(60, 4).astype(np.float32), draws.randint(0, 3, 60).astype(np.int32)
    model, tx = jaxdl.models.MLP((3,)), optax.adam(0.1)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), tx)
    first = training.init_state(model, tx, data[0][:1], key=jax.random.key(0))
    options = dict(batch_size=batch_size, chunk_size=chunk_size)
    looped = training.fit(step, first, data, steps=6, engine="loop", **options).state
    for engine in ("chunk", "epoch"):
        same_bytes(training.fit(step, first, data, steps=6, engine=engine, **options).state, looped)
        paused = training.fit(step, first, data, steps=pause, engine=engine, **options).state
        same_bytes(training.fit(step, paused, data, steps=6, engine=engine, **options).state, looped)
