"""The steps of `benchmarks.lecture_models` in JAX: by hand, and by jaxdl; every call is a turn of some steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from benchmarks.lecture_workloads import BATCH, CONV_RATE, DENSE_RATE, LEARNING_RATE, UNITS, LectureWorkload
from benchmarks.workloads import Data
from jaxdl.training.engines import Engine

PyTree = Any


def dropped(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def cnn(params: PyTree, x: jax.Array, key: jax.Array) -> jax.Array:
    conv_key, dense_key = jax.random.split(key)
    for name in ("conv1", "conv2"):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = dropped(x, CONV_RATE, conv_key).reshape(len(x), -1)
    x = jax.nn.relu(x @ params["dense1"]["kernel"] + params["dense1"]["bias"])
    return dropped(x, DENSE_RATE, dense_key) @ params["logits"]["kernel"] + params["logits"]["bias"]


def lstm(params: PyTree, x: jax.Array, key: jax.Array) -> jax.Array:
    """Gates in the order input, forget, cell, output; one matrix for the inputs, one for the hidden units."""
    inner, dense = params["lstm"], params["dense"]

    def turn(carry: tuple[jax.Array, jax.Array], row: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        cell, hidden = carry
        gates = row @ inner["inputs"] + hidden @ inner["hidden"] + inner["bias"]
        i, f, g, o = jnp.split(gates, 4, -1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (cell, jax.nn.sigmoid(o) * jnp.tanh(cell)), None

    start = jnp.zeros((len(x), UNITS), x.dtype)
    (_, hidden), _ = jax.lax.scan(turn, (start, start), x.swapaxes(0, 1))
    return hidden @ dense["kernel"] + dense["bias"]


def initial_parameters(workload: LectureWorkload, data: Data) -> PyTree:
    params = jax.jit(workload.module().init)(jax.random.key(1), data.x[:1])["params"]
    if workload.has_channels:
        return params
    cell = params["OptimizedLSTMCell_0"]
    joined = {name: jnp.concatenate([cell[kind + gate]["kernel"] for gate in "ifgo"], -1)
              for name, kind in (("inputs", "i"), ("hidden", "h"))}  # fmt: skip
    bias = jnp.concatenate([cell["h" + gate]["bias"] for gate in "ifgo"])
    return {"lstm": {**joined, "bias": bias}, "dense": params["Dense_0"]}


class Bare:
    """A jitted step by hand, called on batches cut out of NumPy arrays."""

    def __init__(self, workload: LectureWorkload, data: Data) -> None:
        self.data, tx = data, optax.adam(LEARNING_RATE)
        network = cnn if workload.has_channels else lstm
        params = initial_parameters(workload, data)
        self.state: PyTree = (params, tx.init(params), jnp.zeros((), jnp.int32))

        def loss(params: PyTree, x: jax.Array, y: jax.Array, key: jax.Array) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(network(params, x, key), y).mean()

        def step(state: PyTree, x: jax.Array, y: jax.Array) -> tuple[PyTree, jax.Array]:
            params, opt_state, count = state
            key = jax.random.fold_in(jax.random.key(2), count)
            value, grads = jax.value_and_grad(loss)(params, x, y, key)
            updates, opt_state = tx.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state, count + 1), value

        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self) -> None:
        for x, y in batches(self.data):
            self.state, _ = self.step(self.state, x, y)
        jax.block_until_ready(self.state)

    def parameters(self) -> list[np.ndarray]:
        return [np.array(leaf) for leaf in jax.tree.leaves(self.state[0])]


class Library:
    """jaxdl's step, jitted and called as the bare one is, or by `fit` with an engine."""

    def __init__(self, workload: LectureWorkload, data: Data, *, engine: Engine | None) -> None:
        module, tx = workload.module(), optax.adam(LEARNING_RATE)
        self.data = data
        self.engine: Engine | None = engine
        step = jaxdl.training.make_train_step(jaxdl.training.supervised(module, jaxdl.losses.softmax_cross_entropy), tx)
        self.step = step
        self.jitted: Callable[..., Any] = jax.jit(step, donate_argnums=0)
        state = jaxdl.training.init_state(module, tx, data.x[:1], key=jax.random.key(1))
        self.state = jax.tree.map(lambda leaf: leaf.copy(), state)  # donated, so that no buffer may be there twice
        self.epochs, self.on_device = 0, jax.device_put((data.x, data.y))

    def __call__(self) -> None:
        if self.engine is None:
            for x, y in batches(self.data):
                self.state, _ = self.jitted(self.state, (x, y))
        else:
            self.epochs += 1
            self.state, _ = jaxdl.training.fit(
                self.step, self.state, self.on_device, epochs=self.epochs, batch_size=BATCH, engine=self.engine,
                progress=False,
            )  # fmt: skip
        jax.block_until_ready(self.state)

    def parameters(self) -> list[np.ndarray]:
        return [np.array(leaf) for leaf in jax.tree.leaves(self.state.params)]


def batches(data: Data) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(data.x[i : i + BATCH], data.y[i : i + BATCH]) for i in range(0, len(data.x), BATCH)]
