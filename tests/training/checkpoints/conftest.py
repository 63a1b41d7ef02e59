"""A state with one leaf of every kind that a run has."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl import training


class Net(nn.Module):
    width: int = 3

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(2, param_dtype=jnp.bfloat16)(x)


def make_state(*, width: int = 3, step: int = 0, chain=None) -> training.TrainState:
    chain = chain or optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(5)), optax.adam(1e-3))
    state = training.init_state(Net(width), chain, np.zeros((1, 4)), key=jax.random.key(1, impl="rbg"), average=True)
    state = training.EarlyStopping(patience=3).start(state)
    from dataclasses import replace

    return replace(state, step=jnp.asarray(step, jnp.int32))


@pytest.fixture
def state() -> training.TrainState:
    return make_state(step=7)
