"""An ensemble is a model of stacked variables: by hand, in training mode, and through what takes a model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import diagnostics, losses, training
from jaxdl.procedures import (
    average_probabilities,
    ensemble_model,
    log_average_probabilities,
    majority_vote,
    vote_scores,
)

X = np.random.RandomState(1).randn(6, 4).astype(np.float32)
LOGITS = np.random.RandomState(2).randn(5, 7, 3).astype(np.float32)


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(5)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


def one(variables, m):
    return jax.tree.map(lambda leaf: leaf[m], variables)


KINDS = [
    Noisy(),
    lambda rngs: nnx.Sequential(nnx.Linear(4, 5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)),
    (lambda key, x: {"w": jax.random.normal(key, (4, 3))}, lambda params, x: x @ params["w"]),
]


@pytest.mark.parametrize("kind", KINDS, ids=["linen", "nnx", "functions"])
def test_members_are_those_of_the_model(kind):
    model = jaxdl.as_model(kind)
    apart = ensemble_model(kind, 3, combine=lambda outputs: outputs)
    variables = apart.init(jax.random.key(0), X)
    key = jax.random.key(5)
    keys = jax.random.split(key, 3)
    outputs, state = jax.jit(lambda v: apart.apply(v, X))(variables)
    trained, moved = apart.apply(variables, X, train=True, key=key)
    for m in range(3):
        own = one(variables, m)
        jax.tree.map(
            np.testing.assert_array_equal,
            jax.tree.leaves(own),
            jax.tree.leaves(model.init(jax.random.split(jax.random.key(0), 3)[m], X)),
        )
        np.testing.assert_allclose(outputs[m], model.apply(own, X)[0], rtol=1e-5, atol=1e-6)
        expected, after = model.apply(own, X, train=True, key=keys[m])
        np.testing.assert_allclose(trained[m], expected, rtol=1e-5, atol=1e-6)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), one(moved, m), after)
    assert set(state) == set(variables) - {"params"}


def test_the_ways_of_combining():
    both = log_average_probabilities(LOGITS)
    np.testing.assert_allclose(jax.nn.softmax(both), average_probabilities(LOGITS), rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(both), average_probabilities(LOGITS), rtol=1e-5)
    np.testing.assert_array_equal(jnp.argmax(vote_scores(LOGITS), -1), majority_vote(LOGITS))
    np.testing.assert_array_equal(vote_scores(LOGITS).sum(-1), np.ones(7))
    assert np.isnan(vote_scores(jnp.asarray(LOGITS).at[1, 0].set(jnp.nan))[0]).all()
    sure = jnp.array([[[0.0, -300.0]], [[0.0, -300.0]]])
    np.testing.assert_allclose(log_average_probabilities(sure), [[0.0, -300.0]])
    assert np.isfinite(jax.grad(lambda z: log_average_probabilities(z)[0, 1])(sure)).all()
    assert log_average_probabilities(jnp.asarray(LOGITS, jnp.bfloat16)).dtype == jnp.bfloat16
    assert vote_scores(jnp.asarray(LOGITS, jnp.bfloat16)).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"logits: expected shape \(members, batch, classes\)"):
        log_average_probabilities(LOGITS[0])
    with pytest.raises(ValueError, match=r"logits: expected shape \(members, batch, classes\)"):
        vote_scores(LOGITS[0])


def test_a_regression_averages_outputs():
    model = (lambda key, x: {"w": jax.random.normal(key, (4, 1))}, lambda params, x: x @ params["w"])
    together = ensemble_model(model, 4, combine=partial(jnp.mean, axis=0))
    variables = together.init(jax.random.key(2), X)
    expected = X @ np.asarray(variables["params"]["w"]).mean(0)
    np.testing.assert_allclose(together.apply(variables, X)[0], expected, rtol=1e-5, atol=1e-6)


def test_what_takes_a_model_takes_an_ensemble(tmp_path, same_bytes):
    together = ensemble_model(jaxdl.models.MLP((5, 3)), 3)
    y = np.array([0, 1, 2, 0, 1, 2])
    objective = training.supervised(together, losses.softmax_cross_entropy)
    step = training.make_train_step(objective, optax.sgd(0.5))
    state = training.init_state(together, step.tx, X, key=jax.random.key(0))
    before = training.evaluate(objective, state, (X, y))["loss"]
    state = training.fit(step, state, (X, y), epochs=20, batch_size=6).state
    assert training.evaluate(objective, state, (X, y))["loss"] < before
    training.save_checkpoint(tmp_path / "saved", state)
    same_bytes(training.restore_checkpoint(tmp_path / "saved", state), state)

    def each(params, batch):
        return objective(params, batch, model_state={}, key=None, train=False)[0]

    fast = diagnostics.per_example_gradient_norms(each, state.params, (X, y))
    slow = jax.vmap(
        lambda x, label: optax.tree.norm(jax.grad(lambda p: each(p, (x[None], label[None]))[0])(state.params))
    )(jnp.asarray(X), jnp.asarray(y))
    np.testing.assert_allclose(fast, slow, rtol=1e-4)


def test_what_is_no_ensemble():
    with pytest.raises(ValueError, match=r"num_members: expected a whole number >= 1; got 0\. Five are usual"):
        ensemble_model(Noisy(), 0)
    with pytest.raises(TypeError, match="combine: expected a function of outputs"):
        ensemble_model(Noisy(), 2, combine="mean")  # type: ignore[arg-type]
    variables = ensemble_model(Noisy(), 2).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="variables: expected leaves that have a leading axis of 3 members; got"):
        ensemble_model(Noisy(), 3).apply(variables, X)
