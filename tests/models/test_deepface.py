import jax
import numpy as np
import pytest

from jaxdl.models import DeepFace
from tests.models.shapes import assert_a_step_keeps_its_shapes, count, made, output_shape, outputs, params_of
from tests.reference import convnets

FULL = (152, 152, 3)
TINY = dict(num_classes=3, features=(2, 3, 2, 4, 2), hidden=(6,))


def by_hand(classes):
    """Positions times (window times channels, and a bias) times maps; a local layer has biases of its own, too."""
    return {
        "conv1": (11 * 11 * 3 + 1) * 32,
        "conv2": (9 * 9 * 32 + 1) * 16,
        "local1": 55 * 55 * (9 * 9 * 16 + 1) * 16,
        "local2": 25 * 25 * (7 * 7 * 16 + 1) * 16,
        "local3": 21 * 21 * (5 * 5 * 16 + 1) * 16,
        "dense1": (21 * 21 * 16 + 1) * 4096,
        "logits": (4096 + 1) * classes,
    }


def test_parameters_are_those_of_the_shapes_in_the_paper():
    """The paper's text says more than 120 million; its shapes give 118.9, and 120 from 4,293 people on."""
    numbers = by_hand(4030)
    params = params_of(DeepFace(), FULL)
    assert {name: count(layer) for name, layer in params.items()} == numbers
    assert sum(numbers.values()) == 118_923_774
    assert 0.99 < sum(numbers.values()) / 120e6 < 1
    assert sum(by_hand(4292).values()) < 120e6 < sum(by_hand(4293).values())
    assert params["local1"]["kernel"].shape[:2] == (55, 55)
    assert params["local3"]["kernel"].shape[:2] == (21, 21)
    assert output_shape(DeepFace(), FULL) == (2, 4030)
    assert_a_step_keeps_its_shapes(DeepFace(), FULL, batch=128)


def test_more_than_95_percent_are_in_local_and_dense_layers():
    params = params_of(DeepFace(), FULL)
    not_shared = count([layer for name, layer in params.items() if not name.startswith("conv")])
    assert not_shared / count(params) == pytest.approx(1 - (11_648 + 41_488) / 118_923_774, rel=1e-12)
    assert not_shared / count(params) > 0.95


def test_the_network_is_what_numpy_makes_of_it():
    module = DeepFace(**TINY)
    x, variables = made(module, (72, 71, 3))
    params = variables["params"]
    y = convnets.relu(convnets.conv(x, params["conv1"]))
    # 62 x 61: an even length lacks one zero for the last window, an odd one has one on either side.
    y = np.pad(y, [(0, 0), (0, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    y = convnets.max_pool(y, 3, 2)
    y = convnets.relu(convnets.conv(y, params["conv2"]))
    for name, size, stride in (("local1", 9, 1), ("local2", 7, 2), ("local3", 5, 1)):
        y = convnets.relu(convnets.local(y, params[name], size=size, stride=stride))
    expected = convnets.dense_layers(y, params)
    np.testing.assert_allclose(outputs(module, variables, x), expected, rtol=1e-4, atol=1e-4)


def test_local_kernels_start_with_the_variance_of_one_positions_window():
    """He's 2 / (81 * 3): five standard errors of 15 x 15 x 243 x 2 draws."""
    params = jax.jit(DeepFace(**TINY).init)(jax.random.key(0), np.zeros((1, 71, 71, 3), np.float32))["params"]
    kernel = np.asarray(params["local1"]["kernel"])
    assert kernel.shape == (15, 15, 243, 2)
    assert np.mean(kernel**2) == pytest.approx(2 / 243, rel=5 * np.sqrt(2 / kernel.size))


def test_dropout_of_the_hidden_dense_layer():
    module = DeepFace(dropout_rate=1.0, **TINY)
    x, variables = made(module, (71, 71, 3))
    y = outputs(module, variables, x, train=True)
    np.testing.assert_array_equal(y, np.tile(variables["params"]["logits"]["bias"], (2, 1)))


@pytest.mark.parametrize(
    ("options", "side", "message"),
    [
        ({}, 70, r"x: expected images .* of at least 71 x 71 pixels; got shape \(2, 70, 70, 3\). The paper's are 152"),
        ({"features": (1, 2)}, 71, r"features: expected a sequence of 5 whole numbers >= 1; got \(1, 2\). They are"),
    ],
)
def test_arguments_that_make_no_network(options, side, message):
    with pytest.raises(ValueError, match=message):
        params_of(DeepFace(**{**TINY, **options}), (side, side, 3))
