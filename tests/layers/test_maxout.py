import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import layers

X = np.random.RandomState(0).randn(7, 3).astype(np.float32)


def test_the_greatest_of_affine_pieces():
    module = layers.Maxout(4, 3, bias_init=nn.initializers.normal())
    variables = module.init(jax.random.key(0), X)
    kernel, bias = (np.asarray(variables["params"]["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    assert (kernel.shape, bias.shape) == ((3, 12), (12,))
    expected = np.empty((7, 4))
    for n in range(7):
        for unit in range(4):
            expected[n, unit] = max(X[n] @ kernel[:, 3 * unit + k] + bias[3 * unit + k] for k in range(3))
    np.testing.assert_allclose(module.apply(variables, X), expected, rtol=1e-5, atol=1e-6)


def test_two_pieces_can_be_the_absolute_value_and_one_is_linear():
    params = {"Dense_0": {"kernel": jnp.asarray([[1.0, -1.0]])}}
    z = jnp.asarray([[-2.0], [3.0]])
    np.testing.assert_array_equal(layers.Maxout(1, use_bias=False).apply({"params": params}, z), [[2.0], [3.0]])
    one = layers.Maxout(5, pieces=1)
    variables = one.init(jax.random.key(0), X)
    dense = {"params": variables["params"]["Dense_0"]}
    np.testing.assert_array_equal(one.apply(variables, X), nn.Dense(5).apply(dense, X))


def test_only_the_greatest_piece_has_a_gradient():
    module = layers.Maxout(2, 2)
    variables = module.init(jax.random.key(0), X)
    grads = jax.grad(lambda v: module.apply(v, X[:1]).sum())(variables)["params"]["Dense_0"]["bias"]
    np.testing.assert_array_equal(np.sort(np.asarray(grads).reshape(2, 2), 1), [[0, 1], [0, 1]])


def test_leading_axes_dtype_and_transformations():
    module = layers.Maxout(4, dtype="bfloat16")
    variables = module.init(jax.random.key(0), X)
    y = jax.jit(jax.vmap(lambda x: module.apply(variables, x)))(X.reshape(7, 1, 1, 3))
    assert (y.shape, y.dtype) == ((7, 1, 1, 4), "bfloat16")
    assert module.apply(variables, X[:0]).shape == (0, 4)


def test_the_options_are_those_of_the_dense_layer():
    constant = nn.initializers.constant
    module = layers.Maxout(
        2, 3, param_dtype="bfloat16", precision="highest", kernel_init=constant(5.0), bias_init=constant(7.0)
    )
    params = module.init(jax.random.key(0), X)["params"]["Dense_0"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    np.testing.assert_array_equal(params["kernel"].astype("float32"), np.full((3, 6), 5))
    np.testing.assert_array_equal(params["bias"].astype("float32"), np.full(6, 7))
    assert "HIGHEST" in str(jax.make_jaxpr(module.apply)({"params": {"Dense_0": params}}, X))


@pytest.mark.parametrize("option", ["features", "pieces"])
def test_counts(option):
    with pytest.raises(ValueError, match=f"{option}: expected a whole number >= 1; got 0"):
        layers.Maxout(**{"features": 2, option: 0}).init(jax.random.key(0), X)
