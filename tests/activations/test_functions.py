import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxdl import activations

Z = np.concatenate([np.linspace(-6, 6, 49), [-40, 40]])
KEY = jax.random.key(0)


def softmax(z):
    shifted = np.exp(z - z.max())
    return shifted / shifted.sum()


# NumPy float64 transcriptions of catalogue A01-A13.
ALPHA, SCALE = 1.6732632423543772848, 1.0507009873554804934
CLOSED_FORMS = {
    "identity": lambda z: z,
    "step": lambda z: (z > 0) * 1.0,
    "sign_pm1": lambda z: np.where(z > 0, 1.0, -1.0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: 2 / (1 + np.exp(-2 * z)) - 1,  # 2 sigma(2z) - 1, the lecture's identity
    "relu": lambda z: np.maximum(0, z),
    "leaky_relu": lambda z: np.maximum(0.01 * z, z),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1),
    "selu": lambda z: SCALE * np.where(z > 0, z, ALPHA * (np.exp(np.minimum(z, 0)) - 1)),
    "soft_sign": lambda z: z / (1 + np.abs(z)),
    "softmax": softmax,
    "log_softmax": lambda z: np.log(softmax(z)),
    "prelu": lambda z: np.where(z >= 0, z, 0.25 * z),
    "rrelu": lambda z: np.where(z >= 0, z, 11 / 48 * z),
    "maxout": lambda z: z.reshape(-1, 3).max(1),
}
OPTIONS = {"prelu": lambda f: lambda z: f(z, 0.25), "maxout": lambda f: lambda z: f(z, pieces=3)}


def function(name):
    f = getattr(activations, name)
    return OPTIONS[name](f) if name in OPTIONS else f


def test_every_name_has_a_closed_form():
    assert set(CLOSED_FORMS) == set(activations.__all__) - {"FACTS", "Facts", "facts"}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_values_are_those_of_the_closed_form(name):
    computed = function(name)(jnp.asarray(Z, jnp.float32))
    np.testing.assert_allclose(computed, CLOSED_FORMS[name](Z), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_derivatives_away_from_kinks(name):
    """Forward and reverse, against central differences."""
    away = jnp.asarray([-2.3, -1.1, 0.7, -0.6, 1.9, 2.6], jnp.float32)
    check_grads(function(name), (away,), order=1)


@pytest.mark.parametrize("name", ["step", "sign_pm1"])
def test_thresholds_cannot_be_trained(name):
    assert np.all(jax.vmap(jax.grad(function(name)))(jnp.asarray(Z, jnp.float32)) == 0)


def test_a_tie_of_the_threshold_units():
    zeros = jnp.asarray([0.0, -0.0])
    np.testing.assert_array_equal(activations.step(zeros), [0, 0])
    np.testing.assert_array_equal(activations.sign_pm1(zeros), [-1, -1])
    assert np.isnan(activations.step(jnp.nan))
    assert np.isnan(activations.sign_pm1(jnp.nan))


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (activations.relu, 0.0),
        (lambda z: jnp.maximum(z, 0), 0.5),
        (activations.leaky_relu, 1.0),
        (lambda z: jnp.maximum(0.01 * z, z), 0.505),
        (activations.elu, 1.0),
        (activations.rrelu, 1.0),
        (lambda z: activations.prelu(z, 0.25), 1.0),
        (lambda z: activations.maxout(jnp.stack([z, 3 * z]), pieces=2)[0], 2.0),  # half of each piece's derivative
    ],
)
def test_derivatives_at_the_kink(f, slope):
    """Catalogue Z-12: the jax.nn functions and their max forms differ at 0."""
    assert float(jax.grad(f)(0.0)) == pytest.approx(slope)


def test_prelu_by_channel():
    x, slopes = jnp.asarray([[[-2.0, -3.0], [4.0, -5.0]]]), jnp.asarray([0.5, 0.1])
    np.testing.assert_allclose(activations.prelu(x, slopes), [[[-1.0, -0.3], [4.0, -0.5]]], rtol=1e-6)
    by_slope = jax.grad(lambda s: activations.prelu(x, s).sum())(slopes)
    np.testing.assert_allclose(by_slope, [-2.0, -8.0])  # the sum of the negative inputs of each channel
    assert float(jax.grad(lambda s: activations.prelu(jnp.zeros(()), s))(0.3)) == 0.0


@pytest.mark.parametrize("slopes", [(3,), (1, 2), (1,)])
def test_prelu_refuses_slopes_of_another_shape(slopes):
    with pytest.raises(ValueError, match=r"negative_slope: expected a scalar or one slope per channel, shape \(2,\)"):
        activations.prelu(jnp.ones((4, 2)), jnp.ones(slopes))


def drawn_slopes(mode, count=200_000):
    return -np.asarray(activations.rrelu(-jnp.ones(count), key=KEY, mode=mode), np.float64)


