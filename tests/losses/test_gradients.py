"""B09: every loss is differentiable where it has no kink; reverse and forward mode against finite differences."""

import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

from jaxdl import losses

Z = jax.random.normal(jax.random.key(0), (3, 4))
T = jax.random.normal(jax.random.key(1), (3, 4))
P = jax.nn.softmax(T)
LABELS = jnp.array([0, 3, 1])
LOSSES = {
    "softmax_cross_entropy": lambda z: losses.softmax_cross_entropy(z, LABELS, label_smoothing=0.1),
    "sigmoid_cross_entropy": lambda z: losses.sigmoid_cross_entropy(z, P),
    "weighted_cross_entropy": lambda z: losses.weighted_cross_entropy(z, LABELS, jnp.array([1.0, 2.0, 3.0, 4.0])),
    "kl_divergence": lambda z: losses.kl_divergence(z, P),
    "hinge": lambda z: losses.hinge(z, LABELS),
    "squared_hinge": lambda z: losses.squared_hinge(z, LABELS),
    "squared_error": lambda z: losses.squared_error(z, T),
    "quadratic_cost": lambda z: losses.quadratic_cost(z, T),
    "mean_squared_error": lambda z: losses.mean_squared_error(z, T),
    "absolute_error": lambda z: losses.absolute_error(z, T),
    "cosine_proximity": lambda z: losses.cosine_proximity(z, T),
    "gaussian_nll": lambda z: losses.gaussian_nll((z, 0.1 * z), T),
    "distillation": lambda z: losses.distillation(z, LABELS, T, temperature=2.0),
    "hint": lambda z: losses.hint(z, T),
    "perceptron": lambda z: losses.perceptron(z, jnp.sign(T)),
    "step_mean": lambda z: losses.step_mean(losses.softmax_cross_entropy)(z.reshape(3, 2, 2), jnp.eye(3, 2, dtype=int)),
}
NO_LOSSES = {"batch_mean", "correct", "rebalancing_weights", "sequence_correct", "step_accuracy", "step_mask"}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    check_grads(lambda z: LOSSES[name](z).sum(), (Z,), order=1, atol=2e-2, rtol=2e-2)


def test_every_loss_is_checked():
    assert set(LOSSES) == set(losses.__all__) - NO_LOSSES


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_an_example_in_its_dtype_under_jit_and_vmap(name):
    values = LOSSES[name](Z)
    assert values.shape == (3,)
    assert jnp.allclose(jax.jit(LOSSES[name])(Z), values, rtol=1e-5, atol=1e-6)
    stacked = jax.vmap(LOSSES[name])(jnp.stack([Z, 2 * Z]))
    assert jnp.allclose(stacked[0], values, rtol=1e-5, atol=1e-6)
