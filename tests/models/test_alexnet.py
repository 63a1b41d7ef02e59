import jax
import numpy as np
import pytest

from jaxdl import initializers
from jaxdl.models import AlexNet
from tests.models.shapes import assert_a_step_keeps_its_shapes, count, made, output_shape, outputs, params_of
from tests.reference import convnets

FULL = (227, 227, 3)
TINY = dict(num_classes=3, features=(4, 4, 6, 6, 4), hidden=(6, 5), kernel_init=initializers.he_normal())


@pytest.mark.parametrize(("groups", "total"), [(2, 60_965_224), (1, 62_378_344)])
def test_parameters_are_those_of_the_sum_over_its_layers(groups, total):
    """Maps are 55, 27, 13 and 6 pixels wide: (227 - 11) / 4 + 1, then (55 - 3) / 2 + 1 and so on by pooling."""
    by_hand = {
        "conv1": (11 * 11 * 3 + 1) * 96,
        "conv2": (5 * 5 * 96 // groups + 1) * 256,
        "conv3": (3 * 3 * 256 + 1) * 384,
        "conv4": (3 * 3 * 384 // groups + 1) * 384,
        "conv5": (3 * 3 * 384 // groups + 1) * 256,
        "dense1": (6 * 6 * 256 + 1) * 4096,
        "dense2": (4096 + 1) * 4096,
        "logits": (4096 + 1) * 1000,
    }
    assert sum(by_hand.values()) == total
    module = AlexNet(groups=groups)
    assert {name: count(layer) for name, layer in params_of(module, FULL).items()} == by_hand
    assert output_shape(module, FULL) == (2, 1000)
    assert_a_step_keeps_its_shapes(module, FULL, batch=128)


@pytest.mark.parametrize(("groups", "normalized"), [(2, True), (1, False)])
def test_the_network_is_what_numpy_makes_of_it(groups, normalized):
    module = AlexNet(groups=groups, local_response_norm=normalized, **TINY)
    x, variables = made(module, (67, 67, 3))
    params, pool = variables["params"], lambda y: convnets.max_pool(y, 3, 2)
    norm = convnets.local_response_norm if normalized else lambda y: y
    y = pool(norm(convnets.relu(convnets.conv(50 * x, params["conv1"], stride=4))))
    y = pool(norm(convnets.relu(convnets.conv(y, params["conv2"], padding=2, groups=groups))))
    y = convnets.relu(convnets.conv(y, params["conv3"], padding=1))
    y = convnets.relu(convnets.conv(y, params["conv4"], padding=1, groups=groups))
    y = pool(convnets.relu(convnets.conv(y, params["conv5"], padding=1, groups=groups)))
    expected = convnets.dense_layers(y, params)
    np.testing.assert_allclose(outputs(module, variables, 50 * x), expected, rtol=1e-4, atol=1e-4)


def test_weights_and_biases_start_as_published():
    """N(0, 0.01^2), five standard errors of 8,000 draws; biases 1 in the layers the paper names."""
    small = AlexNet(num_classes=3, features=(8, 8, 8, 8, 8), hidden=(90, 90))
    params = jax.jit(small.init)(jax.random.key(0), np.zeros((1, 67, 67, 3), np.float32))["params"]
    assert np.std(params["dense2"]["kernel"]) == pytest.approx(0.01, rel=5 / np.sqrt(2 * 90 * 90))
    ones = {name for name, layer in params.items() if np.all(layer["bias"] == 1)}
    zeros = {name for name, layer in params.items() if np.all(layer["bias"] == 0)}
    assert ones == {"conv2", "conv4", "conv5", "dense1", "dense2"}
    assert zeros == {"conv1", "conv3", "logits"}


def test_dropout_of_the_hidden_dense_layers():
    """At rate 1 the logits see zeros."""
    module = AlexNet(dropout_rate=1.0, **TINY)
    x, variables = made(module, (67, 67, 3))
    y = outputs(module, variables, x, train=True)
    np.testing.assert_array_equal(y, np.tile(variables["params"]["logits"]["bias"], (2, 1)))
    np.testing.assert_array_equal(
        module.apply(variables, x), AlexNet(dropout_rate=0.0, **TINY).apply(variables, x, train=True)
    )


@pytest.mark.parametrize(
    ("options", "side", "message"),
    [
        ({}, 66, r"x: expected images .* of at least 67 x 67 pixels; got shape \(2, 66, 66, 3\). ImageNet's are 227"),
        ({"features": (1, 2)}, 67, r"features: expected a sequence of 5 whole numbers >= 1; got \(1, 2\). They are"),
        ({"groups": 0}, 67, "groups: expected a whole number >= 1; got 0. The paper has 2; 1 for none"),
        ({"groups": 3}, 67, r"groups: expected a divisor of all features \(4, 4, 6, 6, 4\); got 3. Use 1, or"),
        ({"positive_bias": -1}, 67, "positive_bias: expected one finite number >= 0; got -1. The paper has 1"),
        ({"dropout_rate": 2}, 67, "dropout_rate: expected one finite number >= 0 and <= 1; got 2. It is the prob"),
    ],
)
def test_arguments_that_make_no_network(options, side, message):
    with pytest.raises(ValueError, match=message):
        params_of(AlexNet(**{**TINY, **options}), (side, side, 3))
