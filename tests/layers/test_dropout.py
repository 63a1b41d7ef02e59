"""Dropout with a traced rate: Flax's own at every rate, 0 and 1 included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import layers

KEY = jax.random.key(0)
X = jnp.asarray(np.random.RandomState(0).randn(40, 8), jnp.float32)
RATES = (0.0, 0.25, 0.5, 1.0)


def values_and_gradients(make, dtype=jnp.float32, **options):
    """At every rate: the outputs, and the derivative of the sum of their squares."""

    def both(rate):
        fn = lambda x: make(rate, deterministic=False, **options).apply({}, x, rngs={"dropout": KEY})  # noqa: E731
        return fn(X.astype(dtype)), jax.grad(lambda x: jnp.square(fn(x).astype(jnp.float32)).sum())(X.astype(dtype))

    return both


@pytest.mark.parametrize("options", [{}, {"broadcast_dims": (0,)}, {"broadcast_dims": (-1,)}])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_traced_rate_gives_the_values_of_flax(dtype, options):
    traced = jax.jit(jax.vmap(values_and_gradients(layers.Dropout, dtype, **options)))(jnp.asarray(RATES))
    for i, rate in enumerate(RATES):
        outputs, gradient = values_and_gradients(nn.Dropout, dtype, **options)(rate)
        assert traced[0].dtype == outputs.dtype
        tolerance = dict(rtol=1e-6 if dtype == jnp.float32 else 2**-7)
        np.testing.assert_allclose(traced[0][i].astype(jnp.float32), outputs.astype(jnp.float32), **tolerance)
        np.testing.assert_allclose(traced[1][i].astype(jnp.float32), gradient.astype(jnp.float32), **tolerance)
    np.testing.assert_array_equal(traced[0][0], X.astype(dtype))
    assert not np.any(traced[0][-1])
    assert not np.any(traced[1][-1])


@pytest.mark.parametrize("rate", RATES)
def test_a_number_gives_the_bytes_of_flax(rate, same_bytes):
    same_bytes(values_and_gradients(layers.Dropout)(rate), values_and_gradients(nn.Dropout)(rate))


def test_a_rate_in_an_array_is_one_inside_a_compiled_function():
    run = jax.jit(lambda: layers.Dropout(jnp.float32(0.5), deterministic=False).apply({}, X, rngs={"dropout": KEY}))
    np.testing.assert_allclose(run(), nn.Dropout(0.5, deterministic=False).apply({}, X, rngs={"dropout": KEY}))


def test_infinity_that_is_dropped_leaves_no_trace():
    layer = layers.Dropout(jnp.float32(1.0), deterministic=False)
    np.testing.assert_array_equal(layer.apply({}, jnp.full((3, 4), jnp.inf), rngs={"dropout": KEY}), np.zeros((3, 4)))


def test_deterministic_asks_for_no_stream():
    layer = layers.Dropout(jnp.float32(0.5))
    np.testing.assert_array_equal(layer.apply({}, X, deterministic=True), X)
    with pytest.raises(ValueError, match="deterministic"):
        layer.apply({}, X)


def test_a_traced_rate_inside_rematerialised_and_scanned_blocks():
    class Block(nn.Module):
        rate: float

        @nn.compact
        def __call__(self, x, _):
            return layers.Dropout(self.rate, deterministic=False)(nn.Dense(8)(x)), None

    class Net(nn.Module):
        rate: float

        @nn.compact
        def __call__(self, x):
            stack = nn.scan(
                nn.remat(Block), variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}, length=2
            )
            return stack(self.rate)(x, None)[0]

    def loss(rate):
        net = Net(rate)
        params = net.init({"params": KEY, "dropout": KEY}, X)
        return jax.grad(lambda p: net.apply(p, X, rngs={"dropout": KEY}).sum())(params)["params"]

    traced = jax.jit(loss)(jnp.float32(0.5))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), traced, loss(0.5))
