import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl import regularizers

KEY = jax.random.key(0)
DRAWS = np.random.RandomState(0)
X, Y, W = DRAWS.randn(12, 5), DRAWS.randn(12), DRAWS.randn(5)
RATED = ["dropout", "classic_dropout", "gaussian_dropout", "alpha_dropout"]


def rated(name, key, x, **options):
    return getattr(regularizers, name)(key, x, **{"rate": 0.3, **options})


def test_classic_dropout_of_a_linear_model_is_ridge():
    """E|y - (R o X) w|^2 = |y - pXw|^2 + p(1-p) |Gamma w|^2, Gamma = diag(X^T X)^(1/2) (references X04)."""
    rate, x = 0.3, jnp.asarray(X, jnp.float32)
    keep = 1 - rate

    def loss(key):
        return jnp.sum((jnp.asarray(Y) - regularizers.classic_dropout(key, x, rate=rate) @ jnp.asarray(W)) ** 2)

    losses = np.asarray(jax.jit(jax.vmap(loss))(jax.random.split(KEY, 40_000)), np.float64)
    expected = np.sum((Y - keep * X @ W) ** 2) + keep * (1 - keep) * np.sum(np.diag(X.T @ X) * W**2)
    assert abs(losses.mean() - expected) < 4 * losses.std() / np.sqrt(len(losses))  # false alarm 6e-5


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.7])
def test_inverted_and_classic_agree_in_expectation(rate):
    """The slide's factor of evaluation, p as the DROP probability, is right at 0.5 alone (S23)."""
    x, n = jnp.asarray([1.0, -3.0]), 40_000
    keys = jax.random.split(KEY, n)
    inverted = np.asarray(jax.vmap(lambda k: regularizers.dropout(k, x, rate=rate))(keys), np.float64).mean(0)
    classic = np.asarray(jax.vmap(lambda k: regularizers.classic_dropout(k, x, rate=rate))(keys), np.float64).mean(0)
    error = 5 * np.abs(x) * np.sqrt(rate * (1 - rate) / n)  # of a Bernoulli mean; false alarm 6e-7 an entry
    evaluated = regularizers.classic_dropout(None, x, rate=rate)
    assert np.all(np.abs(classic - evaluated) < error)
    assert np.all(np.abs(inverted - x) < error / (1 - rate))
    np.testing.assert_allclose(evaluated, (1 - rate) * x, rtol=1e-6)
    slide_is_right = np.all(np.abs(classic - rate * np.asarray(x)) < error)
    assert slide_is_right == (rate == 0.5)


def test_one_array_gives_the_values_of_flax():
    x = jnp.asarray(X, jnp.float32)
    expected = nn.Dropout(0.4, deterministic=False).apply({}, x, rng=KEY)
    np.testing.assert_array_equal(regularizers.dropout(KEY, x, rate=0.4), expected)


def test_the_geometric_mean_of_all_thinned_networks_is_weight_scaling():
    """Exact for one softmax layer (catalogue R21): 2^n networks, weighted by their probabilities, enumerated."""
    keep, x, kernel, bias = 0.7, X[0], DRAWS.randn(5, 3), DRAWS.randn(3)
    log_mean = np.zeros(3)
    for mask in itertools.product((0, 1), repeat=5):
        logits = (np.array(mask) * x) @ kernel + bias
        probability = np.prod(np.where(mask, keep, 1 - keep))
        log_mean += probability * (logits - np.log(np.exp(logits).sum()))
    geometric = np.exp(log_mean) / np.exp(log_mean).sum()
    scaled = regularizers.classic_dropout(None, jnp.asarray(x), rate=1 - keep) @ jnp.asarray(kernel) + jnp.asarray(bias)
    np.testing.assert_allclose(jax.nn.softmax(scaled), geometric, rtol=1e-5)


def test_gaussian_dropout_has_the_moments_of_dropout():
    n, rate = 400_000, 0.2
    variance = rate / (1 - rate)
    factors = np.asarray(regularizers.gaussian_dropout(KEY, jnp.full(n, 2.0), rate=rate), np.float64) / 2
    assert abs(factors.mean() - 1) < 5 * np.sqrt(variance / n)  # 6e-7
    assert abs(factors.var() - variance) < 5 * variance * np.sqrt(2 / n)  # 6e-7
    # A normal, no Bernoulli: 2.275 % above two deviations.
    share = np.mean(factors > 1 + 2 * np.sqrt(variance))
    assert abs(share - 0.02275) < 5 * np.sqrt(0.02275 / n)


@pytest.mark.parametrize("name", ["gaussian_noise", "gaussian_dropout"])
def test_half_precision_noise_has_tails(name):
    """The greatest of 1e5 normals is above 3.5 but for once in e^23 runs; from eight random bits it is below 2.9."""
    options = {"stddev": 1.0} if name == "gaussian_noise" else {"rate": 0.5}
    noisy = getattr(regularizers, name)(KEY, jnp.ones(100_000, "bfloat16"), **options)
    assert float(jnp.max(noisy)) - 1 > 3.5


def test_alpha_dropout_keeps_mean_and_variance():
    """0 and 1 within 0.005 at 2e6 samples (references X04): 7 and 4 standard errors, false alarm 6e-5."""
    standard = jax.random.normal(jax.random.key(1), (2_000_000,))
    for rate in (0.05, 0.2):
        values = np.asarray(regularizers.alpha_dropout(KEY, standard, rate=rate), np.float64)
        assert abs(values.mean()) < 0.005
        assert abs(values.var() - 1) < 0.005


