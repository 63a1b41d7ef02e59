"""Traces against dense ones. False alarms of the 3-sigma intervals: 0.3 % each, with fixed keys none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import TraceEstimate, hessian_trace

from .networks import dense_hessian, every_network
from .test_spectrum import ONE, quadratic

NETWORKS = every_network()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_trace_lies_within_three_standard_errors(name):
    network = NETWORKS[name]
    found = hessian_trace(network.losses, network.params, network.data, num_probes=200, batch_size=8)
    hessian = dense_hessian(name)
    assert abs(float(found.trace) - np.trace(hessian)) <= 3 * float(found.standard_error)
    variance = 2 * (np.sum(hessian**2) - np.sum(np.diag(hessian) ** 2))  # of one probe of independent signs
    # The samples' variance has a relative deviation of about sqrt(2/200) = 0.1, more for heavy tails: 5 of them.
    np.testing.assert_allclose(200 * float(found.standard_error) ** 2, variance, rtol=0.5)


def test_of_a_diagonal_hessian_every_probe_is_exact():
    found = hessian_trace(quadratic(np.diag([3.0, -1.0, 0.5])), jnp.zeros(3), ONE, num_probes=5)
    np.testing.assert_allclose(found.samples, 2.5, rtol=1e-6)
    assert float(found.standard_error) < 1e-6


def test_probes_are_independent_and_follow_the_key():
    losses = quadratic(np.ones((6, 6)))
    draws = [hessian_trace(losses, jnp.zeros(6), ONE, key=jax.random.key(i)).samples for i in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len(np.unique(draws[0])) > 2
    assert not np.array_equal(draws[0], draws[2])


def test_reports(tmp_path):
    found = TraceEstimate(jnp.array([1.0, 2.0, 3.0]), num_parameters=4)
    assert found.table().splitlines()[1].split() == ["2", "0.5774", "0.5", "3"]
    assert found.verdict() == "trace 2 +- 0.58 (standard error of 3 probes): the eigenvalues are 0.5 on average"
    unsure = TraceEstimate(jnp.array([-1.0, 2.0, 1.0]), num_parameters=4)
    assert unsure.verdict().endswith("not told apart from 0, take more probes")
    assert TraceEstimate(jnp.array([jnp.nan, 1.0]), num_parameters=4).verdict() == (
        "trace is not finite: the Hessian holds NaN or infinity"
    )
    found.plot(tmp_path / "trace.png")
    assert (tmp_path / "trace.png").stat().st_size > 1000
    stacked = TraceEstimate(jnp.ones((2, 3)), num_parameters=4)
    with pytest.raises(ValueError, match="estimate: expected one measurement, arrays of shape"):
        stacked.verdict()
    assert "trace 1" in stacked[0].verdict()
    alone = TraceEstimate(jnp.ones(1), num_parameters=4)
    assert np.isnan(alone.standard_error)
    assert "+- nan" in alone.verdict()


def test_errors():
    with pytest.raises(ValueError, match="num_probes: expected a whole number >= 1; got 0"):
        hessian_trace(quadratic(np.eye(2)), jnp.ones(2), ONE, num_probes=0)
