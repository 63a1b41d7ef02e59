import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.initializers import delta_orthogonal, he_normal, identity, orthogonal, per_position, sparse

KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_identity_is_padded_with_zeros(shape):
    np.testing.assert_array_equal(identity(2.0)(KEY, shape), 2 * np.eye(*shape))
    assert identity()(KEY, shape, jnp.bfloat16).dtype == jnp.bfloat16


def test_an_identity_recurrence_of_relus_adds_up_what_comes_in():
    """Le, Jaitly, Hinton 2015: with non-negative inputs h_T = sum_t U x_t, and its derivative by any x_t is U."""
    cell = nn.SimpleCell(4, activation_fn=nn.relu, recurrent_kernel_init=identity())
    x = jax.random.uniform(KEY, (2, 9, 3))
    variables = nn.RNN(cell).init(jax.random.key(1), x)
    u = jnp.abs(variables["params"]["cell"]["i"]["kernel"])
    variables["params"]["cell"]["i"]["kernel"] = u
    last = lambda x: nn.RNN(cell).apply(variables, x)[:, -1]  # noqa: E731
    np.testing.assert_allclose(last(x), (x @ u).sum(1), rtol=1e-5)
    by_time = jax.grad(lambda x: last(x).sum())(x)
    np.testing.assert_allclose(by_time, jnp.broadcast_to(u.sum(1), x.shape), rtol=1e-5)


@pytest.mark.parametrize("window", [(3, 3), (5,), (2, 3)])
def test_an_identity_convolution_gives_its_input_back(window):
    x = jax.random.normal(KEY, (2, *(6 for _ in window), 4))
    kernel = identity()(KEY, (*window, 4, 4))
    spec = ("NHWC", "HWIO", "NHWC") if len(window) == 2 else ("NWC", "WIO", "NWC")
    y = jax.lax.conv_general_dilated(x, kernel, (1,) * len(window), "SAME", dimension_numbers=spec)
    np.testing.assert_allclose(y, x, rtol=1e-6)


@pytest.mark.parametrize("shape", [(100, 40), (3, 3, 5, 12), (15, 7)])
def test_sparse_has_exactly_k_incoming_weights_a_unit(shape):
    kernel = np.asarray(sparse(15)(KEY, shape)).reshape(-1, shape[-1])
    np.testing.assert_array_equal((kernel != 0).sum(0), 15)


def test_sparse_values_are_unit_normals_at_uniform_places():
    """60,000 values: variance within five standard errors; each of 50 places is taken 4,000 x 15 / 50 times, +-6 sd."""
    kernel = np.asarray(sparse(15)(KEY, (50, 4000)))
    values = kernel[kernel != 0]
    assert np.mean(values**2) == pytest.approx(1, rel=5 * np.sqrt(2 / values.size))
    taken = (kernel != 0).sum(1)
    assert np.all(np.abs(taken - 1200) < 6 * np.sqrt(4000 * 0.3 * 0.7))
    assert np.mean(np.asarray(sparse(15, stddev=0.1)(KEY, (50, 4000))) ** 2) == pytest.approx(0.01 * 0.3, rel=0.05)


def test_units_of_a_sparse_kernel_are_distinct():
    kernel = np.asarray(sparse(3)(KEY, (30, 20)))
    assert len({tuple(np.flatnonzero(column)) for column in kernel.T}) > 15


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 3, 2, 8)])
@pytest.mark.parametrize("gain", [1.0, 1.1])
def test_orthogonal_makes_the_smaller_gram_matrix_the_identity(shape, gain):
    """Z-05: K^T K where in >= out, else K K^T."""
    kernel = np.asarray(orthogonal(gain)(KEY, shape)).reshape(-1, shape[-1])
    gram = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(kernel.shape)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.svd(kernel, compute_uv=False), gain, rtol=1e-5)


def test_a_delta_orthogonal_convolution_keeps_norms():
    x = jax.random.normal(KEY, (2, 6, 6, 4))
    kernel = delta_orthogonal()(KEY, (3, 3, 4, 8))
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)


@pytest.mark.parametrize("init", [identity(), sparse(2)])
def test_vectors_are_refused(init):
    with pytest.raises(ValueError, match=r"shape: expected that of a kernel, \(\.\.\., in, out\); got \(3,\)"):
        init(KEY, (3,))


def test_sparse_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"num_nonzero: expected at most the 8 incoming weights.*\(8, 3\); got 15"):
        sparse()(KEY, (8, 3))
    with pytest.raises(ValueError, match=r"num_nonzero: expected a whole number >= 1; got 0"):
        sparse(0)
    with pytest.raises(ValueError, match=r"stddev: expected one finite number > 0; got 0"):
        sparse(stddev=0)


@pytest.mark.parametrize("init", [identity(), sparse(2), orthogonal()])
def test_under_jit_and_vmap(init):
    keys = jax.random.split(KEY, 3)
    stacked = jax.jit(jax.vmap(lambda key: init(key, (6, 4))))(keys)
    np.testing.assert_allclose(stacked[1], init(keys[1], (6, 4)), rtol=1e-5, atol=1e-6)


def test_every_position_of_a_local_layer_draws_a_kernel_of_its_own():
    """Variance 2 / 12 over 10 x 9 x 12 x 8 draws, five standard errors; the plain initializer divides by 90 more."""
    shape = (10, 9, 12, 8)
    own, plain = (np.asarray(init(KEY, shape)) for init in (per_position(he_normal()), he_normal()))
    assert np.mean(own**2) == pytest.approx(2 / 12, rel=5 * np.sqrt(2 / own.size))
    assert np.mean(plain**2) == pytest.approx(2 / 12 / 90, rel=5 * np.sqrt(2 / plain.size))
    assert len(np.unique(own)) > 0.99 * own.size  # float32 draws collide now and then
    assert per_position(he_normal())(KEY, shape, jnp.bfloat16).dtype == jnp.bfloat16


def test_orthogonal_at_every_position():
    kernel = per_position(orthogonal())(KEY, (3, 2, 9, 4))
    gram = np.einsum("hwio,hwip->hwop", kernel, kernel)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(4), gram.shape), atol=1e-5)


def test_a_vector_has_no_positions():
    with pytest.raises(ValueError, match=r"shape: expected that of a kernel, .*; got \(3,\)"):
        per_position(he_normal())(KEY, (3,))
