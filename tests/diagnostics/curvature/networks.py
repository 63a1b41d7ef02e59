"""Small networks with their dense Hessians, by `jax.hessian` of the mean loss written out in one go."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree

import jaxdl

DRAWS = np.random.RandomState(0)
X = DRAWS.randn(23, 5).astype(np.float32)
LABELS = DRAWS.randint(0, 3, 23)
TARGETS = DRAWS.randn(23, 2).astype(np.float32)


class Network(NamedTuple):
    losses: Any
    params: Any
    data: Any

    def dense(self) -> np.ndarray:
        flat, unravel = ravel_pytree(self.params)
        hessian = jax.jit(jax.hessian(lambda x: jnp.mean(self.losses(unravel(x), self.data))))(flat)
        return np.asarray(hessian, np.float64)

    @property
    def size(self) -> int:
        return ravel_pytree(self.params)[0].size


def supervised(model, loss, x, y, key=0) -> Network:
    params = model.init(jax.random.key(key), x)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1 * DRAWS.randn(*leaf.shape).astype(np.float32), params)
    return Network(lambda p, batch: loss(model.apply({"params": p}, batch[0]), batch[1]), params, (x, y))


class Convolutional(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.softplus(nn.Conv(4, (3,))(x[..., None]))
        return nn.Dense(3)(nn.LayerNorm()(x).mean(1))


def recurrent() -> Network:
    """A plain function: a recurrence over the five inputs, and a list for parameters."""

    def losses(params, batch):
        recurrence, inputs, outputs = params
        step = lambda h, x: (jnp.tanh(h @ recurrence + x[:, None] * inputs[None]), None)  # noqa: E731
        last = jax.lax.scan(step, jnp.zeros((len(batch[0]), 6)), batch[0].T)[0]
        return jnp.square(last @ outputs - batch[1]).sum(-1)

    draws = [DRAWS.randn(*shape).astype(np.float32) * 0.5 for shape in ((6, 6), (6,), (6, 2))]
    return Network(losses, draws, (X, TARGETS))


@cache
def every_network() -> dict[str, Network]:
    return {
        "softmax": supervised(
            jaxdl.models.MLP((8, 8, 3), activation=jnp.tanh), jaxdl.losses.softmax_cross_entropy, X, LABELS
        ),
        "relu": supervised(jaxdl.models.MLP((9, 9, 2), activation=nn.relu), jaxdl.losses.squared_error, X, TARGETS),
        "convolution": supervised(Convolutional(), jaxdl.losses.softmax_cross_entropy, X, LABELS),
        "recurrence": recurrent(),
    }


@cache
def dense_hessian(name: str) -> np.ndarray:
    return every_network()[name].dense()
