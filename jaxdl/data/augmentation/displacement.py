"""Random smooth displacement fields."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks

_TRUNCATE = 4.0  # standard deviations, as scipy.ndimage.gaussian_filter cuts its kernel off


def elastic_displacement(key: jax.Array, size: tuple[int, int], *, alpha: float, sigma: float) -> jax.Array:
    """Uniform noise smoothed by a Gaussian: `alpha * gaussian(sigma) * U(-1, 1)`, rows and columns independently.

    Far from the edges a displacement has the standard deviation `alpha / (sigma * sqrt(12 pi))` pixels, for
    sigma >= 1: 1.4 pixels for the values of the paper, alpha = 34 and sigma = 4. Beyond the edges the noise is 0, so
    that displacements there are smaller. The field is not normalised to norm 1, which the paper mentions as well.

    Args:
        key: one typed PRNG key.
        size: height and width in pixels.
        alpha: strength in pixels, >= 0.
        sigma: standard deviation of the Gaussian in pixels, > 0.

    Returns:
        Displacements of rows and columns in pixels, float32, shape (height, width, 2).

    Raises:
        TypeError: `key` is not one typed key.
        ValueError: `alpha` or `sigma` out of its range.

    References:
        Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document
        analysis", 2003, section 2.
    """
    checks.one_key(key)
    check_elastic(alpha, sigma)
    noise = jax.random.uniform(key, (*size, 2), jnp.float32, -1.0, 1.0)
    # Two products with banded matrices of numbers: a convolution inside a scan is slow on CPU.
    down, across = (_smoothing(length, sigma) for length in size)
    return alpha * jnp.einsum("ij,jkd,lk->ild", down, noise, across, precision="highest")


def check_elastic(alpha: float, sigma: float) -> None:
    """Raises ValueError for a strength or a width that makes no field."""
    checks.number(alpha=alpha, minimum=0, remedy="It is in pixels: try 34 with sigma=4.")
    checks.number(sigma=sigma, minimum=0, exclusive=True, remedy="It is in pixels: try 4 with alpha=34.")


def _smoothing(length: int, sigma: float) -> np.ndarray:
    radius = int(_TRUNCATE * sigma + 0.5)
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    distance = np.arange(length)[:, None] - np.arange(length)
    weights = kernel[np.clip(distance + radius, 0, 2 * radius)] / kernel.sum()
    return np.where(np.abs(distance) <= radius, weights, 0).astype(np.float32)
