"""Densities against the broadened dense spectrum and its moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdl.diagnostics import Thresholds, spectral_density

from .networks import dense_hessian, every_network
from .test_spectrum import ONE, quadratic, with_eigenvalues

NETWORKS = every_network()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_integrates_to_one_and_its_moments_are_those_of_the_spectrum(name):
    """Moments within 3 standard errors over the probes: 0.3 % false alarms each, with fixed keys none."""
    network = NETWORKS[name]
    found = spectral_density(network.losses, network.params, network.data, num_probes=40)
    grid, density = np.asarray(found.grid, np.float64), np.asarray(found.density, np.float64)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, rtol=1e-4)
    np.testing.assert_allclose(found.weights.sum(-1), 1, rtol=1e-4)
    eigenvalues = np.linalg.eigvalsh(dense_hessian(name))
    for order in (1, 2, 3, 4):
        moment, error = map(float, found.moment(order))
        assert abs(moment - np.mean(eigenvalues**order)) <= 3 * error + 1e-6
    mean, square = (np.trapezoid(density * grid**order, grid) for order in (1, 2))
    np.testing.assert_allclose(mean, found.moment(1)[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(square, float(found.moment(2)[0]) + float(found.deviation) ** 2, rtol=1e-3)


def test_of_each_probe_the_moments_are_exact():
    """v^T H^p v / n up to order 2k - 1, v the probe: for a Hessian c I every probe gives c^p."""
    found = spectral_density(quadratic(2.0 * np.eye(5)), jnp.zeros(5), ONE, num_probes=3)
    for order in (1, 2, 5):
        moment, error = found.moment(order)
        np.testing.assert_allclose([moment, error], [2.0**order, 0], atol=1e-4)
    np.testing.assert_allclose(found.deviation, 0.02, rtol=1e-5)
    np.testing.assert_allclose(np.trapezoid(found.density, found.grid), 1, rtol=1e-4)


def test_of_few_distinct_eigenvalues_the_density_is_the_broadened_spectrum():
    """A diagonal Hessian: every entry of a probe is a sign, so each eigenvalue has its exact weight in every probe."""
    found = spectral_density(quadratic(np.diag([-1.0, 0.0, 0.0, 4.0])), jnp.zeros(4), ONE, num_probes=2)
    sigma = float(found.deviation)
    assert sigma == pytest.approx(0.05)
    expected = sum(stats.norm.pdf(found.grid, value, sigma) for value in (-1, 0, 0, 4)) / 4
    np.testing.assert_allclose(found.density, expected, atol=1e-3 * expected.max())
    np.testing.assert_allclose(found.share_between(-np.inf, -0.5), [0.25, 0], atol=1e-5)
    np.testing.assert_allclose(found.share_between(-0.5, 0.5), [0.5, 0], atol=1e-5)


def test_broadening_and_grid():
    options = dict(num_probes=2, num_points=500)
    found = spectral_density(quadratic(np.diag([0.0, 10.0])), jnp.zeros(2), ONE, broadening=0.1, **options)
    assert float(found.deviation) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose([found.grid[0], found.grid[-1]], [-6, 16], rtol=1e-4)
    assert found.grid.shape == (500,)


def test_no_curvature_and_none_that_is_finite():
    flat = spectral_density(quadratic(np.zeros((3, 3))), jnp.ones(3), ONE)
    np.testing.assert_allclose(np.trapezoid(flat.density, flat.grid), 1, rtol=1e-4)
    np.testing.assert_array_equal(flat.nodes, 0)
    assert "0 % negative, 100 % flat, 0 % positive" in flat.verdict()
    bad = spectral_density(quadratic(np.diag([1.0, np.nan])), jnp.ones(2), ONE)
    assert np.isnan(bad.density).all()
    assert bad.verdict() == "spectrum is not finite: the Hessian holds NaN or infinity"
    bad.plot()


def test_what_a_subspace_cannot_tell_from_zero_is_flat():
    """300 eigenvalues, 270 of them within 1e-3 of 0 on either side: few vectors would give them any sign."""
    small = np.linspace(-1e-3, 1e-3, 270)
    losses = quadratic(np.diag(np.concatenate([small, np.linspace(0.5, 1, 30)])))
    found = spectral_density(losses, jnp.zeros(300), ONE, num_probes=20, num_lanczos=20)
    shares = {line.split()[0]: float(line.split()[1]) for line in found.table().splitlines()[1:4]}
    assert shares["negative"] == 0
    assert abs(shares["flat"] - 0.9) < 0.01
    assert "flat: within 0.05" in found.verdict()


def test_one_parameter():
    found = spectral_density(quadratic(np.full((1, 1), -3.0)), jnp.ones(1), ONE, num_probes=1)
    np.testing.assert_allclose(found.nodes, -3, rtol=1e-6)
    assert np.isnan(found.moment(1)[1])


def test_reports(tmp_path):
    found = spectral_density(quadratic(with_eigenvalues([-1.0, 0.0, 0.0, 4.0])), jnp.zeros(4), ONE, num_probes=4)
    assert found.verdict().startswith("4 eigenvalues from -1 to 4: ")
    assert [line.split()[0] for line in found.table().splitlines()] == [
        "quantity", "negative", "flat", "positive", "mean", "mean",
    ]  # fmt: skip
    wide = found.table(Thresholds(flat_curvature=1.0)).splitlines()
    assert wide[1].split()[1] == "0"
    found.plot(tmp_path / "density.png")
    assert (tmp_path / "density.png").stat().st_size > 1000
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), found)
    with pytest.raises(ValueError, match="density: expected one measurement, arrays of shape"):
        stacked.plot()
    assert stacked[1].verdict() == found.verdict()


def test_errors():
    losses, w = quadratic(np.eye(2)), jnp.ones(2)
    for name, message in {"num_probes": "whole number >= 1", "num_lanczos": "whole number >= 1"}.items():
        with pytest.raises(ValueError, match=f"{name}: expected a {message}; got 0"):
            spectral_density(losses, w, ONE, **{name: 0})
    with pytest.raises(ValueError, match="broadening: expected one finite number > 0; got 0"):
        spectral_density(losses, w, ONE, broadening=0)
    with pytest.raises(ValueError, match=r"num_points: expected a whole number >= 113; got 112\. With broadening=0.01"):
        spectral_density(losses, w, ONE, num_points=112)
