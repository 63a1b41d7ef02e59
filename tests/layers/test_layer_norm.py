"""Flax's LayerNorm as the lectures use it (catalogue N06)."""

import jax
import numpy as np
from flax import linen as nn

X = (np.random.RandomState(0).randn(6, 8) * 3 + 2).astype(np.float32)


def test_each_example_over_its_units():
    variables = nn.LayerNorm().init(jax.random.key(0), X)
    np.testing.assert_array_equal(variables["params"]["scale"], 1)
    np.testing.assert_array_equal(variables["params"]["bias"], 0)
    exact = X.astype(np.float64)
    expected = (exact - exact.mean(1, keepdims=True)) / np.sqrt(exact.var(1, keepdims=True) + 1e-6)
    y = nn.LayerNorm().apply(variables, X)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(nn.LayerNorm().apply(variables, X[:1]), y[:1], rtol=1e-6)  # whatever the batch
