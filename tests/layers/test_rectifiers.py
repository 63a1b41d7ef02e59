import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import activations, layers

X = np.random.RandomState(0).randn(6, 2, 3).astype(np.float32)
KEY = jax.random.key(0)


def test_prelu_has_a_slope_per_channel():
    variables = layers.PReLU().init(KEY, X)
    np.testing.assert_array_equal(variables["params"]["negative_slope"], [0.25, 0.25, 0.25])
    slopes = jnp.asarray([0.0, 0.5, -1.0])
    y = layers.PReLU().apply({"params": {"negative_slope": slopes}}, X)
    np.testing.assert_allclose(y, np.where(X >= 0, X, np.asarray(slopes) * X), rtol=1e-6)
    grads = jax.grad(lambda v: layers.PReLU().apply(v, X).sum())(variables)["params"]["negative_slope"]
    np.testing.assert_allclose(grads, np.minimum(X.astype(np.float64), 0).sum((0, 1)), rtol=1e-5)


def test_a_shared_slope_is_that_of_flax():
    module = layers.PReLU(shared=True, negative_slope_init=0.01)
    variables = module.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, variables, nn.PReLU().init(KEY, X))
    np.testing.assert_array_equal(module.apply(variables, X), nn.PReLU().apply(variables, X))


@pytest.mark.parametrize("mode", ["slope", "divisor"])
def test_rrelu_draws_in_training_and_averages_in_evaluation(mode):
    module = layers.RReLU(mode=mode)
    evaluated = module.apply({}, X, deterministic=True)
    np.testing.assert_array_equal(evaluated, activations.rrelu(X, mode=mode))
    np.testing.assert_array_equal(module.apply({}, X, False, KEY), activations.rrelu(X, key=KEY, mode=mode))
    y = np.asarray(module.apply({}, X, deterministic=False, rngs={"dropout": KEY}))
    np.testing.assert_array_equal(y[X >= 0], X[X >= 0])
    slopes = y[X < 0] / X[X < 0]
    assert len(np.unique(slopes)) > 0.9 * slopes.size  # one per activation
    assert np.all((slopes > 0.124) & (slopes < 0.334))


def test_rrelu_takes_other_bounds():
    y = layers.RReLU(lower=0.5, upper=0.5, deterministic=False).apply({}, -jnp.ones(4), rngs={"dropout": KEY})
    np.testing.assert_allclose(y, -0.5)


@pytest.mark.parametrize("module", [layers.PReLU(), layers.RReLU(deterministic=True)], ids=["prelu", "rrelu"])
def test_half_precision_stays(module):
    x = jnp.asarray(X, "bfloat16")
    assert module.apply(module.init(KEY, x), x).dtype == "bfloat16"
