"""Networks and data of the laws of devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import training


class Dropped(nn.Module):
    """A network with dropout, whose parameters several devices can share."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Dense(32, param_dtype=self.dtype)(x.reshape(x.shape[0], -1)))
        x = nn.Dropout(0.3, deterministic=not train)(x)
        return nn.Dense(10, param_dtype=self.dtype)(x)


class Normalized(nn.Module):
    """A convolution with batch normalization.

    The convolution has no bias: its gradient would be 0 but for rounding, which Adam makes steps of full length of.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), use_bias=False, param_dtype=self.dtype)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, param_dtype=self.dtype)(x))
        x = nn.Dropout(0.3, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(10, param_dtype=self.dtype)(x)


def make_data(count=132, dtype=np.float32):
    draws = np.random.RandomState(0)
    return draws.rand(count, 4, 4, 1).astype(dtype), draws.randint(0, 10, count).astype(np.int32)


def make_run(model, data, *, tx=None, average=True, key=0, **options):
    """A step of Adam, with an average, and the state it begins with."""
    tx = optax.adam(1e-3) if tx is None else tx
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    step = training.make_train_step(objective, tx, average=training.ema(0.9) if average else None, **options)
    return step, training.init_state(model, tx, data[0][:1], key=jax.random.key(key), average=average)


def plain(tree):
    """Leaves as NumPy arrays, key data in place of keys."""

    def leaf(value):
        value = jnp.asarray(value)
        keys = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(value) if keys else value, np.float64)

    return jax.tree.map(leaf, tree)


def assert_agree(ours, theirs, *, rtol=1e-6):
    """Every leaf agrees relatively to its largest entry: a sum of both signs may be as small as its rounding."""
    ours, theirs = plain(ours), plain(theirs)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        largest = np.max(np.abs(np.nan_to_num(b)), initial=0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * largest, err_msg=str(path))
