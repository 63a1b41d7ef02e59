"""Three Gaussian blobs, and a small network of them."""

from typing import Any, NamedTuple

import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training


class Blobs(NamedTuple):
    model: Any
    objective: training.Objective
    step: training.TrainStep
    data: tuple[np.ndarray, np.ndarray]

    def init(self, key):
        return training.init_state(self.model, self.step.tx, self.data[0][:1], key=key)


@pytest.fixture(scope="session")
def blob_task() -> Blobs:
    draws = np.random.RandomState(0)
    labels = draws.randint(0, 3, 97).astype(np.int32)
    centres = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    x = (centres[labels] + 1.2 * draws.randn(97, 2)).astype(np.float32)
    model = jaxdl.models.MLP((8, 3))
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    return Blobs(model, objective, training.make_train_step(objective, optax.adam(0.03)), (x, labels))
