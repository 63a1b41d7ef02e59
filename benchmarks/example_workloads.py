"""What per-example gradients are taken of: a perceptron and a convolutional network, on random images and labels."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.workloads import NUM_CLASSES, Data

SIDE = 28
Layers = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class ExampleWorkload:
    """A network of 3x3 convolutions, each followed by ReLU and 2x2 max-pooling, and of dense layers with ReLU between.

    Attributes:
      channels: of the convolutions, `SAME` padding; none for a perceptron.
      hidden: widths of the hidden dense layers.
      repeats: how often a fast contestant runs in one turn.
    """

    name: str
    title: str
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    batch_size: int
    repeats: int

    def data(self) -> Data:
        rng = np.random.default_rng(0)
        x = rng.random((self.batch_size, SIDE, SIDE, 1), np.float32)
        y = rng.integers(NUM_CLASSES, size=self.batch_size, dtype=np.int32)
        return Data(x if self.channels else x.reshape(self.batch_size, -1), y)

    def parameters(self) -> Layers:
        """Kernels, HWIO or (in, out), and biases; N(0, 2 / in): everybody has these."""
        rng = np.random.default_rng(1)
        layers, features, side = [], 1, SIDE
        shapes: list[tuple[int, ...]] = []
        for channels in self.channels:
            shapes.append((3, 3, features, channels))
            features, side = channels, side // 2
        features *= side * side
        for width in (*self.hidden, NUM_CLASSES):
            shapes.append((features, width))
            features = width
        for shape in shapes:
            kernel = rng.normal(size=shape, scale=np.sqrt(2 / np.prod(shape[:-1])))
            layers.append((kernel.astype(np.float32), rng.normal(size=shape[-1], scale=0.1).astype(np.float32)))
        return layers


W3 = ExampleWorkload(
    name="W3",
    title="norms of per-example gradients, 784-512-512-10 ReLU, batch 256",
    channels=(),
    hidden=(512, 512),
    batch_size=256,
    repeats=20,
)
W4 = ExampleWorkload(
    name="W4",
    title="the same for two convolutions 3x3 of 32 and 64 channels (padding 1, ReLU, max-pooling 2x2 after each), then "
    "3136-256-10, batch 128",
    channels=(32, 64),
    hidden=(256,),
    batch_size=128,
    repeats=2,
)
EXAMPLE_WORKLOADS = {workload.name: workload for workload in (W3, W4)}


def losses(params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Softmax cross-entropy of every example, written by hand in JAX."""
    x, labels = batch
    for kernel, bias in params[:-1]:
        if kernel.ndim == 4:
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + bias)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        else:
            x = jax.nn.relu(x.reshape(len(x), -1) @ kernel + bias)
    kernel, bias = params[-1]
    return optax.softmax_cross_entropy_with_integer_labels(x @ kernel + bias, labels)
