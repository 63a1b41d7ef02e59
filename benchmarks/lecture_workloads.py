"""What `benchmarks.lecture_models` trains: the small CNN and an LSTM classifier, on random images of MNIST's shape."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

import jaxdl
from benchmarks.workloads import NUM_CLASSES, Data

BATCH, SIDE, UNITS, LEARNING_RATE = 128, 28, 100, 1e-3
CONV_RATE, DENSE_RATE = 0.25, 0.5


class LSTMClassifier(nn.Module):
    """An image read row by row; logits of the last hidden state."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden: Any = nn.RNN(nn.OptimizedLSTMCell(UNITS))(x)
        return nn.Dense(NUM_CLASSES)(hidden[:, -1])


@dataclass(frozen=True)
class LectureWorkload:
    """A network, how many steps a turn takes, and whether its images have an axis of channels."""

    name: str
    title: str
    steps: int
    has_channels: bool

    def data(self) -> Data:
        """As many examples as a turn has steps for."""
        rng = np.random.default_rng(0)
        shape = (self.steps * BATCH, SIDE, SIDE, *([1] if self.has_channels else []))
        return Data(rng.random(shape, np.float32), rng.integers(NUM_CLASSES, size=shape[0], dtype=np.int32))

    def module(self) -> Any:
        return jaxdl.models.SmallCNN() if self.has_channels else LSTMClassifier()


CNN = LectureWorkload(
    name="CNN",
    title="3x3 of 32 and 64 maps, max-pooling, dropout 1/4, dense 128, dropout 1/2, 10; 1,199,882 parameters",
    steps=10,
    has_channels=True,
)
LSTM = LectureWorkload(
    name="LSTM",
    title="28 steps of 28 inputs, 100 units, 10 classes from the last state",
    steps=40,
    has_channels=False,
)
LECTURE_WORKLOADS = {workload.name: workload for workload in (CNN, LSTM)}
