"""The floor: what a user who knows JAX and optax writes by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.workloads import NUM_CLASSES, Data, Workload

PyTree = Any


def optimizer(workload: Workload) -> optax.GradientTransformation:
    return {"sgd": optax.sgd, "adam": optax.adam}[workload.optimizer](workload.learning_rate)


class BareJax:
    """What the bare forms share: parameters, optimizer state and the pure step."""

    def __init__(self, workload: Workload, data: Data) -> None:
        self.workload, self.data = workload, data
        self.tx = optimizer(workload)
        params = [jnp.asarray(array) for array in workload.initial_parameters()]
        self.state: PyTree = (params, self.tx.init(params))

    def parameters(self) -> list[np.ndarray]:
        return [np.array(array) for array in self.state[0]]

    def loss(self, params: PyTree, x: jax.Array, y: jax.Array) -> jax.Array:
        activation = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[self.workload.activation]
        *hidden, (kernel, bias) = zip(params[::2], params[1::2], strict=True)
        for hidden_kernel, hidden_bias in hidden:
            x = activation(x @ hidden_kernel + hidden_bias)
        logits, targets = x @ kernel + bias, jax.nn.one_hot(y, NUM_CLASSES)
        if self.workload.outputs == "sigmoid":
            return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1).mean()
        return optax.softmax_cross_entropy(logits, targets).mean()

    def step(self, state: PyTree, x: jax.Array, y: jax.Array) -> tuple[PyTree, jax.Array]:
        params, opt_state = state
        loss, grads = jax.value_and_grad(self.loss)(params, x, y)
        updates, opt_state = self.tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss


class BareStep(BareJax):
    """A jitted step, called from Python on batches gathered by NumPy."""

    def __init__(self, workload: Workload, data: Data) -> None:
        super().__init__(workload, data)
        self.program = jax.jit(self.step, donate_argnums=0)
        self.rng = np.random.default_rng(2)

    def train(self) -> None:
        workload, losses = self.workload, []
        order = self.rng.permutation(workload.num_examples)
        for i in range(workload.steps_per_epoch):
            rows = order[i * workload.batch_size : (i + 1) * workload.batch_size]
            self.state, loss = self.program(self.state, self.data.x[rows], self.data.y[rows])
            losses.append(loss)
        jax.block_until_ready((self.state, losses))


class OnDevice(BareJax):
    """What the forms share that keep data and order on the device."""

    def __init__(self, workload: Workload, data: Data) -> None:
        super().__init__(workload, data)
        self.on_device = jax.device_put((data.x, data.y))
        self.key = jax.random.key(2)

    def batches(self, key: jax.Array) -> jax.Array:
        """The examples of each step, `(steps, batch)`."""
        workload = self.workload
        order = jax.random.permutation(key, workload.num_examples)
        shape = (workload.steps_per_epoch, workload.batch_size)
        return order[: shape[0] * shape[1]].reshape(shape)

    def step_on_rows(self, state: PyTree, x: jax.Array, y: jax.Array, rows: jax.Array) -> tuple[PyTree, jax.Array]:
        gathered = [array.at[rows].get(mode="promise_in_bounds") for array in (x, y)]
        return self.step(state, *gathered)


class BareStepOnDevice(OnDevice):
    """A jitted step that gathers its own batch, called from Python; its counter lives on the device as well."""

    def __init__(self, workload: Workload, data: Data) -> None:
        super().__init__(workload, data)

        def counted(counter: jax.Array, state: PyTree, x: jax.Array, y: jax.Array, batches: jax.Array) -> PyTree:
            return counter + 1, *self.step_on_rows(state, x, y, batches[counter])

        self.program = jax.jit(counted, donate_argnums=(0, 1))
        self.shuffle = jax.jit(self.batches)

    def train(self) -> None:
        self.key, key = jax.random.split(self.key)
        batches, counter, losses = self.shuffle(key), jnp.zeros((), jnp.int32), []
        for _ in range(self.workload.steps_per_epoch):
            counter, self.state, loss = self.program(counter, self.state, *self.on_device, batches)
            losses.append(loss)
        jax.block_until_ready((self.state, losses))


class BareScan(OnDevice):
    """An epoch as one program."""

    def __init__(self, workload: Workload, data: Data) -> None:
        super().__init__(workload, data)

        def epoch(state: PyTree, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[PyTree, jax.Array]:
            return jax.lax.scan(lambda state, rows: self.step_on_rows(state, x, y, rows), state, self.batches(key))

        self.program = jax.jit(epoch, donate_argnums=0)

    def train(self) -> None:
        self.key, key = jax.random.split(self.key)
        self.state, losses = self.program(self.state, key, *self.on_device)
        jax.block_until_ready((self.state, losses))
