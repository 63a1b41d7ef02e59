"""The maps against closed forms, the phases against known boundaries, and both against networks drawn at random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf
from scipy import stats

from experiments.building_blocks.propagation import double_precision
from jaxdl import initializers, models, training
from jaxdl.diagnostics import (
    MeanField,
    Thresholds,
    correlation_map,
    depth_curves,
    error_factor,
    length_map,
    mean_field,
    signal_propagation,
)
from jaxdl.losses import squared_error

GRID = [-1.0, -0.7, 0.0, 0.3, 0.9, 0.999, 1.0]


def kappa_1(c):
    """Cho and Saul 2009: the arc-cosine kernel of degree 1."""
    return (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / np.pi


@pytest.mark.parametrize("q", [1e-6, 0.5, 30.0])
@pytest.mark.parametrize("c", GRID)
def test_the_maps_of_relu_are_the_arc_cosine_kernel(q, c):
    sw, sb = 1.3, 0.4
    with double_precision():
        following = float(length_map(jax.nn.relu, q, sigma_w=sw, sigma_b=sb))
        correlation = float(correlation_map(jax.nn.relu, c, q, sigma_w=sw, sigma_b=sb))
    assert following == pytest.approx(sw**2 * q / 2 + sb**2, rel=1e-12)
    assert correlation == pytest.approx((sw**2 * q / 2 * kappa_1(c) + sb**2) / following, rel=1e-9)


@pytest.mark.parametrize("q", [1e-6, 0.5, 30.0])
@pytest.mark.parametrize("c", GRID)
def test_the_maps_of_the_error_function_are_arc_sines(q, c):
    """Williams 1997: E[erf(u1) erf(u2)] = 2/pi arcsin(2 q c / (1 + 2 q))."""
    kernel = lambda c: 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))  # noqa: E731
    with double_precision():
        following = float(length_map(erf, q, sigma_w=1.5, sigma_b=0.1))
        correlation = float(correlation_map(erf, c, q, sigma_w=1.5, sigma_b=0.1))
    assert following == pytest.approx(1.5**2 * kernel(1) + 0.01, rel=1e-10)
    assert correlation == pytest.approx((1.5**2 * kernel(c) + 0.01) / following, rel=1e-9, abs=1e-12)


def test_linear_units_keep_the_correlation_they_have():
    identity = lambda x: x  # noqa: E731
    assert float(length_map(identity, 3.0, sigma_w=0.5, sigma_b=0.2)) == pytest.approx(0.25 * 3 + 0.04, rel=1e-5)
    for c in GRID:
        assert float(correlation_map(identity, c, 3.0, sigma_w=0.5)) == pytest.approx(c, abs=1e-5)
    assert np.isnan(correlation_map(identity, 0.5, 0.0, sigma_w=0.0))


def test_in_float32_too():
    assert length_map(jax.nn.relu, 0.5, sigma_w=1.0).dtype == jnp.float32
    assert float(correlation_map(jax.nn.relu, 0.3, 2.0, sigma_w=1.0)) == pytest.approx(kappa_1(0.3), rel=1e-5)


def test_the_error_factor_in_closed_form():
    """ReLU lets half through; for erf' = 2/sqrt(pi) exp(-u^2) the mean square is 4/pi / sqrt(1 + 4 q)."""
    with double_precision():
        relu, bent = (float(error_factor(fn, 0.7, sigma_w=1.3)) for fn in (jax.nn.relu, erf))
    assert relu == pytest.approx(1.69 / 2, rel=1e-12)
    assert bent == pytest.approx(1.69 * 4 / np.pi / np.sqrt(1 + 4 * 0.7), rel=1e-10)


def field(activation, sw, sb=0.0, **options):
    with double_precision():
        return mean_field(activation, sigma_w=sw, sigma_b=sb, **options)


def test_the_fixed_point_of_relu_in_closed_form():
    found = field(jax.nn.relu, 1.0, 0.5)
    assert float(found.length) == pytest.approx(0.25 / (1 - 0.5), rel=1e-9)
    assert float(found.chi) == pytest.approx(0.5, rel=1e-12)
    assert float(found.correlation) == 1
    for scale in (found.length_scale, found.correlation_scale):
        assert float(scale) == pytest.approx(1 / np.log(2), rel=1e-9)
    assert found.phase() == "ordered"


