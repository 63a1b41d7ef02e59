"""The network of experiment per_example, its losses one an example, and its training."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxdl
from jaxdl.data import Examples

HIDDEN, BATCH, RATE = 64, 32, 0.1

MODEL = jaxdl.models.MLP((HIDDEN, 10))
OBJECTIVE = jaxdl.training.supervised(MODEL, jaxdl.losses.softmax_cross_entropy)
STEP = jaxdl.training.make_train_step(OBJECTIVE, optax.sgd(RATE))


def losses(params: Any, batch: Any) -> jax.Array:
    """One loss an example."""
    return OBJECTIVE(params, batch, model_state={}, key=None, train=False)[0]


def centred_losses(params: Any, batch: Any) -> jax.Array:
    """The same with the mean of the mini-batch taken off every hidden unit, as batch normalization does."""
    x, y = batch
    hidden, out = params["Dense_0"], params["Dense_1"]
    z = jnp.reshape(x, (len(x), -1)) @ hidden["kernel"]
    z = jax.nn.relu(z - jnp.mean(z, 0, keepdims=True) + hidden["bias"][None])
    return jaxdl.losses.softmax_cross_entropy(z @ out["kernel"] + out["bias"][None], y)


def outputs(params: Any, x: Any) -> jax.Array:
    """Logits."""
    return jaxdl.as_model(MODEL).apply({"params": params}, x, train=False, key=None)[0]


def start(x: Any, *, seed: int) -> jaxdl.training.TrainState:
    """The network as the seed draws it."""
    return jaxdl.training.init_state(MODEL, STEP.tx, x[:1], key=jax.random.key(seed))


def trained(state: jaxdl.training.TrainState, data: Examples, *, epochs: int) -> jaxdl.training.TrainState:
    """On from a state by plain SGD until so many epochs are done."""
    return jaxdl.training.fit(STEP, state, data, epochs=epochs, batch_size=BATCH, progress=False).state