def test_constants_of_alpha_dropout():
    """a and b of catalogue R12 at q = 0.95, and what SELU tends to at minus infinity."""
    values = np.unique(np.asarray(regularizers.alpha_dropout(KEY, jnp.full(1000, 2.0), rate=0.05)))
    a, b, dropped = 0.95484, 0.08394, -1.7580993408473766
    found_a = (values[1] - values[0]) / (2 - dropped)
    np.testing.assert_allclose([found_a, values[1] - 2 * found_a], [a, b], atol=6e-6)  # printed to five digits
    assert dropped == pytest.approx(float(jax.nn.selu(-1e3)), rel=1e-6)


def test_input_noise_on_a_linear_model_is_ridge():
    """E|y - (X + s E) w|^2 = |y - Xw|^2 + n s^2 |w|^2 (Bishop 1995); its minimiser is that of ridge."""
    stddev, x, y = 0.5, jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)

    def loss(w, key):
        return jnp.sum((y - regularizers.gaussian_noise(key, x, stddev=stddev) @ w) ** 2)

    keys = jax.random.split(KEY, 40_000)
    w = jnp.asarray(W, jnp.float32)
    losses = np.asarray(jax.jit(jax.vmap(loss, (None, 0)))(w, keys), np.float64)
    expected = np.sum((Y - X @ W) ** 2) + len(X) * stddev**2 * np.sum(W**2)
    assert abs(losses.mean() - expected) < 4 * losses.std() / np.sqrt(len(losses))  # 6e-5
    ridge = np.linalg.solve(X.T @ X + len(X) * stddev**2 * np.eye(5), X.T @ Y)
    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(jnp.asarray(ridge, jnp.float32), keys), np.float64)
    assert np.all(np.abs(slopes.mean(0)) < 4.5 * slopes.std(0) / np.sqrt(len(keys)))  # 3e-5 over five


def test_dropconnect_reaches_the_chosen_leaves_only():
    params = {"Dense_0": {"kernel": jnp.ones((40, 50)), "bias": jnp.ones(50)}, "step": jnp.asarray(3)}
    noisy = regularizers.dropout(KEY, params, rate=0.5, where="**/kernel")
    assert set(np.unique(noisy["Dense_0"]["kernel"])) == {0.0, 2.0}
    np.testing.assert_array_equal(noisy["Dense_0"]["bias"], 1)
    assert noisy["step"] is params["step"]


@pytest.mark.parametrize("name", RATED)
def test_every_leaf_has_a_key_of_its_own_whatever_is_chosen(name):
    tree = {"a": jnp.ones(64), "b": jnp.ones(64), "c": jnp.ones(64)}
    noisy = rated(name, KEY, tree)
    assert not np.array_equal(noisy["a"], noisy["b"])
    assert not np.array_equal(noisy["b"], noisy["c"])
    np.testing.assert_array_equal(rated(name, KEY, tree, where="b")["b"], noisy["b"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*RATED, "gaussian_noise"])
def test_keeps_the_dtype_under_jit_vmap_and_grad(name, dtype):
    options = {"stddev": 0.1} if name == "gaussian_noise" else {"rate": 0.3}
    x = jnp.ones((3, 4), dtype)
    f = lambda key, x: getattr(regularizers, name)(key, x, **options)  # noqa: E731
    keys = jax.random.split(KEY, 3)
    noisy = jax.jit(jax.vmap(f))(keys, x)
    assert noisy.dtype == dtype
    one_by_one = jnp.stack([f(key, row) for key, row in zip(keys, x, strict=True)])
    np.testing.assert_allclose(noisy.astype("float32"), one_by_one.astype("float32"), rtol=1e-2, atol=1e-6)
    assert np.all(np.isfinite(jax.grad(lambda x: f(KEY, x).astype("float32").sum())(x).astype("float32")))
    assert f(KEY, jnp.zeros((0, 2), dtype)).shape == (0, 2)


@pytest.mark.parametrize("name", RATED)
def test_a_traced_rate_gives_the_values_of_a_static_one(name):
    x = jnp.linspace(-1, 1, 50)
    traced = jax.jit(lambda rate: rated(name, KEY, x, rate=rate))(0.3)
    np.testing.assert_allclose(traced, rated(name, KEY, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RATED)
def test_rate_zero_is_the_identity(name):
    np.testing.assert_allclose(rated(name, KEY, jnp.asarray(X), rate=0.0), X, rtol=1e-6)


@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), "half", True])
def test_rates_that_are_no_probability(name, rate):
    with pytest.raises(ValueError, match=r"rate: expected one finite number >= 0 and < 1; got .*probability to drop"):
        rated(name, KEY, jnp.ones(2), rate=rate)


def test_a_negative_deviation():
    with pytest.raises(ValueError, match=r"stddev: expected one finite number >= 0; got -1.*Use 0 for no noise"):
        regularizers.gaussian_noise(KEY, jnp.ones(2), stddev=-1)


@pytest.mark.parametrize("name", RATED)
def test_wants_one_typed_key(name):
    with pytest.raises(TypeError, match="key: expected one typed key"):
        rated(name, jax.random.PRNGKey(0), jnp.ones(2))


def test_leaves_that_are_no_floats():
    with pytest.raises(
        TypeError, match=r"x: expected floating-point leaves; got int32 at step\. Leave it out by where="
    ):
        regularizers.dropout(KEY, {"w": jnp.ones(2), "step": jnp.asarray(1)}, rate=0.5)
    with pytest.raises(TypeError, match=r"got int32 at \(root\)"):
        regularizers.dropout(KEY, jnp.arange(3), rate=0.5)


def test_a_pattern_that_matches_nothing():
    with pytest.raises(ValueError, match="where='kernel' matches no leaf"):
        regularizers.dropout(KEY, {"w": jnp.ones(2)}, rate=0.5, where="kernel")
