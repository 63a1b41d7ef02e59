import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import gradient_similarity
from tests.reference import example_gradients as reference


def test_against_the_gradients_written_out(small_net):
    losses, params, batch = small_net
    found = gradient_similarity(losses, params, batch)
    flat = reference.flat(reference.gradients(params, batch))
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(found.norms, norms, rtol=1e-5)
    np.testing.assert_allclose(found.cosines, flat @ flat.T / np.outer(norms, norms), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.diag(found.cosines), 1)


def test_known_angles_and_an_example_without_gradient():
    x = np.array([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0], [0.0, 0.0]], np.float32)
    found = gradient_similarity(lambda w, x: x @ w, jnp.ones(2), x)
    np.testing.assert_allclose(found.cosines[:3, :3], [[1, 0.6, -1], [0.6, 1, -0.6], [-1, -0.6, 1]], rtol=1e-6)
    assert np.isnan(found.cosines[3]).all()
    assert np.isnan(found.cosines[:, 3]).all()
    assert float(found.norms[3]) == 0


def test_half_precision_and_transformations(small_net):
    losses, params, batch = small_net
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    whole = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    found = gradient_similarity(losses, half, batch)
    assert found.cosines.dtype == jnp.float32
    np.testing.assert_allclose(found.cosines, gradient_similarity(losses, whole, batch).cosines, atol=0.05)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    many = jax.jit(jax.vmap(lambda p: gradient_similarity(losses, p, batch)))(stacked)
    np.testing.assert_allclose(many[0].cosines, gradient_similarity(losses, params, batch).cosines, atol=1e-5)


def test_errors(small_net):
    losses, params, (x, y) = small_net
    with pytest.raises(ValueError, match="batch: expected arrays that share one leading example axis of length >= 1"):
        gradient_similarity(losses, params, (x[:0], y[:0]))
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum"):
        gradient_similarity(lambda p, b: losses(p, b) - jnp.mean(losses(p, b)), params, (x, y))
