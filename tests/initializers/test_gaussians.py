"""Moments over 400 x 600 draws. A sample variance of n normals has a standard error of sqrt(2 / n), 0.29 % here; the
bounds are five of them, so a right initializer fails one time in two million."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import initializers
from jaxdl.initializers import (
    fan_out_normal,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    random_walk,
    standard_uniform,
)  # fmt: skip
from jaxdl.models import MLP

IN, OUT = 400, 600
SE = np.sqrt(2 / (IN * OUT))
VARIANCES = {
    "lecun_normal": (lecun_normal(), 1 / IN),
    "lecun_uniform": (lecun_uniform(), 1 / IN),
    "glorot_normal": (glorot_normal(), 2 / (IN + OUT)),
    "glorot_uniform": (glorot_uniform(), 2 / (IN + OUT)),
    "he_normal": (he_normal(), 2 / IN),
    "he_normal, slope 1/4": (he_normal(negative_slope=0.25), 2 / (1 + 1 / 16) / IN),
    "he_uniform": (he_uniform(), 2 / IN),
    "he_uniform, slope 1": (he_uniform(negative_slope=1.0), 1 / IN),
    "standard_uniform": (standard_uniform(), 1 / (3 * IN)),
    "fan_out_normal": (fan_out_normal(), 1 / OUT),
    "small Gaussian": (normal(0.01), 1e-4),
    "N(0, 1)": (normal(1.0), 1.0),
    "random_walk, linear": (random_walk("linear"), np.exp(1 / IN) / IN),
    "random_walk, relu": (random_walk("relu"), 2 * np.exp(2.4 / (IN - 2.4)) / IN),
    "random_walk, tanh": (random_walk("tanh", gain=1.2), 1.44 / IN),
}


@pytest.mark.parametrize(("init", "variance"), VARIANCES.values(), ids=VARIANCES)
def test_mean_and_variance(init, variance):
    draws = np.asarray(init(jax.random.key(0), (IN, OUT)), np.float64)
    assert np.mean(draws**2) == pytest.approx(variance, rel=5 * SE)
    assert abs(draws.mean()) < 5 * np.sqrt(variance / draws.size)


@pytest.mark.parametrize("init", [lecun_normal(), glorot_normal(), he_normal(), fan_out_normal(), random_walk("relu")])
def test_normals_are_not_truncated(init):
    """Z-01: jax's own stop at 2.274 deviations. Of 240,000 normals the largest exceeds 3.5 but once in 10^48."""
    draws = np.asarray(init(jax.random.key(1), (IN, OUT)))
    assert np.abs(draws).max() / draws.std() > 3.5
    truncated = np.asarray(jax.nn.initializers.lecun_normal()(jax.random.key(1), (IN, OUT)))
    assert np.abs(truncated).max() * np.sqrt(IN) == pytest.approx(2 / 0.87962566, rel=1e-2)


@pytest.mark.parametrize(
    ("init", "half_width"),
    [
        (glorot_uniform(), np.sqrt(6 / (IN + OUT))),
        (lecun_uniform(), np.sqrt(3 / IN)),
        (he_uniform(), np.sqrt(6 / IN)),
        (standard_uniform(), 1 / np.sqrt(IN)),
    ],
)
def test_half_widths_of_the_uniform_ones(init, half_width):
    """The largest of 240,000 uniforms lies within 1e-4 of the end but for a chance of exp(-24)."""
    draws = np.abs(np.asarray(init(jax.random.key(2), (IN, OUT))))
    assert draws.max() <= half_width * (1 + 1e-6)
    assert draws.max() > half_width * (1 - 1e-4)


def test_the_slides_glorot_formulas_have_the_wrong_variance():
    """S01: deviation sqrt(3 / (in + out)) is 1.5 times the variance; S15: half-width 6 / sqrt(in + out) is 6 times."""
    right = 2 / (IN + OUT)
    assert 3 / (IN + OUT) / right == pytest.approx(1.5)
    assert (6 / np.sqrt(IN + OUT)) ** 2 / 3 / right == pytest.approx(6)
    draws = np.asarray(glorot_normal()(jax.random.key(3), (IN, OUT)))
    assert np.mean(draws**2) != pytest.approx(1.5 * right, rel=0.1)


def test_lecun_and_glorot_coincide_for_square_kernels_and_keep_both_directions_only_there():
    """I18: forward n_in Var W = 1 and backward n_out Var W = 1 hold together where fan_in = fan_out."""
    square = (300, 300)
    np.testing.assert_array_equal(lecun_normal()(jax.random.key(0), square), glorot_normal()(jax.random.key(0), square))
    kernel = np.asarray(glorot_normal()(jax.random.key(1), (IN, OUT)), np.float64)
    forward, backward = IN * np.mean(kernel**2), OUT * np.mean(kernel**2)
    assert forward == pytest.approx(0.8, rel=5 * SE)
    assert backward == pytest.approx(1.2, rel=5 * SE)


