"""The law of devices for every reference model: a step on one device and on eight agree.

In double precision, where the rounding of gradients that all but vanish is no matter of relative errors of 1e-6, and a
batch whose parts were looked at one by one would be. Run by `test_on_eight_devices.py`.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import training
from tests.models.all_cases import CASES, begun
from tests.training.parallel.tasks import assert_agree

QUICK = ("mlp_batch_norm", "small_cnn", "gru", "additive_attention", "autoencoder", "RBM")  # one of every family


@pytest.fixture
def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def doubled(tree):
    def leaf(value):
        floating = jnp.issubdtype(value.dtype, jnp.floating)
        return value.astype(np.float64) if floating else value

    return jax.tree.map(leaf, tree)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_eight_devices_agree_with_one(name):
    step, state = begun(CASES[name])
    state = replace(state, **{part: doubled(getattr(state, part)) for part in ("params", "model_state", "opt_state")})
    data = doubled(CASES[name].data)

    def run(layout):
        return training.fit(step, state, data, steps=1, batch_size=16, engine="loop", layout=layout, progress=False)

    alone, together = run(None), run(training.data_parallel(8))
    assert_agree(together.history.train, alone.history.train, rtol=1e-9)
    for part in ("params", "model_state"):
        assert_agree(getattr(together.state, part), getattr(alone.state, part), rtol=1e-9)
