from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from tests.reference import backprop


def test_forward_and_gradients_are_those_of_the_four_equations():
    model = jaxdl.models.MLP((5, 4, 3), activation=nn.sigmoid, bias_init=nn.initializers.normal(1.0))
    draws = np.random.RandomState(0)
    x, labels = draws.rand(7, 2, 3, 1).astype(np.float32), draws.randint(0, 3, 7)
    params = model.init(jax.random.key(0), x)["params"]
    weights = [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64).T for i in range(3)]
    biases = [np.asarray(params[f"Dense_{i}"]["bias"], np.float64) for i in range(3)]
    flat, targets = x.reshape(7, 6).astype(np.float64), np.eye(3)[labels]
    expected_w, expected_b = backprop.mean_backprop(weights, biases, flat, targets)

    def cost(params):
        return jaxdl.losses.batch_mean(jaxdl.losses.sigmoid_cross_entropy(model.apply({"params": params}, x), labels))

    value, grads = jax.value_and_grad(cost)(params)
    assert float(value) == pytest.approx(backprop.cost(weights, biases, flat, targets), rel=1e-5)
    for i in range(3):
        np.testing.assert_allclose(grads[f"Dense_{i}"]["kernel"].T, expected_w[i], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(grads[f"Dense_{i}"]["bias"], expected_b[i], rtol=1e-4, atol=1e-7)


def test_the_transcription_agrees_with_central_differences():
    draws = np.random.RandomState(1)
    weights, biases = [draws.randn(4, 3), draws.randn(2, 4)], [draws.randn(4), draws.randn(2)]
    xs, ys = draws.rand(3, 3), np.eye(2)[[0, 1, 1]]
    expected_w, expected_b = backprop.mean_backprop(weights, biases, xs, ys)
    for group, expected in ((weights, expected_w), (biases, expected_b)):
        for array, gradient in zip(group, expected, strict=True):
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + 1e-5
                above = backprop.cost(weights, biases, xs, ys)
                array[index] = kept - 1e-5
                below = backprop.cost(weights, biases, xs, ys)
                array[index] = kept
                assert (above - below) / 2e-5 == pytest.approx(gradient[index], rel=1e-6, abs=1e-9)


def test_no_hidden_layer_is_one_affine_map():
    model = jaxdl.models.MLP((3,))
    x = np.ones((2, 4), np.float32)
    variables = model.init(jax.random.key(0), x)
    np.testing.assert_allclose(model.apply(variables, x), x @ variables["params"]["Dense_0"]["kernel"], rtol=1e-6)


def test_bfloat16_compute_keeps_float32_parameters():
    model = jaxdl.models.MLP((3, 2), dtype="bfloat16")
    variables = model.init(jax.random.key(0), np.ones((1, 4), np.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    assert model.apply(variables, np.ones((1, 4), np.float32)).dtype == "bfloat16"


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_sizes_that_make_no_network(sizes):
    with pytest.raises(ValueError, match="sizes: expected at least one positive number of units; got"):
        jaxdl.models.MLP(sizes).init(jax.random.key(0), np.ones((1, 4), np.float32))


def everything(x, params, state, *, eps):
    """A NumPy transcription of one network: 6 -> 5 (tanh) -> 5 (relu, residual) -> 2, batch norm on its averages."""
    z = x @ params["Dense_0"]["kernel"]
    a = np.tanh(normalized(z, params["BatchNorm_0"], state["BatchNorm_0"], eps))
    z = a @ params["Dense_1"]["kernel"]
    a = a + np.maximum(normalized(z, params["BatchNorm_1"], state["BatchNorm_1"], eps), 0)
    return a @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]


def normalized(z, params, state, eps):
    return params["scale"] * (z - state["mean"]) / np.sqrt(state["var"] + eps) + params["bias"]


def test_one_activation_a_layer_batch_norm_dropout_and_residuals_in_evaluation():
    module = jaxdl.models.MLP(
        (5, 5, 2), activation=(jnp.tanh, nn.relu), normalization="batch", dropout_rate=(0.3, 0.0), residual=True
    )
    draws = np.random.RandomState(0)
    x = draws.randn(4, 6).astype(np.float32)
    variables = module.init(jax.random.key(0), x)
    leaves, treedef = jax.tree.flatten(variables)
    variables = jax.tree.unflatten(treedef, [0.1 + np.abs(draws.randn(*leaf.shape)) for leaf in leaves])
    expected = everything(x.astype(np.float64), variables["params"], variables["batch_stats"], eps=1e-5)
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=2e-5)


def test_batch_norm_follows_the_mode():
    model = jaxdl.as_model(jaxdl.models.MLP((4, 2), normalization="batch"))
    x = np.random.RandomState(0).randn(8, 3).astype(np.float32)
    variables = model.init(jax.random.key(0), x)
    _, kept = model.apply(variables, x)
    _, moved = model.apply(variables, x, train=True)
    z = x @ np.asarray(variables["params"]["Dense_0"]["kernel"])
    np.testing.assert_array_equal(kept["batch_stats"]["BatchNorm_0"]["mean"], 0)
    np.testing.assert_allclose(moved["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * z.mean(0), rtol=1e-4, atol=1e-6)


def test_dropout_drops_the_share_of_hidden_units_and_of_inputs():
    module = jaxdl.models.MLP(
        (4000, 1),
        activation=lambda z: z,
        dropout_rate=0.25,
        input_dropout_rate=0.5,
        kernel_init=nn.initializers.ones_init(),
    )
    model, x = jaxdl.as_model(module), np.full((400, 1), 3.0, np.float32)
    variables = model.init(jax.random.key(0), x)
    outputs, _ = model.apply(variables, x, train=True, key=jax.random.key(1))
    survivors = np.asarray(outputs)[:, 0] / (3 / 0.5 / 0.75)  # units that were kept, where the input was
    seen = survivors > 0
    # Binomial: 400 draws of 1/2 have deviation 10, 4,000 draws of 3/4 deviation 27; beyond 5 once in 1e6.
    assert abs(seen.sum() - 200) <= 50
    assert abs(survivors[seen] - 3000).max() <= 5 * 27.4
    np.testing.assert_array_equal(model.apply(variables, x)[0], 12000)


def test_a_residual_network_of_zero_kernels_is_its_last_layer():
    module = jaxdl.models.MLP((3, 3, 3, 2), residual=True, kernel_init=nn.initializers.zeros_init())
    x = np.random.RandomState(0).randn(5, 3).astype(np.float32)
    variables = module.init(jax.random.key(0), x)
    last = {"kernel": np.arange(6.0).reshape(3, 2), "bias": np.ones(2)}
    outputs = module.apply({"params": variables["params"] | {"Dense_3": last}}, x)
    np.testing.assert_allclose(outputs, x @ last["kernel"] + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("normalization", "name"),
    [("layer", "LayerNorm_0"), (partial(nn.BatchNorm, momentum=0.5), "BatchNorm_0"), (nn.RMSNorm, "RMSNorm_0")],
)
def test_other_normalizations(normalization, name):
    module = jaxdl.models.MLP((6, 2), normalization=normalization)
    x = 5 + np.random.RandomState(0).randn(16, 3).astype(np.float32)
    variables = module.init(jax.random.key(0), x)
    assert set(variables["params"]) == {"Dense_0", "Dense_1", name}
    _, sown = module.apply(variables, x, train=True, capture_intermediates=True, mutable=True)
    z = np.asarray(sown["intermediates"][name]["__call__"][0])
    axis = 0 if name == "BatchNorm_0" else 1
    np.testing.assert_allclose((z**2).mean(axis), 1, rtol=5e-3)


@pytest.mark.parametrize("option", ["activation", "dropout_rate"])
def test_a_sequence_of_another_length(option):
    given = {"activation": (nn.relu,) * 3, "dropout_rate": (0.1,) * 3}[option]
    with pytest.raises(ValueError, match=f"{option}: expected one for all, or one for each of the 2 hidden layers; "):
        jaxdl.models.MLP((3, 3, 2), **{option: given}).init(jax.random.key(0), np.ones((1, 4), np.float32))


@pytest.mark.parametrize("normalization", ["group", nn.LayerNorm(), 3])
def test_a_normalization_that_is_none(normalization):
    with pytest.raises(ValueError, match="normalization: expected None, 'batch', 'layer' or what makes a module"):
        jaxdl.models.MLP((3, 2), normalization=normalization).init(jax.random.key(0), np.ones((1, 4), np.float32))


def test_a_rate_that_is_no_probability():
    with pytest.raises(ValueError, match=r"rate: expected one finite number >= 0 and <= 1; got 1\.5"):
        jaxdl.models.MLP((3, 2), dropout_rate=1.5).init(jax.random.key(0), np.ones((1, 4), np.float32))
