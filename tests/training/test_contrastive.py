"""Contrastive divergence against Hinton's update, and against the gradient of the exact log-likelihood."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.training import contrastive_divergence, evaluate, fit, init_state, make_train_step, run_many
from tests.reference import boltzmann

DRAWS = np.random.RandomState(1)
W, B, C = 0.7 * DRAWS.randn(4, 3), DRAWS.randn(4), DRAWS.randn(3)
PARAMS = {
    "hidden": {"kernel": jnp.asarray(W, jnp.float32), "bias": jnp.asarray(C, jnp.float32)},
    "visible": {"bias": jnp.asarray(B, jnp.float32)},
}
DATA = DRAWS.randint(0, 2, (6, 4)).astype(np.float32)
MODEL, KEY = jaxdl.models.RBM(3), jax.random.key(0)


def gradient(objective, data, *, key=KEY, model_state=None):
    def loss(params):
        losses, aux = objective(params, data, model_state=model_state or {}, key=key, train=True)
        return losses.mean(), aux

    grads, aux = jax.grad(loss, has_aux=True)(PARAMS)
    return (grads["hidden"]["kernel"], grads["visible"]["bias"], grads["hidden"]["bias"]), aux


def chain(v, num_steps, key=KEY):
    for step_key in jax.random.split(key, num_steps):
        v = MODEL.apply({"params": PARAMS}, step_key, v, method="gibbs")
    return np.asarray(v)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_gradient_is_hintons_update(num_steps):
    ours, _ = gradient(contrastive_divergence(MODEL, num_steps=num_steps), DATA)
    update = boltzmann.hinton_update(DATA, chain(DATA, num_steps), W, C)
    for grad, expected in zip(ours, update, strict=True):
        np.testing.assert_allclose(grad, -expected, rtol=1e-5, atol=1e-6)


@lru_cache
def likelihood_gradient():
    """Central differences of the mean log-likelihood, by enumeration."""
    found = []
    for which in range(3):
        start = [W.copy(), B.copy(), C.copy()]
        out = np.zeros_like(start[which])
        for index in np.ndindex(out.shape):
            for sign in (1, -1):
                moved = [a.copy() for a in start]
                moved[which][index] += sign * 1e-5
                out[index] += sign * boltzmann.log_likelihood(DATA, *moved) / 2e-5
        found.append(out)
    return found


def test_negative_samples_of_the_model_itself_give_the_gradient_of_the_log_likelihood():
    """What the update would be at k = infinity: the second phase over the exact distribution of v."""
    exact = np.exp(boltzmann.log_joint(W, B, C)).sum(1)

    def loss(params):
        free = lambda v: MODEL.apply({"params": params}, v, method="free_energy")  # noqa: E731
        return free(DATA).mean() - jnp.sum(jnp.asarray(exact, jnp.float32) * free(boltzmann.states(4)))

    grads = jax.grad(loss)(PARAMS)
    ours = grads["hidden"]["kernel"], grads["visible"]["bias"], grads["hidden"]["bias"]
    for grad, expected in zip(ours, likelihood_gradient(), strict=True):
        np.testing.assert_allclose(grad, -expected, rtol=1e-3, atol=1e-4)


def test_long_chains_approach_the_gradient_of_the_log_likelihood():
    """12,000 chains of 30 steps: entries are means of numbers in [0, 1], off by 5 * 0.5 / sqrt(n) with chance 2e-6."""
    many = np.tile(DATA, (2000, 1))
    ours, _ = gradient(contrastive_divergence(MODEL, num_steps=30), many)
    short, _ = gradient(contrastive_divergence(MODEL), many)
    for grad, expected in zip(ours, likelihood_gradient(), strict=True):
        np.testing.assert_allclose(grad, -expected, atol=5 * 0.5 / np.sqrt(12_000))
    distance = lambda grads: sum(np.sum((g + e) ** 2) for g, e in zip(grads, likelihood_gradient(), strict=True))  # noqa: E731
    assert distance(short) > 4 * distance(ours), "one step is biased"


def test_persistent_chains_go_on_and_are_the_second_phase():
    particles = DRAWS.randint(0, 2, (5, 4)).astype(np.float32)
    objective = contrastive_divergence(MODEL, num_steps=2, persistent=True)
    ours, aux = gradient(objective, DATA, model_state={"chains": {"particles": particles}, "other": 1})
    after = chain(particles, 2)
    np.testing.assert_array_equal(aux.model_state["chains"]["particles"], after)
    assert aux.model_state["other"] == 1
    for grad, expected in zip(ours, boltzmann.hinton_update(DATA, after, W, C), strict=True):
        np.testing.assert_allclose(grad, -expected, rtol=1e-5, atol=1e-6)


def test_evaluation_gives_free_energies_and_needs_no_key():
    state = init_state(MODEL, optax.sgd(0.1), DATA, key=KEY)
    expected = -np.log(np.exp(-boltzmann.energies(DATA, boltzmann.states(3), W, B, C)).sum(1))
    losses, aux = contrastive_divergence(MODEL)(PARAMS, (DATA, None), model_state={}, key=None, train=False)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert aux == ({}, {})
    # Of a start with W near 0: F(v) = -3 ln 2 of the hidden units alone.
    assert evaluate(contrastive_divergence(MODEL), state, DATA)["loss"] == pytest.approx(-3 * np.log(2), abs=0.1)


@pytest.mark.parametrize("persistent", [False, True])
def test_training_raises_the_exact_likelihood(persistent):
    """Of two patterns, against the start and against the best model of independent pixels, which has 4 ln(1/2)."""
    data = np.tile(np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.float32), (20, 1))
    model = jaxdl.models.RBM(3, num_chains=40 if persistent else 0)
    tx = optax.sgd(0.2)
    step = make_train_step(contrastive_divergence(model, persistent=persistent), tx)
    state, _ = fit(step, init_state(model, tx, data, key=KEY), data, epochs=150, batch_size=20)
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    reached = boltzmann.log_likelihood(data[:2], p["hidden"]["kernel"], p["visible"]["bias"], p["hidden"]["bias"])
    assert 4 * np.log(0.5) + 1 < reached <= np.log(0.5)


def test_many_runs_are_single_runs():
    tx = optax.sgd(0.1)
    model = jaxdl.models.RBM(3, num_chains=4)
    step = make_train_step(contrastive_divergence(model, num_steps=2, persistent=True), tx)
    init = lambda key: init_state(model, tx, DATA, key=key)  # noqa: E731
    states, _ = run_many(step, init, DATA, seeds=range(2), epochs=2, batch_size=3, mode="vmap")
    for i in range(2):
        alone, _ = fit(step, init(jax.random.key(i)), DATA, epochs=2, batch_size=3)
        of_many = jaxdl.training.member(states, i)
        np.testing.assert_array_equal(
            alone.model_state["chains"]["particles"], of_many.model_state["chains"]["particles"]
        )
        for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(of_many.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, "bfloat16"])
def test_dtypes_of_the_data(dtype):
    objective = contrastive_divergence(MODEL, num_steps=2)
    losses, _ = jax.jit(lambda d: objective(PARAMS, d, model_state={}, key=KEY, train=True))(jnp.asarray(DATA, dtype))
    expected, _ = objective(PARAMS, DATA, model_state={}, key=KEY, train=True)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)


def test_errors():
    with pytest.raises(TypeError, match="model: expected a Linen module with the methods free_energy and gibbs; got D"):
        contrastive_divergence(nn.Dense(3))
    with pytest.raises(ValueError, match="num_steps: expected a whole number >= 1; got 0"):
        contrastive_divergence(MODEL, num_steps=0)
    objective = contrastive_divergence(MODEL, persistent=True)
    with pytest.raises(ValueError, match="key: expected a key in training mode, since chains are sampled; got None"):
        objective(PARAMS, DATA, model_state={}, key=None, train=True)
    with pytest.raises(
        ValueError, match=r"model_state: expected chains beside the parameters; got the collections \[\]"
    ):
        objective(PARAMS, DATA, model_state={}, key=KEY, train=True)
