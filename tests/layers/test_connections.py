"""Full, local and shared connections by their counts, as the lectures give them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.shapes import count, output_shape, params_of
from tests.reference import convnets

VALID = dict(padding="VALID")


@pytest.mark.parametrize(("positions", "window"), [(7, 3), (12, 5), (30, 1)])
def test_weights_of_full_local_and_shared_connections(positions, window):
    """n inputs, H hidden units, windows of k: H n, H k, and k weights; k connections a unit in place of n."""
    hidden = positions - window + 1
    x = jnp.zeros((1, positions, 1))
    number = lambda layer, x: count(jax.eval_shape(layer.init, jax.random.key(0), x)["params"])  # noqa: E731
    assert number(nn.Dense(hidden, use_bias=False), x[..., 0]) == hidden * positions
    assert number(nn.ConvLocal(1, (window,), use_bias=False, **VALID), x) == hidden * window
    assert number(nn.Conv(1, (window,), use_bias=False, **VALID), x) == window


@pytest.mark.parametrize("layer", [nn.Conv, nn.ConvLocal])
def test_a_hidden_unit_of_seven_inputs_sees_three(layer):
    x = np.random.RandomState(0).randn(1, 7, 1).astype(np.float32)
    module = layer(1, (3,), **VALID)
    variables = module.init(jax.random.key(0), x)
    jacobian = jax.jacobian(lambda x: module.apply(variables, x))(x).reshape(5, 7)
    np.testing.assert_array_equal(jacobian != 0, [[i <= j < i + 3 for j in range(7)] for i in range(5)])


def test_six_filters_on_the_image_of_the_lecture():
    """32x32x3 with 5x5x3: one filter gives 28x28x1, six give 28x28x6 with (5 * 5 * 3 + 1) * 6 = 456 parameters."""
    assert output_shape(nn.Conv(1, (5, 5), **VALID), (32, 32, 3)) == (2, 28, 28, 1)
    six = nn.Conv(6, (5, 5), **VALID)
    assert output_shape(six, (32, 32, 3)) == (2, 28, 28, 6)
    assert count(params_of(six, (32, 32, 3))) == (5 * 5 * 3 + 1) * 6 == 456


@pytest.mark.parametrize("width", [7, 8, 227])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_output_width_of_a_convolution(width, size, padding, stride):
    expected = (width - size + 2 * padding) // stride + 1
    layer = nn.Conv(2, (size, size), strides=stride, padding=padding)
    assert output_shape(layer, (width, width, 1)) == (2, expected, expected, 2)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_a_convolution_is_the_sum_over_window_and_channels(groups, stride, padding):
    x = np.random.RandomState(0).randn(2, 7, 6, 4).astype(np.float32)
    layer = nn.Conv(6, (3, 3), strides=stride, padding=padding, feature_group_count=groups)
    y, variables = layer.init_with_output(jax.random.key(0), x)
    expected = convnets.conv(x, variables["params"], stride=stride, padding=padding, groups=groups)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [8, 9])
def test_pooling_takes_maximum_or_mean_and_has_no_parameters(side):
    x = np.random.RandomState(0).randn(2, side, side, 3).astype(np.float32)
    maxima, means = nn.max_pool(x, (2, 2), strides=(2, 2)), nn.avg_pool(x, (2, 2), strides=(2, 2))
    assert maxima.shape == (2, 4, 4, 3)
    for i, j in np.ndindex(4, 4):
        square = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        np.testing.assert_array_equal(maxima[:, i, j], square.max((1, 2)))
        np.testing.assert_allclose(means[:, i, j], square.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_locally_connected_layer_has_a_filter_bank_at_every_position(stride):
    """H_out W_out F^2 C K weights, here 5 x 4 or 3 x 2 positions, F = 3, C = 2, K = 4."""
    x = np.random.RandomState(0).randn(2, 7, 6, 2).astype(np.float32)
    layer = nn.ConvLocal(4, (3, 3), strides=stride, bias_init=nn.initializers.normal(1.0), **VALID)
    y, variables = layer.init_with_output(jax.random.key(0), x)
    rows, columns = (7 - 3) // stride + 1, (6 - 3) // stride + 1
    assert count(variables["params"]["kernel"]) == rows * columns * 3**2 * 2 * 4
    assert count(variables["params"]["bias"]) == rows * columns * 4
    expected = convnets.local(x, variables["params"], size=3, stride=stride)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
