"""optax's gradient noise as it is handed on: its variance, and a stream of its own for every member of a sweep."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxdl.optimizers import add_noise


def test_the_variance_of_gradient_noise_falls():
    """Z-26: Gaussian of variance eta / t^gamma, t from 1, independent between updates and leaves.

    The sum of n squares over the variance is chi-square with n degrees of freedom: an interval that it leaves once in a
    million runs, of which there are eight; a correlation of n pairs of independent draws is within 6 / sqrt(n) but for
    2e-9.
    """
    n, eta, gamma = 20_000, 0.3, 0.55
    tx = add_noise(eta, gamma, jax.random.key(0))
    grads = {"kernel": jnp.full((n // 100, 100), 2.0), "bias": jnp.full(n, -1.0)}
    state, draws = tx.init(grads), []
    for t in range(1, 5):
        noisy, state = tx.update(grads, state)
        noise = jax.tree.map(lambda left, right: np.asarray(left - right, np.float64).ravel(), noisy, grads)
        for leaf in (noise["kernel"], noise["bias"]):
            low, high = stats.chi2.interval(1 - 1e-6, n)
            assert low < np.sum(leaf**2) / (eta / t**gamma) < high
            draws.append(leaf)
    correlations = np.corrcoef(draws)[~np.eye(8, dtype=bool)]
    assert np.abs(correlations).max() < 6 / np.sqrt(n)
    assert stats.kstest(draws[0] / np.sqrt(eta), "norm").pvalue > 1e-6


def test_noise_keeps_bfloat16_and_none_of_it_changes_nothing():
    grads = {"kernel": jnp.ones((3, 2), jnp.bfloat16)}
    noisy, _ = add_noise(0.01, 0.55, 0).update(grads, add_noise(0.01, 0.55, 0).init(grads))
    assert noisy["kernel"].dtype == jnp.bfloat16
    assert np.any(noisy["kernel"] != grads["kernel"])
    same, _ = add_noise(0.0, 0.55, 0).update(grads, add_noise(0.0, 0.55, 0).init(grads))
    np.testing.assert_array_equal(same["kernel"], grads["kernel"])


def test_the_key_is_that_of_the_state_so_that_members_can_have_their_own():
    """The update of one transformation draws from the key of another's state."""
    tx, grads = add_noise(1.0, 0.55, 0), jnp.zeros(5)
    states = [add_noise(1.0, 0.55, jax.random.key(i)).init(grads) for i in (1, 2)]
    (first, _), (second, _) = (tx.update(grads, state) for state in states)
    assert np.all(first != second)
    again, _ = add_noise(1.0, 0.55, jax.random.key(1)).update(grads, states[0])
    np.testing.assert_array_equal(first, again)
