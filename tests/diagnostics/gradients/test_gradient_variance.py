import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import gradient_statistics, gradient_variance
from tests.reference import example_gradients as reference


@pytest.mark.parametrize("size", [None, 1, 2, 4, 10, 11])
def test_against_the_gradients_written_out(small_net, size):
    losses, params, batch = small_net
    found = gradient_variance(losses, params, batch, microbatch_size=size)
    grads = reference.gradients(params, batch)
    jax.tree.map(lambda ours, g: np.testing.assert_allclose(ours, g.var(0, ddof=1), rtol=1e-4), found, grads)
    totals = gradient_statistics(losses, params, batch).variance
    np.testing.assert_allclose([found["hidden"]["w"].sum(), found["out"]["v"].sum()], totals, rtol=1e-4)


@pytest.mark.parametrize("size", [None, 1, 3])
def test_a_large_mean_costs_no_digits(size):
    """E[g^2] - E[g]^2 in float32 would be off by a hundred here."""
    x = (30000 + np.arange(8, dtype=np.float32))[:, None]
    found = gradient_variance(lambda w, x: x @ w, jnp.ones(1), x, microbatch_size=size)
    np.testing.assert_allclose(found, x.astype(np.float64).var(0, ddof=1), rtol=1e-3)


def test_equal_gradients_half_precision_and_vmap(small_net):
    x = np.full((5, 2), 0.1, np.float32)
    assert np.all(np.asarray(gradient_variance(lambda w, x: x @ w, jnp.ones(2), x, microbatch_size=2)) <= 1e-15)
    losses, params, batch = small_net
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    assert gradient_variance(losses, half, batch)["out"]["v"].dtype == jnp.float32
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    many = jax.vmap(lambda p: gradient_variance(losses, p, batch, microbatch_size=4))(stacked)
    np.testing.assert_allclose(many["out"]["v"][0], gradient_variance(losses, params, batch)["out"]["v"], rtol=1e-4)


def test_a_nan_is_seen(small_net):
    losses, params, (x, y) = small_net
    y[9] = np.nan
    assert np.isnan(gradient_variance(losses, params, (x, y), microbatch_size=4)["out"]["v"]).all()


def test_errors(small_net):
    losses, params, (x, y) = small_net
    with pytest.raises(ValueError, match=r"batch: expected 2 or more examples to vary; got 1\."):
        gradient_variance(losses, params, (x[:1], y[:1]))
    with pytest.raises(ValueError, match=r"microbatch_size: expected a whole number >= 1; got -1"):
        gradient_variance(losses, params, (x, y), microbatch_size=-1)
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum"):
        gradient_variance(lambda p, b: losses(p, b) - jnp.mean(losses(p, b)), params, (x, y))
