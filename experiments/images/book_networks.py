"""The networks of Nielsen's chapter 6, and how they are trained."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

import jaxdl
from experiments.building_blocks import book
from experiments.harness.claims import Run
from jaxdl import initializers, training
from jaxdl.data import Examples

BATCH, HIDDEN, POOL = 10, 100, 4  # POOL: the area that is pooled


class BookCNN(nn.Module):
    """Convolutions 5 x 5 without padding, max-pooling 2 x 2 BEFORE the activation, a hidden layer, ten logits.

    Weights start from N(0, 1/n_out), of a convolution n_out = maps * 25 / 4, biases from N(0, 1), and the last layer
    from zero.

    Attributes:
      features: maps of each convolution; () for none.
      activation: of convolutions and the hidden layer.
      kernel_size: side of every filter.
    """

    features: Sequence[int] = ()
    activation: Callable[[jax.Array], jax.Array] = nn.sigmoid
    kernel_size: int = 5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, 10)` of images."""
        bias, wide = initializers.normal(1.0), initializers.variance_scaling(POOL, "fan_out", "normal")
        for i, features in enumerate(self.features):
            window = (self.kernel_size, self.kernel_size)
            conv = nn.Conv(features, window, padding="VALID", kernel_init=wide, bias_init=bias, name=f"conv{i + 1}")
            x = self.activation(nn.max_pool(conv(x), (2, 2), strides=(2, 2)))
        hidden = nn.Dense(HIDDEN, kernel_init=initializers.fan_out_normal(), bias_init=bias, name="hidden")
        x = self.activation(hidden(x.reshape(x.shape[0], -1)))
        return nn.Dense(10, kernel_init=initializers.zeros, name="logits")(x)


class Arm(NamedTuple):
    """A row of the table: network, rate, lambda, whether the images are shifted, and the figure of the book."""

    features: Sequence[int]
    activation: Callable[[jax.Array], jax.Array]
    rate: float
    decay: float
    shifted: bool
    published: float


EXACT = "FC100, the book's length"
FC, CONV, TWO, RELU, SHIFTED = "FC100", "conv20", "conv20-conv40", "conv20-conv40 ReLU", "conv20-conv40 ReLU, shifted"
ARMS = {
    EXACT: Arm((), nn.sigmoid, 0.1, 0.0, False, 97.80),
    FC: Arm((), nn.sigmoid, 0.1, 0.0, False, 97.80),
    CONV: Arm((20,), nn.sigmoid, 0.1, 0.0, False, 98.78),
    TWO: Arm((20, 40), nn.sigmoid, 0.1, 0.0, False, 99.06),
    RELU: Arm((20, 40), nn.relu, 0.03, 0.1, False, 99.23),
    SHIFTED: Arm((20, 40), nn.relu, 0.03, 0.1, True, 99.37),
}


def network(arm: Arm, dataset: str) -> BookCNN:
    """The network of an arm; digits of 8 x 8 pixels have room for one filter of 3 and one of 2, each pooled."""
    return BookCNN(arm.features, arm.activation, 5 if dataset == "mnist" else 2)


class Trained(NamedTuple):
    """Test accuracy in percent at the epoch of the best validation accuracy, that best, and validation by epoch."""

    test: np.ndarray
    best: np.ndarray
    curve: np.ndarray


def train(run: Run, name: str) -> Trained:
    """All seeds of an arm, batches of 10 in the order of the data, never shuffled."""
    arm, images = ARMS[name], run.settings["images"][run.dataset][name]
    data = Examples(*(part[:images] for part in run.splits.train))
    epochs = run.settings["epochs"][run.dataset][name]
    if arm.shifted:  # as the book: shuffled once, and never again
        data = jaxdl.data.expand_shifts(data)
        order = np.random.RandomState(0).permutation(len(data.y))
        data = Examples(data.x[order], data.y[order])
    model = network(arm, run.dataset)
    # The penalty is (lambda / 2) sum w^2 over the number of batches.
    tx = book.descent(max(len(data.y) // BATCH, 1), eta=arm.rate, decay=arm.decay)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    kept: Any = training.EarlyStopping(patience=epochs, metric="accuracy", mode="max")
    states, history = training.run_many(
        training.make_train_step(objective, tx), book.starter(model, tx, data.x), data, seeds=range(run.seeds),
        epochs=epochs, batch_size=BATCH, validation=run.splits.validation, shuffle=False, early_stopping=kept,
        mode="map" if arm.features else "vmap", progress=False,
    )  # fmt: skip
    best = [training.best(training.member(states, i)) for i in range(run.seeds)]
    test = np.array([100 * training.evaluate(objective, state, run.splits.test)["accuracy"] for state in best])
    curve = 100 * np.asarray(history.validation["accuracy"])
    print(f"  {name}: {test.mean():.2f} %, {history.run_seconds / run.seeds:.0f} s a seed")
    return Trained(test, curve.max(1), curve)


def untrained(run: Run, name: str) -> np.ndarray:
    """Test accuracy in percent of every seed's start."""
    model = network(ARMS[name], run.dataset)
    tx = book.descent(1, eta=0.0, decay=0.0)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    start = book.starter(model, tx, run.splits.train.x)
    states = [start(jax.random.key(seed)) for seed in range(run.seeds)]
    return np.array([100 * training.evaluate(objective, state, run.splits.test)["accuracy"] for state in states])
