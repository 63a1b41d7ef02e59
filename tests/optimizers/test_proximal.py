"""Soft thresholding: the lasso in closed form, its optimality conditions, and exact zeros (S20)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.optimizers import proximal_l1
from jaxdl.regularizers import l1

DRAWS = np.random.RandomState(0)
SPARSE = np.array([[3.0], [-2.0], [0.0], [0.0], [0.0], [0.4], [0.0], [-0.1]])


def least_squares(design, answers):
    """The objective 1/(2 n) |X w - t|^2 on full batches."""

    def objective(params, batch, *, model_state, key, train):
        x, t = batch
        return jnp.square(x @ params["kernel"] - t).sum(-1) / 2, training.Aux(model_state, {})

    return objective, (jnp.asarray(design, jnp.float32), jnp.asarray(answers, jnp.float32))


def train(design, answers, tx, steps, regularizer=None):
    objective, data = least_squares(design, answers)
    step = training.make_train_step(objective, tx, regularizer=regularizer)
    params = {"kernel": jnp.zeros((design.shape[1], 1)), "bias": jnp.full(1, 1e-4)}
    state = training.make_state(params, tx, key=jax.random.key(0))
    state = jax.jit(lambda state: jax.lax.scan(lambda state, _: step(state, data), state, length=steps)[0])(state)
    np.testing.assert_array_equal(state.params["bias"], np.float32(1e-4))
    return np.asarray(state.params["kernel"], np.float64)


@pytest.fixture(scope="module")
def orthogonal_design():
    x = np.linalg.qr(DRAWS.randn(40, 8))[0] * np.sqrt(40)  # X^T X = n I
    return x, x @ SPARSE + 0.1 * DRAWS.randn(40, 1)


def test_the_lasso_with_an_orthogonal_design_is_the_thresholded_least_squares_fit(orthogonal_design):
    x, t = orthogonal_design
    fit = x.T @ t / 40
    expected = np.sign(fit) * np.maximum(np.abs(fit) - 0.2, 0)
    found = train(x, t, optax.chain(optax.sgd(0.3), proximal_l1(0.2, learning_rate=0.3)), steps=100)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert 0 < np.sum(found == 0) < 8


def test_the_lasso_with_a_general_design_meets_its_optimality_conditions():
    """-gradient = strength * sign(w) where w is not 0, and at most the strength in size where it is."""
    x = DRAWS.randn(50, 8) @ (np.eye(8) + 0.4 * DRAWS.randn(8, 8))
    t, strength = x @ SPARSE + 0.1 * DRAWS.randn(50, 1), 0.3
    rate = float(1 / np.linalg.eigvalsh(x.T @ x / 50)[-1])
    w = train(x, t, optax.chain(optax.sgd(rate), proximal_l1(strength, learning_rate=rate)), steps=5000)
    downhill = x.T @ (t - x @ w) / 50
    zero = w == 0
    assert 2 <= zero.sum() <= 6
    np.testing.assert_allclose(downhill[~zero], strength * np.sign(w[~zero]), atol=1e-4)
    assert np.all(np.abs(downhill[zero]) <= strength + 1e-4)


def test_subgradient_steps_give_small_weights_but_no_zero_where_the_proximal_step_does(orthogonal_design):
    x, t = orthogonal_design
    proximal = train(x, t, optax.chain(optax.sgd(0.1), proximal_l1(0.2, learning_rate=0.1)), steps=500)
    subgradient = train(x, t, optax.sgd(0.1), steps=500, regularizer=l1(0.2))
    zero = proximal == 0
    assert zero.sum() >= 4
    assert not np.any(subgradient == 0)
    assert 1e-4 < np.abs(subgradient[zero]).max() <= 0.1 * 0.2 * 1.01, "small: within one step eta * strength of 0"
    np.testing.assert_allclose(subgradient[~zero], proximal[~zero], atol=1e-4)


def test_behind_momentum_the_learning_rate_is_that_of_the_steps_summed(orthogonal_design):
    x, t = orthogonal_design
    fit = x.T @ t / 40
    expected = np.sign(fit) * np.maximum(np.abs(fit) - 0.2, 0)
    front = optax.sgd(0.01, momentum=0.9)
    found = train(x, t, optax.chain(front, proximal_l1(0.2, learning_rate=0.01 / (1 - 0.9))), steps=500)
    np.testing.assert_array_equal(found == 0, expected == 0)
    alone = train(x, t, optax.chain(front, proximal_l1(0.2, learning_rate=0.01)), steps=500)
    assert np.sum(alone == 0) < np.sum(expected == 0)


@pytest.mark.parametrize("front", [optax.adam(0.5), optax.rmsprop(0.1), optax.sgd(1.0, momentum=0.9)])
def test_behind_any_optimizer_it_is_the_soft_threshold_of_its_step(front):
    params = {"kernel": jnp.asarray(DRAWS.randn(30, 20), jnp.float32)}
    grads = {"kernel": jnp.asarray(DRAWS.randn(30, 20), jnp.float32)}
    free = optax.apply_updates(params, front.update(grads, front.init(params), params)[0])["kernel"]
    chain = optax.chain(front, proximal_l1(2.0, learning_rate=0.25))
    new = optax.apply_updates(params, chain.update(grads, chain.init(params), params)[0])["kernel"]
    np.testing.assert_allclose(new, np.sign(free) * np.maximum(np.abs(free) - 0.5, 0), atol=1e-6)
    np.testing.assert_array_equal(new == 0, np.abs(free) <= 0.5)
    assert 20 < np.sum(new == 0) < 580


def test_one_step_is_the_soft_threshold_of_the_step():
    params = {"kernel": jnp.array([[1.0, -1.0, 0.02, -0.02]])}
    updates = {"kernel": jnp.array([[0.5, 0.5, 0.02, 0.08]])}
    tx = proximal_l1(0.5, learning_rate=0.1)
    new = optax.apply_updates(params, tx.update(updates, tx.init(params), params)[0])["kernel"]
    np.testing.assert_allclose(new, [[1.45, -0.45, 0.0, 0.01]], atol=1e-6, rtol=1e-6)
    assert float(new[0, 2]) == 0.0


def test_l1_towards_the_end_of_training_and_a_falling_learning_rate():
    """R05: thresholds eta_k * strength_k, from schedules of the number of updates done before."""
    strength = optax.join_schedules([optax.constant_schedule(0.0), optax.constant_schedule(2.0)], [3])
    rate = optax.exponential_decay(0.1, 1, 0.5)
    tx = optax.chain(optax.sgd(rate), proximal_l1(strength, learning_rate=rate))
    params, zeros = {"kernel": jnp.ones((1, 1))}, {"kernel": jnp.zeros((1, 1))}

    def update(carry, _):
        params, state = carry
        updates, state = tx.update(zeros, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["kernel"][0, 0]

    weights = jax.jit(lambda params: jax.lax.scan(update, (params, tx.init(params)), length=6)[1])(params)
    expected = 1 - np.cumsum([0, 0, 0, 2 * 0.1 / 8, 2 * 0.1 / 16, 2 * 0.1 / 32])
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_strengths_side_by_side_and_a_strength_of_zero():
    params, updates = {"kernel": jnp.ones((2, 2))}, {"kernel": -0.25 * jnp.ones((2, 2))}

    def after(strength):
        tx = proximal_l1(strength, learning_rate=0.5)
        return optax.apply_updates(params, tx.update(updates, tx.init(params), params)[0])["kernel"][0, 0]

    np.testing.assert_allclose(jax.vmap(after)(jnp.array([0.0, 1.0, 9.0])), [0.75, 0.25, 0.0])


def test_bfloat16_and_nan():
    params = {"kernel": jnp.array([[1.0, 0.01, np.nan]], jnp.bfloat16)}
    tx = proximal_l1(0.5, learning_rate=0.1)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    new = optax.apply_updates(params, updates)["kernel"]
    assert new.dtype == updates["kernel"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(new).astype(np.float64), [[0.95, 0.0, np.nan]], rtol=2**-8)


def test_a_warm_up_begins_with_no_threshold_whether_it_is_a_schedule_or_a_number():
    params = {"kernel": jnp.array([[1.0, -1e-3]])}
    updates = {"kernel": jnp.array([[0.1, 1e-3]])}
    for rate in (0.0, optax.linear_schedule(0.0, 0.1, 10)):
        tx = proximal_l1(0.5, learning_rate=rate)
        new, state = tx.update(updates, tx.init(params), params)
        np.testing.assert_array_equal(new["kernel"], updates["kernel"])
        second, _ = tx.update(updates, state, params)
        moved = np.float32(0.0 if rate == 0.0 else 0.5 * 0.01)
        np.testing.assert_allclose(second["kernel"][0, 0], 0.1 - moved, rtol=1e-5)


def test_arguments_that_make_no_threshold():
    with pytest.raises(ValueError, match=r"strength: expected one finite number >= 0; got -1\.0"):
        proximal_l1(-1.0, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate: expected one finite number >= 0; got -1\.0\. Pass that of"):
        proximal_l1(0.1, learning_rate=-1.0)
    params = {"kernel": jnp.ones((2, 2))}
    tx = proximal_l1(0.1, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"params: expected the parameters.*got None"):
        tx.update(params, tx.init(params))
    with pytest.raises(ValueError, match="matches no leaf"):
        tx.init({"bias": jnp.ones(2)})
