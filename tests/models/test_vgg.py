import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import initializers
from jaxdl.models import VGG, grow_vgg
from tests.models.shapes import assert_a_step_keeps_its_shapes, count, made, output_shape, outputs, params_of
from tests.reference import convnets

FULL = (224, 224, 3)
TINY = dict(num_classes=3, features=(2, 3, 4, 5, 6), hidden=(6, 5))
# Table 1 of the paper, a stage a row; "1" is a filter of 1 x 1. Millions of parameters are those of table 2.
TABLE = {
    "A": ("3", "3", "33", "33", "33"),
    "A-LRN": ("3", "3", "33", "33", "33"),
    "B": ("33", "33", "33", "33", "33"),
    "C": ("33", "33", "331", "331", "331"),
    "D": ("33", "33", "333", "333", "333"),
    "E": ("33", "33", "3333", "3333", "3333"),
}
LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}
MILLIONS = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}
EXACT = {
    "A": 132_863_336, "A-LRN": 132_863_336, "B": 133_047_848, "C": 133_638_952, "D": 138_357_544, "E": 143_667_240,
}  # fmt: skip


@pytest.mark.parametrize("configuration", TABLE)
def test_parameters_are_those_of_the_papers_table(configuration):
    by_hand, channels = {}, 3
    for i, (stage, maps) in enumerate(zip(TABLE[configuration], (64, 128, 256, 512, 512), strict=True), start=1):
        for j, side in enumerate(stage, start=1):
            by_hand[f"conv{i}_{j}"] = (int(side) ** 2 * channels + 1) * maps
            channels = maps
    for name, fan_in, fan_out in (("dense1", 7 * 7 * 512, 4096), ("dense2", 4096, 4096), ("logits", 4096, 1000)):
        by_hand[name] = (fan_in + 1) * fan_out
    assert len(by_hand) == LAYERS[configuration]
    assert round(sum(by_hand.values()) / 1e6) == MILLIONS[configuration]
    assert sum(by_hand.values()) == EXACT[configuration]
    module = VGG(configuration)
    assert {name: count(layer) for name, layer in params_of(module, FULL).items()} == by_hand
    assert output_shape(module, FULL) == (2, 1000)
    assert_a_step_keeps_its_shapes(module, FULL, batch=256)


@pytest.mark.parametrize("configuration", TABLE)
def test_the_network_is_what_numpy_makes_of_it(configuration):
    module = VGG(configuration, kernel_init=initializers.he_normal(), **TINY)
    x, variables = made(module, (33, 32, 2))
    y, params = 50 * x, variables["params"]
    for i, stage in enumerate(TABLE[configuration], start=1):
        for j, side in enumerate(stage, start=1):
            y = convnets.relu(convnets.conv(y, params[f"conv{i}_{j}"], padding=int(side) // 2))
            if configuration == "A-LRN" and i == 1:
                y = convnets.local_response_norm(y)
        y = convnets.max_pool(y)
    expected = convnets.dense_layers(y, params)
    np.testing.assert_allclose(outputs(module, variables, 50 * x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("configuration", ["A", "B", "C", "D", "E"])
def test_growth_keeps_seven_layers_of_a_and_draws_the_rest(configuration):
    """The rest: five standard errors of at least 36 draws pooled over the layers, zero biases."""
    _, shallow = made(VGG("A", **TINY), (32, 32, 1))
    deep = params_of(VGG(configuration, kernel_init=initializers.he_normal(), **TINY), (32, 32, 1))
    grown = grow_vgg(deep, shallow["params"], key=jax.random.key(3))
    kept = {"conv1_1", "conv2_1", "conv3_1", "conv3_2", "dense1", "dense2", "logits"}
    for name in kept:
        for leaf in ("kernel", "bias"):
            np.testing.assert_array_equal(grown[name][leaf], shallow["params"][name][leaf])
    rest = [grown[name] for name in sorted(set(grown) - kept)]
    assert len(rest) == LAYERS[configuration] - 7
    draws = np.concatenate([np.ravel(layer["kernel"]) for layer in rest])
    assert np.sqrt(np.mean(draws**2)) == pytest.approx(0.01, rel=5 / np.sqrt(2 * draws.size))
    assert len(np.unique(draws)) == draws.size  # no key twice
    assert all(np.all(layer["bias"] == 0) for layer in rest)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), grown) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), deep
    )


def test_growth_under_jit_with_another_deviation_and_dtype():
    _, shallow = made(VGG("A", **TINY), (32, 32, 1))
    deep = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, "bfloat16"), params_of(VGG("B", **TINY), (32, 32, 1)))
    grow = lambda scale: grow_vgg(deep, shallow["params"], key=jax.random.key(3), stddev=scale)  # noqa: E731
    one, four = jax.jit(grow)(1.0), jax.jit(grow)(4.0)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(one)} == {"bfloat16"}
    np.testing.assert_array_equal(4 * one["conv5_1"]["kernel"], four["conv5_1"]["kernel"])
    np.testing.assert_array_equal(one["conv2_1"]["kernel"], four["conv2_1"]["kernel"])


def test_what_cannot_grow():
    _, shallow = made(VGG("A", **TINY), (32, 32, 1))
    params = shallow["params"]
    deep = params_of(VGG("B", **TINY), (32, 32, 1))
    with pytest.raises(TypeError, match="key: expected one typed key; got int"):
        grow_vgg(deep, params, key=0)
    with pytest.raises(ValueError, match=r"stddev: expected one finite number > 0; got 0. The paper has 0.01"):
        grow_vgg(deep, params, key=jax.random.key(0), stddev=0)
    wide = params_of(VGG("B", **{**TINY, "features": (2, 4, 4, 5, 6)}), (32, 32, 1))
    with pytest.raises(ValueError, match=r"source: expected a leaf of the same shape .* conv2_1/bias of shape \(4,\)"):
        grow_vgg(wide, params, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"where='conv1_1/\*' matches no leaf"):
        grow_vgg({"other": jnp.zeros(3)}, params, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("module", "side", "message"),
    [
        (VGG("F"), 32, "configuration: expected one of 'A', 'A-LRN', 'B', 'C', 'D', 'E'; got 'F'. D is the one"),
        (VGG("A", features=(1,)), 32, r"features: expected a sequence of 5 whole numbers >= 1; got \(1,\). They are"),
        (VGG("A"), 31, r"x: expected images .* of at least 32 x 32 pixels; got shape \(2, 31, 31, 3\). ImageNet's"),
    ],
)
def test_arguments_that_make_no_network(module, side, message):
    with pytest.raises(ValueError, match=message):
        params_of(module, (side, side, 3))
