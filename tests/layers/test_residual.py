import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.layers import Dropout, Residual

KEY = jax.random.key(0)
X = np.random.RandomState(0).randn(4, 3).astype(np.float32)


def test_the_input_is_added_to_the_layers_output():
    module = Residual(nn.Dense(3))
    variables = module.init(KEY, X)
    kernel = variables["params"]["layer"]["kernel"]
    np.testing.assert_allclose(module.apply(variables, X), X + X @ kernel, rtol=1e-5)


def test_the_jacobian_is_that_of_the_layer_plus_the_identity():
    module = Residual(nn.Sequential([nn.Dense(3), nn.tanh]))
    variables = module.init(KEY, X)
    kernel = np.asarray(variables["params"]["layer"]["layers_0"]["kernel"])
    jacobian = jax.jacobian(lambda x: module.apply(variables, x))(X[0])
    np.testing.assert_allclose(jacobian, np.eye(3) + (1 - np.tanh(X[0] @ kernel)[:, None] ** 2) * kernel.T, rtol=1e-5)


def test_a_projection_stands_in_for_the_identity():
    module = Residual(nn.Dense(5), projection=nn.Dense(5, use_bias=False))
    variables = module.init(KEY, X)
    params = variables["params"]
    assert set(params) == {"layer", "projection"}
    expected = X @ params["layer"]["kernel"] + X @ params["projection"]["kernel"]
    np.testing.assert_allclose(module.apply(variables, X), expected, rtol=1e-5)


def test_functions_need_no_parameters():
    assert Residual(jnp.sin).init(KEY, X) == {}
    module = Residual(jnp.sin, projection=lambda x: 2 * x)
    np.testing.assert_allclose(module.apply({}, X), 2 * X + np.sin(X), rtol=1e-6)


@pytest.mark.parametrize(
    "layer", [Dropout(1.0), nn.Sequential([nn.Dense(3, bias_init=nn.initializers.ones_init()), lambda x: 0 * x])]
)
def test_a_layer_that_gives_zeros_leaves_the_input(layer):
    model = jaxdl.as_model(Residual(layer))
    variables = model.init(KEY, X)
    np.testing.assert_array_equal(model.apply(variables, X, train=True, key=KEY)[0], X)


@pytest.mark.parametrize("wrap", [lambda layer: (layer, None), lambda layer: (jnp.zeros_like, layer)])
def test_layer_and_projection_are_told_the_mode(wrap):
    """Dropout at rate 1 is the identity in evaluation and zero in training."""
    layer, projection = wrap(Dropout(1.0))
    model = jaxdl.as_model(Residual(layer, projection))
    in_training = model.apply({"params": {}}, X, train=True, key=KEY)[0]
    in_evaluation = model.apply({"params": {}}, X, train=False)[0]
    np.testing.assert_allclose(in_evaluation - in_training, X, rtol=1e-6)


def test_shapes_that_cannot_be_added():
    with pytest.raises(ValueError, match=r"layer: expected an output of the shape \(4, 3\) of x, .*; got \(4, 5\)"):
        Residual(nn.Dense(5)).init(KEY, X)
    with pytest.raises(ValueError, match=r"of the shape \(4, 2\) of projection, .*; got \(4, 5\). Pass a projection"):
        Residual(nn.Dense(5), nn.Dense(2)).init(KEY, X)
    with pytest.raises(ValueError, match=r"expected an output of the shape \(4, 3\) of x, .*; got \(3,\)"):
        Residual(lambda x: x[0]).init(KEY, X)  # which would broadcast