def test_convolution_kernels_count_the_window_as_fan():
    kernel = np.asarray(he_normal()(jax.random.key(0), (5, 5, 16, 600)), np.float64)
    assert np.mean(kernel**2) == pytest.approx(2 / 400, rel=5 * SE)
    kernel = np.asarray(random_walk("relu")(jax.random.key(0), (5, 5, 16, 600)), np.float64)
    assert np.mean(kernel**2) == pytest.approx(2 * np.exp(2.4 / 397.6) / 400, rel=5 * SE)


def test_a_constant_start_leaves_units_alike_for_ever():
    """I01, T29: equal units get equal gradients; a random start breaks the symmetry."""
    x, t = jax.random.normal(jax.random.key(0), (8, 5)), jnp.ones((8, 1))

    def spread(init):
        params = [init(jax.random.key(1), (5, 4)), init(jax.random.key(2), (4, 1))]
        loss = lambda p: jnp.square(jnp.tanh(x @ p[0]) @ p[1] - t).mean()  # noqa: E731
        for _ in range(20):
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))
        return float(jnp.ptp(params[0], axis=1).max())

    assert spread(initializers.constant(0.5)) == 0
    assert spread(lecun_normal()) > 0.1


def test_biases_start_at_zero():
    """I15; of the library's own models, too, unless another initializer is named."""
    np.testing.assert_array_equal(initializers.zeros(jax.random.key(0), (7,)), np.zeros(7))
    params = MLP((4, 3)).init(jax.random.key(0), jnp.ones((1, 5)))["params"]
    for layer in params.values():
        np.testing.assert_array_equal(layer["bias"], np.zeros(layer["kernel"].shape[1]))


@pytest.mark.parametrize("n", [50, 300])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_the_walk_has_no_drift_and_its_published_spread(n, activation):
    """T50: z = ||W d||^2 / ||d||^2 has E ln z = 0 with omega, Var ln z = 2/N (linear), 5/(N - 4) (ReLU).

    4,000 steps: the mean within five standard errors (1 in 2 million), the variance within 15 % (its own standard
    error is 2.2 % for normal ln z).
    """
    steps = 4000
    keys = jax.random.split(jax.random.key(n), steps)

    def one(key):
        kernel_key, vector_key, gate_key = jax.random.split(key, 3)
        d = jax.random.normal(vector_key, (n,))
        # A ReLU lets half of the back-propagated entries through.
        gated = d if activation == "linear" else d * jax.random.bernoulli(gate_key, 0.5, (n,))
        back = random_walk(activation)(kernel_key, (n, n)) @ gated
        return jnp.log(jnp.sum(back**2) / jnp.sum(d**2))

    logs = np.asarray(jax.lax.map(one, keys, batch_size=100), np.float64)
    expected = 2 / n if activation == "linear" else 5 / (n - 4)
    assert logs.var() == pytest.approx(expected, rel=0.15)
    # The ReLU formula is a fit of its authors: allow the drift its own two terms leave, 5 % of Var at most.
    assert abs(logs.mean()) < 5 * np.sqrt(expected / steps) + 0.05 * expected


def test_the_walk_of_narrow_relu_layers_takes_the_formula_at_six():
    kernel = np.asarray(random_walk("relu")(jax.random.key(0), (4, 60_000)), np.float64)
    assert np.mean(kernel**2) == pytest.approx(2 * np.exp(2.4 / 3.6) / 4, rel=5 * SE)


@pytest.mark.parametrize("init", [lecun_normal(), glorot_normal(), he_normal(), random_walk("linear")])
def test_dtype_and_key_decide(init):
    draws = init(jax.random.key(0), (8, 8), jnp.bfloat16)
    assert draws.dtype == jnp.bfloat16
    np.testing.assert_array_equal(init(jax.random.key(3), (8, 8)), init(jax.random.key(3), (8, 8)))
    assert not np.array_equal(init(jax.random.key(3), (8, 8)), init(jax.random.key(4), (8, 8)))


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"activation: expected 'linear', 'relu' or 'tanh'; got 'selu'"):
        random_walk("selu")
    with pytest.raises(ValueError, match=r"gain: expected a number for 'tanh'.*got None"):
        random_walk("tanh")
    with pytest.raises(ValueError, match=r"gain: expected one finite number > 0; got -1"):
        random_walk("relu", gain=-1)
    with pytest.raises(ValueError, match=r"negative_slope: expected one finite number; got nan"):
        he_normal(negative_slope=float("nan"))
