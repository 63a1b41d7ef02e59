"""One small supervised task for all training tests."""

from typing import NamedTuple

import jax
import optax
import pytest

import jaxdl
from jaxdl import training


class Task(NamedTuple):
    objective: training.Objective
    step: training.TrainStep
    state: training.TrainState
    data: tuple

    def init(self, key):
        model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)
        return training.init_state(model, self.step.tx, self.data[0][:1], key=key)


def make_task(data, tx=None, **step_options) -> Task:
    model = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid)
    objective = training.supervised(
        model, jaxdl.losses.sigmoid_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    tx = optax.sgd(0.5) if tx is None else tx
    step = training.make_train_step(objective, tx, **step_options)
    return Task(objective, step, training.init_state(model, tx, data[0][:1], key=jax.random.key(3)), data)


@pytest.fixture
def task(digits_like) -> Task:
    return make_task(digits_like)
