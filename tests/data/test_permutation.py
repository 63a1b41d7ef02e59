"""Permuted pixels: R is a permutation matrix, and W' = W R^T undoes it (T27)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl.data import permute_pixels

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(5, 30), (5, 6, 5), (5, 6, 5, 1), (5, 4, 3, 3)])
def test_x_is_multiplied_by_a_permutation_matrix(shape):
    x = np.random.RandomState(0).rand(*shape).astype(np.float32)
    permuted, permutation = permute_pixels(KEY, x)
    num_features = x[0].size
    matrix = np.eye(num_features)[permutation]
    np.testing.assert_array_equal(matrix @ matrix.T, np.eye(num_features))
    np.testing.assert_array_equal(np.asarray(permuted).reshape(5, -1), x.reshape(5, -1) @ matrix.T.astype(np.float32))
    assert permuted.shape == shape
    assert permuted.dtype == x.dtype
    assert permutation.dtype == jnp.int32
    assert not np.array_equal(permutation, np.arange(num_features))


def test_channels_of_a_pixel_stay_together():
    pixels = np.arange(12.0).reshape(1, 4, 3, 1) + np.array([0, 0.1, 0.2]).reshape(1, 1, 1, 3)
    permuted, _ = permute_pixels(KEY, pixels.astype(np.float32))
    np.testing.assert_allclose(permuted - permuted[..., :1], np.broadcast_to([0, 0.1, 0.2], (1, 4, 3, 3)), atol=1e-6)
    assert sorted(np.asarray(permuted[..., 0]).ravel()) == list(range(12))


def test_the_key_decides_for_any_number_of_examples():
    x = np.random.RandomState(1).rand(7, 20).astype(np.float32)
    whole, permutation = permute_pixels(KEY, x)
    part, same = permute_pixels(KEY, x[:2])
    np.testing.assert_array_equal(permutation, same)
    np.testing.assert_array_equal(part, whole[:2])
    assert not np.array_equal(permutation, permute_pixels(jax.random.key(1), x)[1])


@pytest.mark.parametrize("shape", [(20,), (4, 5), (2, 5, 2)])
def test_a_split_without_examples_has_the_permutation_of_the_others(shape):
    empty, permutation = permute_pixels(KEY, np.zeros((0, *shape), np.float32))
    assert empty.shape == (0, *shape)
    np.testing.assert_array_equal(permutation, permute_pixels(KEY, np.zeros((3, *shape), np.float32))[1])


def test_a_permuted_first_layer_gives_equal_outputs_and_gradients():
    """T27: with W' = W R^T the network cannot tell; only the order of the sums differs."""
    x = np.random.RandomState(2).rand(8, 6, 6, 1).astype(np.float32)
    permuted, permutation = permute_pixels(KEY, x)
    model = jaxdl.as_model(jaxdl.models.MLP((16, 10)))
    params = model.init(jax.random.key(1), x)["params"]
    first = params["Dense_0"]
    turned = params | {"Dense_0": first | {"kernel": first["kernel"][permutation]}}
    # The formula as the lecture has it, W (out, in): W' = W R^T.
    matrix = np.eye(36, dtype=np.float32)[permutation]
    np.testing.assert_array_equal(turned["Dense_0"]["kernel"].T, first["kernel"].T @ matrix.T)
    loss = lambda params, x: jnp.sum(model.apply({"params": params}, x)[0] ** 2)  # noqa: E731
    ours, grads = jax.value_and_grad(loss)(turned, permuted)
    theirs, plain = jax.value_and_grad(loss)(params, x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(grads["Dense_0"]["kernel"], plain["Dense_0"]["kernel"][permutation], atol=1e-5)
    np.testing.assert_allclose(grads["Dense_1"]["kernel"], plain["Dense_1"]["kernel"], atol=1e-5)


def test_jit_and_dtype():
    x = jnp.arange(12, dtype=jnp.bfloat16).reshape(2, 6)
    permuted, permutation = jax.jit(permute_pixels)(KEY, x)
    assert permuted.dtype == jnp.bfloat16
    np.testing.assert_array_equal(permuted, x[:, permutation])


def test_refusals():
    with pytest.raises(TypeError, match="key: expected one typed key"):
        permute_pixels(np.zeros(2, np.uint32), np.ones((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"x: expected shape \(N, features\), .*; got \(4,\)"):
        permute_pixels(KEY, np.ones(4))
