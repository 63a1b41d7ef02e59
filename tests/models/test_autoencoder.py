"""Autoencoders against NumPy transcriptions of their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.models import Autoencoder, ConvAutoencoder

X = np.random.RandomState(0).rand(6, 2, 3).astype(np.float32)
KEY = jax.random.key(0)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def started(model, x=X):
    variables = model.init(KEY, x)
    # Biases other than 0, so that each is seen.
    noisy = jax.tree.map(
        lambda leaf: leaf + 0.1 * np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape), variables
    )
    return noisy, jax.tree.map(np.asarray, noisy["params"])


@pytest.mark.parametrize("tied", [False, True])
def test_two_layers_there_and_back(tied):
    model = Autoencoder((5, 2), tied=tied)
    variables, p = started(model)
    flat = X.reshape(6, 6)
    h = logistic(flat @ p["encoder_0"]["kernel"] + p["encoder_0"]["bias"])
    code = logistic(h @ p["encoder_1"]["kernel"] + p["encoder_1"]["bias"])
    back = [p["encoder_1"]["kernel"].T, p["encoder_0"]["kernel"].T] if tied else [
        p["decoder_0"]["kernel"], p["decoder_1"]["kernel"]
    ]  # fmt: skip
    h = logistic(code @ back[0] + p["decoder_0"]["bias"])
    logits = h @ back[1] + p["decoder_1"]["bias"]
    np.testing.assert_allclose(model.apply(variables, X, method="encode"), code, rtol=1e-5)
    np.testing.assert_allclose(model.apply(variables, code, method="decode"), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.apply(variables, X), logits.reshape(X.shape), rtol=1e-4, atol=1e-5)
    assert ("kernel" in p["decoder_0"]) is not tied


def test_the_gradient_of_a_tied_kernel_is_the_sum_of_both_uses():
    tied, free = Autoencoder((4,), tied=True, activation=nn.tanh), Autoencoder((4,), activation=nn.tanh)
    params = tied.init(KEY, X)["params"]
    untied = jax.tree.map(lambda leaf: leaf, params)
    untied["decoder_0"]["kernel"] = params["encoder_0"]["kernel"].T
    loss = lambda model: lambda p: jnp.sum(jnp.square(model.apply({"params": p}, X) - X))  # noqa: E731
    both, apart = jax.grad(loss(tied))(tied.init(KEY, X)["params"]), jax.grad(loss(free))(untied)
    total = apart["encoder_0"]["kernel"] + apart["decoder_0"]["kernel"].T
    np.testing.assert_allclose(both["encoder_0"]["kernel"], total, rtol=1e-4, atol=1e-5)


def test_a_linear_code_of_tied_orthonormal_weights_projects():
    """With W orthonormal, linear units and no bias, x W W^T is the projection, so a second pass changes nothing."""
    model = Autoencoder((3,), activation=lambda z: z, tied=True, kernel_init=nn.initializers.orthogonal())
    variables = model.init(KEY, X)
    once = model.apply(variables, X)
    assert not np.allclose(once, X, atol=0.1)
    np.testing.assert_allclose(model.apply(variables, once), once, atol=1e-5)


def test_masking_zeroes_entries_in_training_alone_and_encoding_never():
    """The identity as autoencoder shows its input: of 40,000 entries 30 % are 0, within 4 deviations (false alarm 6e-5)."""
    x = np.ones((200, 200), np.float32)
    model = jaxdl.as_model(Autoencoder((200,), activation=lambda z: z, masking_rate=0.3,
                                       kernel_init=jaxdl.initializers.identity()))  # fmt: skip
    variables = model.init(KEY, x)
    seen, _ = model.apply(variables, x, train=True, key=KEY)
    assert set(np.unique(seen)) == {0.0, 1.0}
    assert abs(float(np.mean(seen == 0)) - 0.3) < 4 * np.sqrt(0.21 / 40_000)
    np.testing.assert_array_equal(model.apply(variables, x)[0], x)
    other, _ = model.apply(variables, x, train=True, key=jax.random.key(1))
    assert not np.array_equal(seen, other)


def test_gaussian_noise_on_the_input():
    """Deviation of 40,000 entries within 4 sqrt(1 / 2n), false alarm 6e-5."""
    x = np.ones((200, 200), np.float32)
    model = jaxdl.as_model(Autoencoder((200,), activation=lambda z: z, noise_stddev=0.5,
                                       kernel_init=jaxdl.initializers.identity()))  # fmt: skip
    variables = model.init(KEY, x)
    seen, _ = model.apply(variables, x, train=True, key=KEY)
    assert abs(float(np.std(seen)) / 0.5 - 1) < 4 * np.sqrt(1 / 80_000)
    np.testing.assert_array_equal(model.apply(variables, x)[0], x)


def test_convolutions_halve_and_double():
    x = np.random.RandomState(1).rand(2, 8, 12, 3).astype(np.float32)
    model = ConvAutoencoder((4, 5), image_channels=3)
    variables = model.init(KEY, x)
    assert jax.tree.map(jnp.shape, variables["params"]) == {
        "encoder_0": {"kernel": (3, 3, 3, 4), "bias": (4,)},
        "encoder_1": {"kernel": (3, 3, 4, 5), "bias": (5,)},
        "decoder_0": {"kernel": (3, 3, 5, 4), "bias": (4,)},
        "decoder_1": {"kernel": (3, 3, 4, 3), "bias": (3,)},
    }
    code = model.apply(variables, x, method="encode")
    assert code.shape == (2, 2, 3, 5)
    np.testing.assert_array_equal(model.apply(variables, code, method="decode"), model.apply(variables, x))
    assert model.apply(variables, x).shape == x.shape


def test_a_convolution_of_stride_two_in_numpy():
    x = np.random.RandomState(1).rand(1, 4, 4, 1).astype(np.float32)
    model = ConvAutoencoder((1,), activation=lambda z: z)
    variables = model.init(KEY, x)
    kernel = np.asarray(variables["params"]["encoder_0"]["kernel"])[:, :, 0, 0]
    padded = np.pad(x[0, :, :, 0], ((0, 1), (0, 1)))  # SAME with stride 2 pads the end alone
    expected = [[np.sum(padded[r : r + 3, c : c + 3] * kernel) for c in (0, 2)] for r in (0, 2)]
    np.testing.assert_allclose(model.apply(variables, x, method="encode")[0, :, :, 0], expected, rtol=1e-4)


def test_the_code_keeps_the_output_from_hidden_inputs():
    """Every output depends on the input through the code alone: equal codes, equal outputs."""
    model = Autoencoder((1,), activation=nn.relu, kernel_init=lambda key, shape, dtype: -jnp.ones(shape, dtype))
    variables = model.init(KEY, X)
    np.testing.assert_array_equal(model.apply(variables, X), np.zeros_like(X))  # all codes are cut off at 0


@pytest.mark.parametrize("model", [Autoencoder((3,), dtype="bfloat16"), ConvAutoencoder((2,), dtype="bfloat16")])
def test_bfloat16_compute_keeps_float32_parameters(model):
    x = np.ones((2, 4, 4, 1), np.float32)
    variables = model.init(KEY, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    assert model.apply(variables, x).dtype == "bfloat16"


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_sizes_that_make_no_autoencoder(sizes):
    with pytest.raises(ValueError, match="sizes: expected at least one positive number of units; got"):
        Autoencoder(sizes).init(KEY, X)
    with pytest.raises(ValueError, match="channels: expected at least one positive number of channels; got"):
        ConvAutoencoder(sizes).init(KEY, np.ones((1, 4, 4, 1)))


@pytest.mark.parametrize("shape", [(2, 6, 8, 1), (2, 8, 8, 3), (2, 8, 8), (2, 8, 10, 1)])
def test_images_that_cannot_be_halved(shape):
    with pytest.raises(ValueError, match=r"x: expected images \(batch, height, width, 1\) whose sides 4 divides"):
        ConvAutoencoder((2, 2)).init(KEY, np.ones(shape, np.float32))


def test_a_rate_that_is_no_probability():
    with pytest.raises(ValueError, match="rate: expected one finite number >= 0 and < 1; got 1.0"):
        Autoencoder((3,), masking_rate=1.0).apply(Autoencoder((3,)).init(KEY, X), X, train=True, rngs={"dropout": KEY})
