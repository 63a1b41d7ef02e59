"""jaxdl itself: whole calls of `fit` and `run_many`, with the Python around the programs."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxdl
from benchmarks.bare_jax import optimizer
from benchmarks.workloads import NUM_CLASSES, Data, Workload
from jaxdl.training.engines import Engine
from jaxdl.training.step import TrainStep

PyTree = Any


def network(workload: Workload) -> jaxdl.models.MLP:
    activation = {"sigmoid": nn.sigmoid, "relu": nn.relu}[workload.activation]
    return jaxdl.models.MLP((*workload.hidden, NUM_CLASSES), activation=activation)


def make_step(workload: Workload, *, measure: Callable[..., PyTree] | None, measure_every: int) -> TrainStep:
    losses = {"sigmoid": jaxdl.losses.sigmoid_cross_entropy, "softmax": jaxdl.losses.softmax_cross_entropy}
    objective = jaxdl.training.supervised(network(workload), losses[workload.outputs])
    return jaxdl.training.make_train_step(objective, optimizer(workload), measure=measure, measure_every=measure_every)


def flat(params: PyTree) -> list[np.ndarray]:
    return [np.array(params[f"Dense_{i}"][name]) for i in range(len(params)) for name in ("kernel", "bias")]


class Fit:
    """Each call of `train` is one call of `fit` that goes on from the state of the last."""

    def __init__(
        self,
        workload: Workload,
        data: Data,
        *,
        engine: Engine,
        epochs: int = 1,
        measure: Callable[..., PyTree] | None = None,
        measure_every: int = 1,
    ) -> None:
        self.engine: Engine = engine
        self.epochs, self.epochs_done, self.batch_size = epochs, 0, workload.batch_size
        self.step = make_step(workload, measure=measure, measure_every=measure_every)
        arrays = [jnp.asarray(array) for array in workload.initial_parameters()]
        params = {f"Dense_{i}": {"kernel": arrays[2 * i], "bias": arrays[2 * i + 1]} for i in range(len(arrays) // 2)}
        self.state = jaxdl.training.make_state(params, self.step.tx, key=jax.random.key(2))
        self.on_device = jax.device_put((data.x, data.y))

    def parameters(self) -> list[np.ndarray]:
        return flat(self.state.params)

    def train(self) -> None:
        self.epochs_done += self.epochs
        self.state, _ = jaxdl.training.fit(
            self.step, self.state, self.on_device, epochs=self.epochs_done, batch_size=self.batch_size,
            engine=self.engine, progress=False,
        )  # fmt: skip
        jax.block_until_ready(self.state)


class RunMany:
    """Each call of `train` is one epoch of other seeds, from freshly drawn parameters.

    Mode `fit` is a `fit` for each of them, one after the other.
    """

    def __init__(
        self, workload: Workload, data: Data, *, mode: Literal["fit", "auto", "vmap", "map"], members: int, shared: bool
    ) -> None:
        self.mode: Literal["fit", "auto", "vmap", "map"] = mode
        self.members, self.first_seed = members, 0
        order_key = jax.random.key(3) if shared else None
        self.options: dict[str, Any] = dict(
            epochs=1, batch_size=workload.batch_size, order_key=order_key, progress=False
        )
        self.step = make_step(workload, measure=None, measure_every=1)
        x = data.x[:1]
        self.init = jax.jit(
            lambda key: jaxdl.training.init_state(network(workload), self.step.tx, x, key=key)
        )  # compiled, because drawing the parameters is not what is timed
        self.on_device = jax.device_put((data.x, data.y))
        self.last: Any = None
        self.engines: list[str] = []  # what was taken in each call

    def parameters(self) -> list[np.ndarray]:
        return flat(self.last.params)

    def train(self) -> None:
        seeds = range(self.first_seed, self.first_seed + self.members)
        self.first_seed += self.members
        if self.mode == "fit":
            for seed in seeds:
                state = self.init(jax.random.key(seed))
                self.last, _ = jaxdl.training.fit(self.step, state, self.on_device, **self.options)
        else:
            runs = jaxdl.training.run_many(
                self.step, self.init, self.on_device, seeds=seeds, mode=self.mode, **self.options
            )
            self.engines.append(runs.history.engine)
            self.last = jaxdl.training.member(runs.states, 0)
        jax.block_until_ready(self.last)
