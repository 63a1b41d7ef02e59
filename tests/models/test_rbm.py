"""Energies, conditionals and Gibbs steps against sums over all states of a machine of 4 and 3 units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from tests.reference import boltzmann

DRAWS = np.random.RandomState(0)
W, B, C = DRAWS.randn(4, 3), DRAWS.randn(4), DRAWS.randn(3)
PARAMS = {
    "hidden": {"kernel": jnp.asarray(W, jnp.float32), "bias": jnp.asarray(C, jnp.float32)},
    "visible": {"bias": jnp.asarray(B, jnp.float32)},
}
V, H = boltzmann.states(4).astype(np.float32), boltzmann.states(3).astype(np.float32)
BINARY, GAUSSIAN = jaxdl.models.RBM(3), jaxdl.models.RBM(3, visible_units="gaussian")


def call(model, method, *args):
    return np.asarray(model.apply({"params": PARAMS}, *args, method=method))


def test_energy_term_by_term():
    expected = boltzmann.energies(V, H, W, B, C)
    for m, h in enumerate(H):
        ours = call(BINARY, "energy", V, np.tile(h, (16, 1)))
        np.testing.assert_allclose(ours, expected[:, m], rtol=1e-5, atol=1e-5)


def test_free_energy_is_minus_the_log_of_the_sum_over_hidden_states():
    expected = -np.log(np.exp(-boltzmann.energies(V, H, W, B, C)).sum(1))
    np.testing.assert_allclose(call(BINARY, "free_energy", V), expected, rtol=1e-5, atol=1e-5)


def test_free_energy_of_gaussian_units_is_that_of_a_mixture_of_gaussians():
    """p(v) is a mixture over h of N(b + W h, I), weighted by exp(c.h + b.(W h) + ||W h||^2 / 2)."""
    v = DRAWS.randn(6, 4).astype(np.float32)
    total = np.zeros(6)
    for h in H:
        shift = W @ h
        weight = np.exp(C @ h + B @ shift + shift @ shift / 2)
        total += weight * np.exp(-0.5 * ((v - B - shift) ** 2).sum(1))
    np.testing.assert_allclose(call(GAUSSIAN, "free_energy", v), -np.log(total), rtol=1e-4, atol=1e-4)


def test_conditionals_are_those_of_the_joint_distribution():
    joint = np.exp(boltzmann.log_joint(W, B, C))
    hidden = joint @ H / joint.sum(1)[:, None]
    visible = joint.T @ V / joint.sum(0)[:, None]
    np.testing.assert_allclose(call(BINARY, "encode", V), hidden, atol=1e-6)
    np.testing.assert_allclose(call(BINARY, "visible_means", H), visible, atol=1e-6)
    np.testing.assert_allclose(call(GAUSSIAN, "visible_means", H), B + H @ W.T, rtol=1e-5, atol=1e-5)


def test_a_call_is_one_reconstruction_by_means():
    logits = boltzmann.logistic(C + V @ W) @ W.T + B
    np.testing.assert_allclose(BINARY.apply({"params": PARAMS}, V.reshape(16, 2, 2)).reshape(16, 4), logits, atol=1e-5)


def test_gibbs_steps_visit_states_as_often_as_the_transition_matrix_says():
    """20,000 steps from each of two states; the chance of a false alarm is 32 times 6e-5 (4 deviations)."""
    expected = boltzmann.gibbs_matrix(W, B, C)
    for start in (0, 9):
        after = call(BINARY, "gibbs", jax.random.key(start), np.tile(V[start], (20_000, 1)))
        assert set(np.unique(after)) <= {0.0, 1.0}
        counts = np.bincount((after @ [8, 4, 2, 1]).astype(int), minlength=16)
        deviation = np.sqrt(20_000 * expected[start] * (1 - expected[start]))
        assert np.all(np.abs(counts - 20_000 * expected[start]) < 4 * deviation + 1)


def test_gibbs_steps_of_gaussian_units_have_the_moments_of_the_mixture():
    """20,000 samples: means within 4 standard errors, as are the variances; false alarm 8 times 6e-5."""
    v = np.tile(DRAWS.randn(4).astype(np.float32), (20_000, 1))
    p = boltzmann.logistic(C + v[0] @ W)
    mean, variance = B + W @ p, 1 + (W**2) @ (p * (1 - p))
    after = call(GAUSSIAN, "gibbs", jax.random.key(0), v)
    np.testing.assert_array_less(np.abs(after.mean(0) - mean), 4 * np.sqrt(variance / 20_000))
    error = np.sqrt((((after - after.mean(0)) ** 4).mean(0) - variance**2) / 20_000)
    np.testing.assert_array_less(np.abs(after.var(0) - variance), 4 * error)


def test_shapes_dtypes_and_chains():
    model = jaxdl.models.RBM(3, num_chains=5)
    variables = model.init(jax.random.key(0), np.ones((2, 2, 2, 1), np.float32))
    assert variables["chains"]["particles"].shape == (5, 4)
    assert set(np.unique(variables["chains"]["particles"])) == {0.0, 1.0}
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, PARAMS)
    half = jaxdl.models.RBM(3, dtype="bfloat16")
    assert half.apply({"params": PARAMS}, V, method="encode").dtype == jnp.bfloat16
    assert half.apply({"params": PARAMS}, V, method="free_energy").dtype == jnp.float32
    after = half.apply({"params": PARAMS}, jax.random.key(0), V.astype("bfloat16"), method="gibbs")
    assert (after.shape, after.dtype) == ((16, 4), jnp.bfloat16)
    labels = GAUSSIAN.apply({"params": PARAMS}, jax.random.key(0), V.astype(np.int32), method="gibbs")
    assert labels.dtype == jnp.float32
    gaussian = jaxdl.models.RBM(3, visible_units="gaussian", num_chains=50).init(jax.random.key(0), V)
    assert len(np.unique(gaussian["chains"]["particles"])) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_hidden": 0}, "num_hidden: expected a whole number >= 1; got 0"),
        ({"num_hidden": 3, "num_chains": -1}, "num_chains: expected a whole number >= 0; got -1"),
        ({"num_hidden": 3, "visible_units": "binary"}, "visible_units: expected one of 'bernoulli', 'gaussian'; got"),
    ],
)
def test_arguments_that_make_no_machine(arguments, message):
    with pytest.raises(ValueError, match=message):
        jaxdl.models.RBM(**arguments).init(jax.random.key(0), V)
