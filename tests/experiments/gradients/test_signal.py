"""The networks against NumPy, the curves against closed forms, and rules that can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.gradients import signal
from experiments.gradients import signal_networks as networks
from experiments.harness import rules
from jaxdl import diagnostics


def test_what_is_measured_is_what_numpy_gives_with_the_same_draws():
    width, depth = 9, 3
    x = networks.alike_inputs(4, 5, 0.3)
    found = networks.measure(jnp.tanh, [(1.0, 0.0), (1.7, 0.4)], x, width=width, depth=depth, seeds=1)
    assert found.log_square.shape == (1, 2, depth)
    with double_precision():
        draws = jax.tree.map(np.asarray, networks._draws(jax.random.key(0), 5, width, depth))
    kernels = [draws.first / np.sqrt(5), *(draws.kernels / np.sqrt(width))]
    a, z = x, []
    for kernel, bias in zip(kernels, draws.biases, strict=True):
        z.append(1.7 * a @ kernel + 0.4 * bias[None])
        a = np.tanh(z[-1])
    np.testing.assert_allclose(found.log_square[0, 1], [np.log(np.square(v).mean()) for v in z], rtol=1e-9)
    np.testing.assert_allclose(found.correlation[0, 1], [networks.mean_cosine(v) for v in z], rtol=1e-9)
    error = draws.readout.T * (1 - np.tanh(z[-1]) ** 2)
    for layer in (2, 1, 0):
        norm = np.log(np.square(error).sum(1).mean())
        np.testing.assert_allclose(
            [found.log_error[0, 1, layer], found.log_variance[0, 1, layer]], [norm, np.log(error.var())]
        )
        assert found.saturation[0, 1, layer] == pytest.approx(np.mean(1 - np.tanh(z[layer]) ** 2 < 0.05))
        if layer:
            error = error @ (1.7 * kernels[layer]).T * (1 - np.tanh(z[layer - 1]) ** 2)


def test_the_curves_of_relu_are_powers():
    curves = networks.expected(jax.nn.relu, 1.2, 0.0, depth=5, length=2.0, correlation=0.5)
    layers = np.arange(5)
    np.testing.assert_allclose(curves.log_square, np.log(1.44 * 2) + layers * np.log(0.72), rtol=1e-9)
    np.testing.assert_allclose(curves.log_error, (4 - layers) * np.log(0.72), rtol=1e-9, atol=1e-12)
    assert signal.growth(curves.log_error) == pytest.approx(-np.log(0.72))


def test_the_critical_line_is_where_chi_is_one():
    sigma_w, sigma_b = networks.critical_line(jnp.tanh, [1e-8, 0.3, 2.0])
    np.testing.assert_allclose([sigma_w[0], sigma_b[0]], [1, 0], atol=1e-4)
    with double_precision():
        for i, length in ((1, 0.3), (2, 2.0)):
            found = diagnostics.mean_field(jnp.tanh, sigma_w=float(sigma_w[i]), sigma_b=float(sigma_b[i]))
            np.testing.assert_allclose([found.chi, found.length], [1, length], rtol=1e-6)


def test_crossing():
    sigma_w = np.array([1.0, 2.0, 4.0])
    assert signal.crossing(sigma_w, np.array([-1.0, 1.0, 2.0])) == 1.5
    assert signal.crossing(sigma_w, np.array([-2.0, -1.0, 3.0])) == 2.5
    assert signal.crossing(sigma_w, np.array([-2.0, -1.0, -3.0])) == 4.0


def test_inputs_have_the_cosine_asked_for():
    """The mean of 28 cosines of 4000 numbers: standard error below 0.01 (a false alarm is a matter of 5 of them)."""
    x = networks.alike_inputs(8, 4000, 0.6)
    np.testing.assert_allclose(np.square(x).mean(1), 1)
    assert networks.mean_cosine(x) == pytest.approx(0.6, abs=0.05)


def test_wrong_deviations_fail_the_rule_and_right_ones_pass():
    x = networks.alike_inputs(4, 64, 0.6)
    found = networks.measure(jnp.tanh, [(1.3, 0.2)], x, width=64, depth=4, seeds=6)
    for scale, verdict in ((1.0, "PASS"), (1.4, "FAIL")):
        curves = networks.expected(jnp.tanh, scale * 1.3, 0.2, depth=4, length=1.0, correlation=networks.mean_cosine(x))
        rows, theory = signal.growth(found.log_error), signal.growth(curves.log_error)
        assert rules.matches(rows, np.array([theory]), ["error"], tolerance=4 / 64).verdict == verdict


def test_images_are_pixels():
    x = networks.images(jaxdl.data.load("digits"), 5)
    assert x.shape == (5, 64)
    assert (x.min(), x.max()) == (0, 1)
