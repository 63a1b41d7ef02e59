import jax
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
