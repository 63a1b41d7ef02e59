"""Per-example tools and diagnostics of a batch that eight devices share: the numbers of one device.

Run by `test_on_eight_devices.py`.
"""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import diagnostics, training
from jaxdl.training.parallel import data_parallel, fully_sharded
from tests.training.parallel.tasks import assert_agree, make_data

DATA = make_data(16)
LAYOUTS = {
    "replicated": data_parallel(examples="sharded"),
    "fully_sharded": data_parallel(examples="sharded", parameters=fully_sharded(min_size=32)),
}


class Recurrent(nn.Module):
    """All that the diagnostics look at: a convolution, a scan over time, a skip connection."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(8, (3, 3))(x)).reshape(x.shape[0], 4, 32)
        x = nn.RNN(nn.SimpleCell(16))(x)[:, -1]
        return nn.Dense(10)(x + nn.Dense(16)(nn.tanh(nn.Dense(16)(x))))


OBJECTIVE = training.supervised(Recurrent(), jaxdl.losses.softmax_cross_entropy)
STATE = training.init_state(Recurrent(), optax.sgd(0.1), DATA[0][:1], key=jax.random.key(0))
CONTEXT = dict(model_state={}, key=jax.random.key(1), train=True)
LOSSES = diagnostics.losses_of(OBJECTIVE)


VECTOR = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), STATE.params)
TOOLS = {
    "gradients": partial(diagnostics.per_example_gradients, LOSSES),
    "norms": partial(diagnostics.per_example_gradient_norms, LOSSES),
    "norms_in_parts": partial(diagnostics.per_example_gradient_norms, LOSSES, microbatch_size=3),
    "clipped_mean": partial(diagnostics.per_example_clipped_mean, LOSSES, max_norm=0.3),
    "gram": partial(diagnostics.gradient_gram, LOSSES),
    "hessian_vector": lambda *where: diagnostics.hessian_vector_product(OBJECTIVE, *where, VECTOR),
}


def placed(layout):
    params, batch = layout.place_state(STATE).params, layout.place_data(DATA)
    assert batch[0].addressable_shards[0].data.shape == (2, 4, 4, 1)
    return params, batch


@pytest.mark.parametrize(
    "tool",
    [pytest.param(tool, marks=pytest.mark.slow) if tool in ("norms_in_parts", "gram") else tool for tool in TOOLS],
)
@pytest.mark.parametrize("layout", [pytest.param("replicated", marks=pytest.mark.slow), "fully_sharded"])
def test_a_tool(tool, layout):
    assert_agree(TOOLS[tool](*placed(LAYOUTS[layout])), TOOLS[tool](STATE.params, DATA), rtol=1e-5)


def test_a_gradient_stays_with_its_example():
    for layout in LAYOUTS.values():
        for leaf in jax.tree.leaves(TOOLS["gradients"](*placed(layout))):
            assert leaf.addressable_shards[0].data.shape == (2, *leaf.shape[1:])


def numbers(result):
    if isinstance(result, diagnostics.Eigenvalues):
        return [result.largest, result.smallest]  # its residuals are rounding
    return [leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, (jax.Array, np.ndarray)) and leaf.size]


QUICK = ("gradient flow", "unit health")


@pytest.mark.parametrize(
    "diagnostic",
    [
        pytest.param(diagnostic, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, diagnostic in diagnostics.DIAGNOSTICS
    ],
)
def test_a_diagnostic(diagnostic):
    known = inspect.signature(diagnostic).parameters
    options = {key: value for key, value in CONTEXT.items() if key in known}
    alone = numbers(diagnostic(OBJECTIVE, STATE.params, DATA, **options))
    assert alone
    shared = numbers(diagnostic(OBJECTIVE, *placed(LAYOUTS["fully_sharded"]), **options))
    assert_agree(shared, alone, rtol=1e-5)
