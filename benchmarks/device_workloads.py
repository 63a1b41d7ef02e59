"""The runs that `benchmarks.devices` times; as a program, one process of several."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import losses, training
from jaxdl.training import Layout, data_parallel

BATCH, STEPS = 128, 20


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for features in (16, 32):
            x = nn.Conv(features, (3, 3), strides=2, use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


class DeviceWorkload(NamedTuple):
    """A network, and what it is called."""

    title: str
    make_model: Callable[[], Any]


WORKLOADS = {
    "mlp": DeviceWorkload("784-512-512-10, Adam", lambda: jaxdl.models.MLP((512, 512, 10))),
    "convolutions": DeviceWorkload("conv 16 - conv 32 - dense 10, batch normalization, Adam", ConvNet),
}


class Run:
    """Trains on for some steps, in one program; every call goes on from where the last one ended."""

    def __init__(self, model: Any, data: Any, layout: Layout | None) -> None:
        tx = optax.adam(1e-3)
        self.step = training.make_train_step(training.supervised(model, losses.softmax_cross_entropy), tx)
        state = training.init_state(model, tx, data[0][:1], key=jax.random.key(0))
        self.layout = layout
        self.data = jax.device_put(data) if layout is None else layout.place_data(data)
        self.state = state if layout is None else layout.place_state(state)

    def __call__(self) -> None:
        done = int(self.state.step)
        self.state = training.fit(
            self.step, self.state, self.data, steps=done + STEPS, batch_size=BATCH, layout=self.layout, progress=False
        ).state


def make_run(workload: str, layout: Layout | None, *, index: int = 0, count: int = 1) -> Run:
    draws = np.random.RandomState(0)
    x = draws.rand(BATCH * STEPS, 28, 28, 1).astype(np.float32)
    y = draws.randint(0, 10, BATCH * STEPS).astype(np.int32)
    own = tuple(np.split(array, count)[index] for array in (x, y))
    return Run(WORKLOADS[workload].make_model(), own, layout)


def main(workload: str, port: int, count: int, index: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
    run = make_run(workload, data_parallel(), index=index, count=count)
    for _ in sys.stdin:
        run()
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
