import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl.layers import LocalResponseNorm
from tests.reference import convnets

DRAWS = np.random.RandomState(0)
X = (30 * DRAWS.randn(2, 3, 4, 9)).astype(np.float32)


def normalized(x, **options):
    return LocalResponseNorm(**options).apply({}, x)


@pytest.mark.parametrize("options", [{}, {"size": 1}, {"size": 3, "k": 1.0, "alpha": 0.1, "beta": 0.5}, {"size": 19}])
@pytest.mark.parametrize("channels", [1, 2, 9])
def test_values_are_those_of_the_papers_sum(options, channels):
    x = X[..., :channels]
    np.testing.assert_allclose(normalized(x, **options), convnets.local_response_norm(x, **options), rtol=1e-5)


def test_alpha_is_not_divided_by_the_size():
    """One active channel: only its own square counts, a / (2 + 1e-4 a^2)^0.75 in the paper."""
    x = np.zeros((1, 7), np.float32)
    x[0, 3] = 100.0
    assert float(normalized(x)[0, 3]) == pytest.approx(100 / 3**0.75, rel=1e-6)


def test_axes_before_the_channels_do_not_matter():
    np.testing.assert_allclose(normalized(X)[1, 2, 3], normalized(X[1, 2, 3]), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(normalized))(X), normalized(X), rtol=1e-6)
    assert normalized(X[:0]).shape == (0, 3, 4, 9)


def test_gradients_are_finite_differences_and_finite_at_zero():
    check_grads(normalized, (X[:1, :1, :2] / 30,), order=1, modes=("rev",), atol=1e-2, rtol=1e-2)
    gradient = jax.grad(lambda x: jnp.sum(normalized(x)))(jnp.zeros((1, 3)))
    np.testing.assert_allclose(gradient, 2**-0.75, rtol=1e-6)


def test_half_precision_does_not_overflow():
    """Squares of 1,000 are beyond float16."""
    x = jnp.full((1, 5), 1000.0, "float16")
    expected = convnets.local_response_norm(np.full((1, 5), 1000.0))
    assert normalized(x).dtype == "float16"
    np.testing.assert_allclose(normalized(x).astype("float32"), expected, rtol=2e-3)
    assert normalized(x.astype("bfloat16")).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: expected a whole number >= 1; got 0. The paper has 5"),
        ({"size": 4}, "size: expected an odd number, as many channels on either side; got 4. The paper has 5"),
        ({"k": 0.0}, "k: expected one finite number > 0; got 0.0. The paper has 2"),
        ({"alpha": -1.0}, "alpha: expected one finite number >= 0; got -1.0. The paper has 1e-4, which is not"),
        ({"beta": -1.0}, "beta: expected one finite number >= 0; got -1.0. The paper has 0.75"),
    ],
)
def test_arguments_that_make_no_layer(options, message):
    with pytest.raises(ValueError, match=message):
        normalized(X, **options)
