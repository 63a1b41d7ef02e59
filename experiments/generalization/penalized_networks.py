"""The networks of the experiment `weight_decay`: one start, and what L2 and L1 make of it."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.building_blocks import book
from experiments.harness.claims import Run
from jaxdl import optimizers, regularizers, training

ETA = 0.5
ARMS = ("none", "L2", "L1, subgradient", "L1, proximal")


class Arm(NamedTuple):
    """The seeds of one arm.

    Attributes:
      test: accuracy on the test images in percent after each epoch, `(seeds, epochs)`.
      train: on the training images at the end, `(seeds,)`.
      kernels: weights of the first layer at the end, `(seeds, pixels, units)`.
      updates: done by each seed.
    """

    test: np.ndarray
    train: np.ndarray
    kernels: np.ndarray
    updates: int


def penalized(run: Run, name: str) -> Arm:
    """30 hidden units from N(0, 1) under one of `ARMS`; lambda/n is the same for L1 and L2."""
    train, _, test = run.splits
    model = book.network(1, start=book.large_start())
    objective, strength = book.objective(model), book.decay_for(len(train.x)) / len(train.x)
    penalty: Any = None
    tx = book.descent(len(train.x), eta=ETA, decay=book.decay_for(len(train.x)) if name == "L2" else 0.0)
    if name == "L1, subgradient":
        penalty = regularizers.l1(strength)
    if name == "L1, proximal":
        tx = optax.chain(optax.sgd(ETA), optimizers.proximal_l1(strength, learning_rate=ETA))
    trained = book.train(
        model, objective, tx, train, test, regularizer=penalty, seeds=range(run.seeds),
        epochs=run.settings["epochs"][run.dataset],
    )  # fmt: skip
    members = [training.member(trained.states, i) for i in range(run.seeds)]
    learned = np.array([100 * training.evaluate(objective, state, train)["accuracy"] for state in members])
    accuracy = trained.watched["accuracy"]
    print(f"  {name}: {accuracy[:, -1].mean():.2f} % of the test images, {trained.seconds:.0f} s")
    return Arm(accuracy, learned, np.asarray(trained.states.params["Dense_0"]["kernel"]), int(trained.states.step))


def starts(run: Run) -> np.ndarray:
    """Weights of the first layer before training, `(seeds, pixels, units)`."""
    model = book.network(1, start=book.large_start())
    init = book.starter(model, optax.sgd(ETA), run.splits.train.x)
    return np.stack([init(jax.random.key(seed)).params["Dense_0"]["kernel"] for seed in range(run.seeds)])


def blank_pixels(run: Run) -> np.ndarray:
    """Which pixels are 0 in every training image, so that their weights have no gradient: `(pixels,)`."""
    x = run.splits.train.x
    return np.all(x.reshape(len(x), -1) == 0, axis=0)


def wide(run: Run, *, eta: float, epochs: int) -> np.ndarray:
    """100 hidden units with L2: validation accuracy in percent after each epoch, `(seeds, epochs)`."""
    train, validation, _ = run.splits
    model = book.network(1, width=100, start=book.large_start())
    tx = book.descent(len(train.x), eta=eta, decay=book.decay_for(len(train.x)))
    trained = book.train(
        model, book.objective(model), tx, train, validation, seeds=range(run.seeds), epochs=epochs
    )  # fmt: skip
    print(f"  100 hidden, rate {eta:g}: {trained.watched['accuracy'].max(1).mean():.2f} %, {trained.seconds:.0f} s")
    return trained.watched["accuracy"]


def zeros(kernels: np.ndarray) -> np.ndarray:
    """Share of weights that are exactly 0, `(seeds,)`."""
    return np.mean(kernels == 0, axis=(1, 2))


def decayed_to(run: Run, updates: int) -> float:
    """What L2 leaves of a weight without gradient: `(1 - eta lambda / n)^updates`."""
    count = len(run.splits.train.x)
    return float((1 - ETA * book.decay_for(count) / count) ** updates)
