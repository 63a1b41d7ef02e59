"""What is trained: two multi-layer perceptrons on random images of the shape of MNIST."""

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

NUM_FEATURES, NUM_CLASSES = 784, 10


class Data(NamedTuple):
    """Images `(examples, 784)` float32 in [0, 1] and labels `(examples,)` int32. Speed does not depend on values."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Workload:
    """A network, its optimizer and its batches; the loss is that of sigmoid or softmax outputs, as `outputs` says."""

    name: str
    title: str
    hidden: tuple[int, ...]
    activation: Literal["sigmoid", "relu"]
    outputs: Literal["sigmoid", "softmax"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    batch_size: int
    num_examples: int

    @property
    def steps_per_epoch(self) -> int:
        """Full batches; nobody trains on the remainder."""
        return self.num_examples // self.batch_size

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """`(in, out)` of every layer."""
        sizes = (NUM_FEATURES, *self.hidden, NUM_CLASSES)
        return list(itertools.pairwise(sizes))

    @property
    def flops_per_epoch(self) -> float:
        """2 per weight and example for each of three products: forward, gradient by weights, gradient by inputs.

        The first layer needs no gradient by its inputs, the images. Activations and the optimizer are not counted.
        """
        weights = [fan_in * fan_out for fan_in, fan_out in self.shapes]
        return self.steps_per_epoch * self.batch_size * (6.0 * sum(weights) - 2.0 * weights[0])

    def data(self) -> Data:
        rng = np.random.default_rng(0)
        x = rng.random((self.num_examples, NUM_FEATURES), np.float32)
        return Data(x, rng.integers(NUM_CLASSES, size=self.num_examples, dtype=np.int32))

    def initial_parameters(self) -> list[np.ndarray]:
        """`[W, b, W, b, ...]`, W `(in, out)` from N(0, 1/in): everybody starts here."""
        rng = np.random.default_rng(1)
        parameters = []
        for fan_in, fan_out in self.shapes:
            parameters.append(rng.normal(size=(fan_in, fan_out), scale=fan_in**-0.5).astype(np.float32))
            parameters.append(np.zeros(fan_out, np.float32))
        return parameters

    def loss(self, parameters: list[np.ndarray], data: Data, *, num_examples: int = 5000) -> float:
        """Mean loss of some examples, in NumPy, so that nobody judges their own training."""
        a, labels = data.x[:num_examples].astype(np.float64), data.y[:num_examples]
        *hidden, (kernel, bias) = zip(parameters[::2], parameters[1::2], strict=True)
        for hidden_kernel, hidden_bias in hidden:
            z = a @ hidden_kernel + hidden_bias
            a = np.maximum(z, 0) if self.activation == "relu" else 1 / (1 + np.exp(-z))
        z = a @ kernel + bias
        own = z[np.arange(len(labels)), labels]
        normalizer = np.logaddexp(0, z).sum(-1) if self.outputs == "sigmoid" else np.logaddexp.reduce(z, -1)
        return float(np.mean(normalizer - own))


W1 = Workload(
    name="W1",
    title="784-30-30-10 sigmoid, cross-entropy summed over 10 sigmoid outputs, SGD 0.5, batch 10, 50,000 examples",
    hidden=(30, 30),
    activation="sigmoid",
    outputs="sigmoid",
    optimizer="sgd",
    learning_rate=0.5,
    batch_size=10,
    num_examples=50_000,
)
W2 = Workload(
    name="W2",
    title="784-512-512-10 ReLU, softmax cross-entropy, Adam 1e-3, batch 128, 60,000 examples",
    hidden=(512, 512),
    activation="relu",
    outputs="softmax",
    optimizer="adam",
    learning_rate=1e-3,
    batch_size=128,
    num_examples=60_000,
)
WORKLOADS = {workload.name: workload for workload in (W1, W2)}
