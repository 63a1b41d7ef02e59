"""Elastic displacements against scipy.ndimage.gaussian_filter and the variance of smoothed noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxdl.data.augmentation import elastic_displacement


@pytest.mark.parametrize(("size", "sigma"), [((28, 28), 4.0), ((9, 17), 1.2), ((5, 1), 6.0), ((6, 6), 0.1)])
def test_it_is_the_gaussian_filter_of_scipy(size, sigma):
    key = jax.random.key(0)
    noise = np.asarray(jax.random.uniform(key, (*size, 2), jnp.float32, -1.0, 1.0), np.float64)
    smooth = [ndimage.gaussian_filter(noise[..., i], sigma, mode="constant") for i in range(2)]
    ours = elastic_displacement(key, size, alpha=34.0, sigma=sigma)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, 34 * np.stack(smooth, -1), atol=1e-5)


def test_standard_deviation_far_from_the_edges():
    # 4000 independent fields at one point, rows and columns: the deviation of a near-Gaussian sample of n = 8000 has a
    # relative error of 1 / sqrt(2 n) = 0.8 %; 5 of these are missed once in a million times.
    keys = jax.random.split(jax.random.key(1), 4000)
    middle = jax.vmap(lambda key: elastic_displacement(key, (25, 25), alpha=34.0, sigma=3.0)[12, 12])(keys)
    assert float(jnp.std(middle)) == pytest.approx(34 / (3 * np.sqrt(12 * np.pi)), rel=0.04)
    assert abs(float(jnp.mean(middle))) < 5 * float(jnp.std(middle)) / np.sqrt(8000)


def test_products_are_asked_for_in_full_precision():
    program = str(
        jax.make_jaxpr(lambda key: elastic_displacement(key, (5, 6), alpha=3.0, sigma=1.0))(jax.random.key(0))
    )
    assert program.count("HIGHEST") >= program.count("dot_general") >= 1


def test_refusals():
    with pytest.raises(TypeError, match="key: expected one typed key"):
        elastic_displacement(jnp.zeros(2, jnp.uint32), (4, 4), alpha=1.0, sigma=1.0)
    with pytest.raises(ValueError, match=r"alpha: expected one finite number >= 0; got nan\. It is in pixels: try 34"):
        elastic_displacement(jax.random.key(0), (4, 4), alpha=float("nan"), sigma=1.0)
    with pytest.raises(ValueError, match=r"sigma: expected one finite number > 0; got 0\. It is in pixels: try 4"):
        elastic_displacement(jax.random.key(0), (4, 4), alpha=1.0, sigma=0)