def test_relu_is_critical_at_hes_start_and_unbounded_above():
    found = field(jax.nn.relu, np.sqrt(2), start=3.0)
    assert (found.phase(), float(found.length), float(found.correlation)) == ("critical", 3.0, 1.0)
    assert float(found.chi) == pytest.approx(1, abs=1e-12)
    above = field(jax.nn.relu, 1.6, 0.1)
    assert above.phase() == "unbounded"
    assert float(above.length) == np.inf
    assert field(jax.nn.relu, 1.4).phase() == "ordered"
    assert mean_field(jax.nn.relu, sigma_w=2**0.5).phase() == "critical", "in float32, too"


@pytest.mark.parametrize(("sw", "phase"), [(0.9, "ordered"), (0.99, "ordered"), (1.0, "critical"), (1.05, "chaotic")])
def test_tanh_without_biases_turns_at_one(sw, phase):
    """Poole et al. 2016: below sigma_w = 1 every length dies; above, chi is larger than 1 and c* is 0."""
    found = field(jnp.tanh, sw)
    assert found.phase() == phase
    assert (float(found.length) > 1e-6) == (sw > 1)
    if sw > 1:
        assert float(found.correlation) == pytest.approx(0, abs=1e-9)
    if sw < 1:
        assert float(found.chi) == pytest.approx(sw**2, rel=1e-6)
        assert np.isnan(found.correlation), "as of linear units, every correlation is kept"


def test_the_fixed_points_of_the_error_function_by_iterating_its_closed_forms():
    sw, sb, q, c = 2.0, 0.3, 1.0, 0.2
    kernel = lambda q, c: 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))  # noqa: E731
    for _ in range(2000):
        q = sw**2 * kernel(q, 1) + sb**2
        c = (sw**2 * kernel(q, c) + sb**2) / q
    found = field(erf, sw, sb)
    assert float(found.length) == pytest.approx(q, rel=1e-9)
    assert float(found.correlation) == pytest.approx(c, rel=1e-7)
    slope = lambda c: 4 / np.pi * sw**2 / np.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2)  # noqa: E731
    assert float(found.chi) == pytest.approx(slope(1), rel=1e-9)
    assert float(found.correlation_scale) == pytest.approx(-1 / np.log(slope(c)), rel=1e-6)
    lengths = 4 / np.pi * sw**2 / ((1 + 2 * q) * np.sqrt(1 + 4 * q))
    assert float(found.length_scale) == pytest.approx(-1 / np.log(lengths), rel=1e-6)
    assert found.phase() == "chaotic"


def test_selu_has_its_fixed_point_at_one():
    """Klambauer et al. 2017: weights of variance 1/n keep mean 0 and variance 1."""
    assert float(field(jax.nn.selu, 1.0).length) == pytest.approx(1, rel=1e-8)


def test_a_grid_of_networks_under_vmap():
    sigmas = jnp.array([0.8, 1.2, 1.7])
    grid = jax.vmap(lambda sw: mean_field(jnp.tanh, sigma_w=sw, sigma_b=0.1))(sigmas)
    for i in range(3):
        one = mean_field(jnp.tanh, sigma_w=float(sigmas[i]), sigma_b=0.1)
        for ours, theirs in zip(jax.tree.leaves(grid[i]), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    with pytest.raises(
        ValueError, match=r"field: expected one measurement, arrays of shape \(\); got shape \(3,\)\. Pick one"
    ):
        grid.verdict()
    slope = jax.grad(lambda q: length_map(jax.nn.relu, q, sigma_w=1.0))(2.0)
    assert float(slope) == pytest.approx(0.5, rel=1e-5)


def test_curves_start_with_the_inputs_and_follow_the_maps():
    curves = depth_curves(jax.nn.relu, 4, length=2.0, correlation=0.3, sigma_w=1.1, sigma_b=0.2)
    q, c = 1.1**2 * 2 + 0.04, (1.1**2 * 0.3 * 2 + 0.04) / (1.1**2 * 2 + 0.04)
    for layer in range(4):
        np.testing.assert_allclose([curves.length[layer], curves.correlation[layer]], [q, c], rtol=1e-5)
        following = 1.1**2 * q / 2 + 0.04
        q, c = following, (1.1**2 * q / 2 * kappa_1(c) + 0.04) / following


@pytest.mark.parametrize(("activation", "sw", "sb"), [(jnp.tanh, 1.6, 0.3), (jax.nn.relu, 1.4, 0.1)])
def test_wide_networks_follow_the_theory(activation, sw, sb):
    """q and c of 10 draws of width 200: means within the 99.9 % t-interval, jointly over 8 numbers, and O(1/width).

    False alarms: under 0.1 % of runs; the draws are fixed.
    """
    width, depth, draws = 200, 4, 10
    init = dict(kernel_init=initializers.normal(sw / np.sqrt(width)), bias_init=initializers.normal(sb))
    model = models.MLP((width,) * depth, activation=activation, **init)
    x = jax.random.normal(jax.random.key(99), (2, width))
    x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True))
    objective = training.supervised(model, squared_error)
    y = jnp.zeros((2, width))

    def look(key):
        found = signal_propagation(objective, model.init(key, x)["params"], (x, y))
        return found.length, found.correlation

    lengths, correlations = jax.lax.map(look, jax.random.split(jax.random.key(0), draws))
    spread = stats.t.ppf(1 - 0.001 / 2 / (2 * depth), draws - 1) / np.sqrt(draws)

    def fits(factor):
        correlation = float(x[0] @ x[1] / width)
        theory = depth_curves(activation, depth, length=1.0, correlation=correlation, sigma_w=factor * sw, sigma_b=sb)
        inside = []
        for measured, expected in ((lengths, theory.length), (correlations, theory.correlation)):
            measured = np.asarray(measured, np.float64)
            margin = spread * measured.std(0, ddof=1) + 5 / width
            inside.append(np.all(np.abs(measured.mean(0) - expected) < margin))
        return inside

    assert fits(1.0) == [True, True]
    assert not fits(1.15)[0], "the interval must be able to tell something"
    assert not fits(0.85)[0]


