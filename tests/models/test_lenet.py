import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.models import LeNet5, SmallCNN
from tests.models.shapes import assert_a_step_keeps_its_shapes, count, made, output_shape, outputs, params_of
from tests.reference import convnets

TINY = dict(num_classes=3, features=(2, 3), hidden=(6, 5))
CONV5 = 5 * 5


def test_lenet5_has_the_parameters_of_the_sum_over_its_layers():
    by_hand = {
        "conv1": (CONV5 * 1 + 1) * 6,
        "conv2": (CONV5 * 6 + 1) * 16,
        "dense1": (5 * 5 * 16 + 1) * 120,
        "dense2": (120 + 1) * 84,
        "logits": (84 + 1) * 10,
    }
    assert sum(by_hand.values()) == 61_706
    for side in (28, 32):
        assert {name: count(layer) for name, layer in params_of(LeNet5(), (side, side, 1)).items()} == by_hand
        assert output_shape(LeNet5(), (side, side, 1)) == (2, 10)
        assert_a_step_keeps_its_shapes(LeNet5(), (side, side, 1))


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("side", [16, 19, 28])
def test_lenet5_is_what_numpy_makes_of_it(pool, side):
    module = LeNet5(activation=nn.relu, pool=pool, **TINY)
    x, variables = made(module, (side, side, 1))
    params, pooled = variables["params"], {"average": convnets.average_pool, "max": convnets.max_pool}[pool]
    y = pooled(convnets.relu(convnets.conv(x, params["conv1"], padding=2 if side == 28 else 0)))
    y = pooled(convnets.relu(convnets.conv(y, params["conv2"])))
    np.testing.assert_allclose(outputs(module, variables, x), convnets.dense_layers(y, params), rtol=1e-4, atol=1e-5)


def test_lenet5_of_28_pixels_is_that_of_32_with_zeros_around():
    module = LeNet5(**TINY)
    x, variables = made(module, (28, 28, 1))
    wide = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    np.testing.assert_allclose(module.apply(variables, x), module.apply(variables, wide), rtol=1e-5, atol=1e-6)


def test_the_small_cnns_of_the_references_by_their_counts():
    """Keras's example prints 1,199,882; the LeNet of 20 and 50 maps with 500 hidden units has 431,080."""
    keras = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (12 * 12 * 64 + 1) * 128 + (128 + 1) * 10
    theano = (CONV5 + 1) * 20 + (CONV5 * 20 + 1) * 50 + (4 * 4 * 50 + 1) * 500 + (500 + 1) * 10
    four = (9 + 1) * 32 + (9 * 32 + 1) * 32 + (9 * 32 + 1) * 64 + (3 * 3 * 64 + 1) * 10
    assert (keras, theano) == (1_199_882, 431_080)
    lenet = SmallCNN(features=(20, 50), kernel_size=5, pool_after="each", hidden=(500,), activation=nn.tanh)
    layers4 = SmallCNN(features=(32, 32, 64), padding="SAME", pool_after="each", hidden=())
    for module, expected in ((SmallCNN(), keras), (lenet, theano), (layers4, four)):
        params = params_of(module, (28, 28, 1))
        assert count(params) == expected
        assert output_shape(module, (28, 28, 1)) == (2, 10)
        assert_a_step_keeps_its_shapes(module, (28, 28, 1))
    assert set(params_of(layers4, (28, 28, 1))) == {"conv1", "conv2", "conv3", "logits"}


@pytest.mark.parametrize("pool_after", ["last", "each"])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_the_small_cnn_is_what_numpy_makes_of_it(pool_after, padding):
    module = SmallCNN(activation=nn.tanh, pool_after=pool_after, padding=padding, **TINY)
    x, variables = made(module, (11, 12, 2))
    params, around = variables["params"], 1 if padding == "SAME" else 0
    y = np.tanh(convnets.conv(x, params["conv1"], padding=around))
    y = convnets.max_pool(y) if pool_after == "each" else y
    y = convnets.max_pool(np.tanh(convnets.conv(y, params["conv2"], padding=around)))
    expected = convnets.dense_layers(y, params, np.tanh)
    np.testing.assert_allclose(outputs(module, variables, x), expected, rtol=1e-4, atol=1e-5)