@pytest.mark.parametrize(
    ("mode", "drawn", "low", "high"), [("slope", lambda s: s, 1 / 8, 1 / 3), ("divisor", lambda s: 1 / s, 3.0, 8.0)]
)
def test_moments_of_random_slopes(mode, drawn, low, high):
    """Mean, variance and quartiles of U(low, high) within 5 standard errors: a false alarm in 3e5 runs."""
    values = drawn(drawn_slopes(mode))
    n, variance = len(values), (high - low) ** 2 / 12
    assert low - 1e-6 <= values.min()
    assert values.max() <= high + 1e-6
    assert abs(values.mean() - (low + high) / 2) < 5 * np.sqrt(variance / n)
    # The fourth central moment of a uniform is 9/5 of the squared variance.
    assert abs(values.var() - variance) < 5 * np.sqrt(0.8 * variance**2 / n)
    for quartile in (0.25, 0.5, 0.75):
        share = np.mean(values < low + quartile * (high - low))
        assert abs(share - quartile) < 5 * np.sqrt(quartile * (1 - quartile) / n)


def test_half_precision_slopes_have_the_right_mean():
    """A uniform drawn with eight bits is 4e-4 too small on average; 5 standard errors are 3e-4 (6e-7)."""
    slopes = -np.asarray(activations.rrelu(jnp.full(1_000_000, -1, "bfloat16"), key=KEY), np.float64)
    assert abs(slopes.mean() - 11 / 48) < 5 * (5 / 24) / np.sqrt(12 * slopes.size)


def test_the_two_conventions_are_two_distributions():
    """E[1/a] for a ~ U(3, 8) is ln(8/3)/5 = 0.1962: neither 11/48 nor the evaluation slope 1/5.5."""
    slopes = drawn_slopes("divisor")
    variance = 1 / 24 - (np.log(8 / 3) / 5) ** 2  # E[1/a^2] = 1/(3 * 8)
    assert abs(slopes.mean() - np.log(8 / 3) / 5) < 5 * np.sqrt(variance / len(slopes))  # 6e-7
    assert float(activations.rrelu(-1.0, mode="divisor")) == pytest.approx(-1 / 5.5)
    assert float(activations.rrelu(-1.0)) == pytest.approx(-11 / 48)


def test_random_slopes_leave_positive_inputs_alone_and_follow_the_key():
    x = jnp.linspace(-1, 1, 9)
    a, b, c = (activations.rrelu(x, key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(a[4:], x[4:])
    np.testing.assert_array_equal(a, b)
    assert not np.any(a[:4] == c[:4])
    slopes = jax.vmap(jax.grad(lambda x, key: activations.rrelu(x, key=key)), (0, 0))(x, jax.random.split(KEY, 9))
    assert np.all((slopes[:4] >= 1 / 8) & (slopes[:4] <= 1 / 3))


@pytest.mark.parametrize("options", [{"lower": 0.5, "upper": 0.2}, {"lower": float("nan")}])
def test_bounds_in_the_wrong_order(options):
    with pytest.raises(ValueError, match=r"lower, upper: expected lower <= upper for mode='slope'; got"):
        activations.rrelu(jnp.ones(2), **options)


def test_a_divisor_needs_positive_slopes():
    with pytest.raises(ValueError, match=r"expected 0 < lower <= upper for mode='divisor'; got 0\.0 and 0\.3"):
        activations.rrelu(jnp.ones(2), lower=0.0, upper=0.3, mode="divisor")


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="mode: expected 'slope' or 'divisor'; got 'mean'"):
        activations.rrelu(jnp.ones(2), mode="mean")  # type: ignore[arg-type]


def test_rrelu_wants_one_typed_key():
    with pytest.raises(TypeError, match="key: expected one typed key"):
        activations.rrelu(jnp.ones(2), key=jax.random.split(KEY, 2))


def test_maxout_owns_neighbouring_features():
    z = jnp.asarray([[1.0, 5.0, -2.0, -3.0], [0.0, -1.0, 7.0, 8.0]])
    np.testing.assert_array_equal(activations.maxout(z, pieces=2), [[5, -2], [0, 8]])
    np.testing.assert_array_equal(activations.maxout(z, pieces=1), z)
    assert activations.maxout(jnp.zeros((0, 4)), pieces=2).shape == (0, 2)
    assert np.isnan(activations.maxout(jnp.asarray([1.0, jnp.nan]), pieces=2)[0])


@pytest.mark.parametrize("shape", [(3, 5), ()])
def test_features_that_pieces_do_not_divide(shape):
    with pytest.raises(ValueError, match=r"z: expected a last axis of units \* pieces features, a multiple of 2; got"):
        activations.maxout(jnp.zeros(shape), pieces=2)


@pytest.mark.parametrize("pieces", [0, 2.0, True])
def test_pieces_that_are_no_count(pieces):
    with pytest.raises(ValueError, match="pieces: expected a whole number >= 1; got"):
        activations.maxout(jnp.zeros((1, 4)), pieces=pieces)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["step", "sign_pm1", "prelu", "rrelu", "maxout"])
def test_keeps_the_dtype_under_jit_and_vmap(name, dtype):
    x = jnp.asarray(np.linspace(-2, 2, 12).reshape(2, 6), dtype)
    eager = function(name)(x)
    assert eager.dtype == dtype
    np.testing.assert_array_equal(jax.jit(jax.vmap(function(name)))(x), eager)
    assert activations.rrelu(x, key=KEY).dtype == dtype
    assert activations.prelu(x, jnp.full(6, 0.25)).dtype == dtype
