"""Constraints beside and inside what optax wraps around transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.optimizers import max_norm, non_negative, project, proximal_l1, unit_norm

DRAWS = np.random.RandomState(0)
PARAMS = {"kernel": jnp.asarray(DRAWS.randn(7, 5), jnp.float32), "bias": jnp.full(5, 9.0)}


def trajectory(tx, params, steps):
    """The kernels after each of some updates with random gradients."""
    kernels, state, update = [], tx.init(params), jax.jit(tx.update)
    for _ in range(steps):
        grads = jax.tree.map(lambda leaf: jnp.asarray(DRAWS.randn(*leaf.shape), leaf.dtype), params)
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        kernels.append(np.asarray(params["kernel"], np.float64))
    return np.array(kernels)


def norms(kernels):
    return np.sqrt(np.square(kernels).sum(-2))


def test_hyper_parameters_injected_in_front_and_as_the_bound():
    """The bound 1.5 / (1 + n / 10) falls with the number n of updates before, and the norms with it."""
    front = optax.inject_hyperparams(optax.adam)(learning_rate=optax.linear_schedule(0.5, 0.1, 20))
    injected = optax.inject_hyperparams(max_norm, static_args=("axis", "where"))
    lengths = norms(trajectory(optax.chain(front, injected(max_value=lambda n: 1.5 / (1 + n / 10))), PARAMS, 20))
    bounds = 1.5 / (1 + np.arange(20)[:, None] / 10)
    assert np.all(lengths <= bounds * (1 + 1e-6))
    assert np.all(lengths.max(1) > bounds[:, 0] * (1 - 1e-6))


def test_an_injected_strength_of_the_proximal_step():
    injected = optax.inject_hyperparams(proximal_l1, static_args="where")(strength=2.0, learning_rate=0.25)
    ours, theirs = (
        optax.apply_updates(PARAMS, tx.update(jax.tree.map(jnp.zeros_like, PARAMS), tx.init(PARAMS), PARAMS)[0])
        for tx in (injected, proximal_l1(2.0, learning_rate=0.25))
    )
    np.testing.assert_allclose(ours["kernel"], theirs["kernel"], rtol=1e-6)
    kernel = np.asarray(PARAMS["kernel"])
    np.testing.assert_allclose(ours["kernel"], np.sign(kernel) * np.maximum(np.abs(kernel) - 0.5, 0), atol=1e-6)


@pytest.mark.parametrize("tx", [max_norm(1.5), unit_norm(), non_negative()], ids=["max_norm", "unit_norm", "positive"])
def test_updates_that_are_not_finite_are_skipped_and_the_constraint_holds(tx):
    params = project(PARAMS, tx)
    skipping = optax.apply_if_finite(optax.chain(optax.adam(0.1), tx), max_consecutive_errors=5)
    state, update = skipping.init(params), jax.jit(skipping.update)
    for gradient in (1.0, np.nan, -1.0, np.inf):
        grads = jax.tree.map(lambda leaf, value=gradient: jnp.full_like(leaf, value), params)
        updates, state = update(grads, state, params)
        new = optax.apply_updates(params, updates)
        assert np.array_equal(new["bias"], params["bias"]) == (not np.isfinite(gradient))
        again = project(new, tx)
        np.testing.assert_allclose(again["kernel"], new["kernel"], rtol=1e-6)
        params = new


@pytest.mark.parametrize("tx", [max_norm(1.5), unit_norm()], ids=["max_norm", "unit_norm"])
def test_accumulated_gradients_in_front_and_around(tx):
    """Every step obeys, those that only accumulate too."""
    for chain in (
        optax.chain(optax.MultiSteps(optax.adam(0.1), 3).gradient_transformation(), tx),
        optax.MultiSteps(optax.chain(optax.adam(0.1), tx), 3).gradient_transformation(),
    ):
        kernels = trajectory(chain, project(PARAMS, tx), 7)
        assert norms(kernels).max() <= 1.5 * (1 + 1e-6)
        moved = np.abs(np.diff(kernels, axis=0)).max((1, 2)) > 1e-4
        assert moved.tolist() == [False, True, False, False, True, False]