def made(q, c, chi, xi_q=2.0, xi_c=3.0):
    return MeanField(*(np.asarray(float(v)) for v in (q, c, chi, xi_q, xi_c)))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (made(0.5, 1, 0.49), "ordered: chi_1 = 0.49, lengths run to q* = 0.5; examples become alike within some 3 "
         "layers, and gradients vanish by x0.7 a layer"),
        (made(0.5, 0.1, 1.21), "chaotic: chi_1 = 1.21, lengths run to q* = 0.5; examples run to correlation 0.1 within "
         "some 3 layers, and gradients explode by x1.1 a layer"),
        (made(0.5, 6.8e-8, 1.21), "chaotic: chi_1 = 1.21, lengths run to q* = 0.5; examples run to correlation 0 wi"),
        (made(0.5, 1, 1.0005, xi_c=np.inf), "critical: chi_1 = 1, lengths run to q* = 0.5; gradients pass through any"),
        (made(0, np.nan, 0.81), "ordered: chi_1 = 0.81, lengths die out; gradients vanish by x0.9 a layer"),
        (made(np.inf, 1, 1.21), "unbounded: chi_1 = 1.21, lengths grow without bound; gradients explode by x1.1 a la"),
    ],
)  # fmt: skip
def test_verdict(field, words):
    assert field.verdict().startswith(words)


def test_thresholds_table_and_picture(tmp_path):
    assert made(1, 1, 0.95).phase() == "ordered"
    assert made(1, 1, 0.95).phase(Thresholds(critical=0.1)) == "critical"
    assert [line.split() for line in made(0.5, 1, 0.49).table().splitlines()] == [
        ["q*", "0.5"], ["c*", "1"], ["chi_1", "0.49"], ["xi_q", "2"], ["xi_c", "3"],
    ]  # fmt: skip
    figure = made(0.5, 1, 0.49).plot(tmp_path / "field.png")
    assert (tmp_path / "field.png").stat().st_size > 1000
    gradient, lengths, _ = figure.axes[0].lines
    np.testing.assert_allclose(gradient.get_ydata()[1], 0.7)
    np.testing.assert_allclose(lengths.get_ydata()[2], np.exp(-1))


def test_errors():
    with pytest.raises(ValueError, match=r"sigma_w: expected one finite number >= 0; got -1.* a standard deviation"):
        mean_field(jnp.tanh, sigma_w=-1.0)
    with pytest.raises(ValueError, match=r"sigma_b: expected one finite number >= 0; got nan"):
        mean_field(jnp.tanh, sigma_w=1.0, sigma_b=float("nan"))
    with pytest.raises(ValueError, match=r"start: expected one finite number > 0; got 0.* a mean square"):
        mean_field(jnp.tanh, sigma_w=1.0, start=0.0)
    with pytest.raises(ValueError, match=r"depth: expected a whole number >= 1; got 0\. It is the number of layers"):
        depth_curves(jnp.tanh, 0, length=1.0, correlation=0.0, sigma_w=1.0)