def test_where_the_small_cnn_drops():
    """At rate 1 nothing comes through: only the layers behind are left, with inputs of zero."""
    module = lambda conv, dense: SmallCNN(conv_dropout_rate=conv, dropout_rate=dense, num_classes=3, hidden=(6,))  # noqa: E731
    x, variables = made(module(0.0, 0.0), (8, 8, 1))
    run = lambda conv, dense: module(conv, dense).apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})  # noqa: E731
    dense1, logits = variables["params"]["dense1"], variables["params"]["logits"]
    np.testing.assert_array_equal(run(0.0, 1.0), np.tile(logits["bias"], (2, 1)))
    behind = convnets.dense(convnets.relu(np.tile(dense1["bias"], (2, 1))), logits)
    np.testing.assert_allclose(run(1.0, 0.0), behind, rtol=1e-5)
    np.testing.assert_allclose(run(0.0, 0.0), module(0.5, 0.5).apply(variables, x), rtol=1e-5)


def test_the_rate_of_dropout_may_be_traced():
    x, variables = made(SmallCNN(num_classes=3, hidden=(6,)), (8, 8, 1))
    run = lambda rate: SmallCNN(num_classes=3, hidden=(6,), conv_dropout_rate=rate).apply(  # noqa: E731
        variables, x, train=True, rngs={"dropout": jax.random.key(0)}
    )
    np.testing.assert_allclose(jax.jit(run)(0.25), run(0.25), rtol=1e-5)


@pytest.mark.parametrize("module", [LeNet5(**TINY), SmallCNN(**TINY)])
def test_half_precision_an_empty_batch_and_vmap(module):
    x, variables = made(module, (16, 16, 1), batch=4)
    assert module.clone(dtype="bfloat16").apply(variables, x).dtype == "bfloat16"
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    assert module.apply(variables, x[:0]).shape == (0, 3)
    one_by_one = jax.jit(jax.vmap(lambda image: module.apply(variables, image[None])[0]))(x)
    np.testing.assert_allclose(one_by_one, module.apply(variables, x), rtol=1e-4, atol=1e-5)
    poisoned = module.apply(variables, x.copy() * np.where(np.arange(4) == 2, np.nan, 1)[:, None, None, None])
    np.testing.assert_array_equal(jnp.isnan(poisoned).all(1), np.arange(4) == 2)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (
            LeNet5(),
            (2, 15, 15, 1),
            r"x: expected images .* of at least 16 x 16 pixels; got shape \(2, 15, 15, 1\). MNI",
        ),
        (LeNet5(), (28, 28, 1), r"x: expected images \(batch, height, width, channels\) .*; got shape \(28, 28, 1\)"),
        (LeNet5(features=(6,)), (2, 28, 28, 1), r"features: expected a sequence of 2 whole numbers >= 1; got \(6,\)"),
        (LeNet5(hidden=(0,)), (2, 28, 28, 1), r"hidden: expected a sequence of whole numbers >= 1; got \(0,\). They"),
        (LeNet5(num_classes=0), (2, 28, 28, 1), "num_classes: expected a whole number >= 1; got 0. It is the number"),
        (LeNet5(pool="min"), (2, 28, 28, 1), "pool: expected one of 'max', 'average'; got 'min'. LeNet-5 averages"),
        (SmallCNN(), (2, 5, 5, 1), r"x: expected images .* at least 6 x 6 pixels; got .*. Take fewer or smaller"),
        (SmallCNN(padding="FULL"), (2, 8, 8, 1), "padding: expected one of 'VALID', 'SAME'; got 'FULL'. SAME keeps"),
        (SmallCNN(pool_after="no"), (2, 8, 8, 1), "pool_after: expected one of 'last', 'each'; got 'no'. last pools"),
        (SmallCNN(kernel_size=0), (2, 8, 8, 1), "kernel_size: expected a whole number >= 1; got 0. It is the side"),
        (SmallCNN(features=3), (2, 8, 8, 1), "features: expected a sequence of whole numbers >= 1; got 3. They are"),
        (SmallCNN(dropout_rate=1.5), (2, 8, 8, 1), "dropout_rate: expected .* >= 0 and <= 1; got 1.5. It is the prob"),
        (SmallCNN(conv_dropout_rate=-1), (2, 8, 8, 1), "conv_dropout_rate: expected .* >= 0 and <= 1; got -1"),
    ],
)
def test_arguments_that_make_no_network(module, shape, message):
    with pytest.raises(ValueError, match=message):
        module.init(jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize(("pool_after", "kernel_size", "least"), [("last", 3, 6), ("each", 3, 10), ("each", 5, 16)])
def test_the_least_size_is_the_least(pool_after, kernel_size, least):
    module = SmallCNN(pool_after=pool_after, kernel_size=kernel_size)
    assert params_of(module, (least, least, 1))["dense1"]["kernel"].shape == (64, 128)
    with pytest.raises(ValueError, match=f"at least {least} x {least} pixels"):
        params_of(module, (least - 1, least, 1))
