from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses

STUDENT = np.random.RandomState(0).randn(4, 3).astype(np.float32)
TEACHER = np.random.RandomState(1).randn(4, 3).astype(np.float32)
LABELS = np.array([0, 2, 1, 1])


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


@pytest.mark.parametrize("squared", [False, True])
def test_distillation_against_the_formula(squared):
    z, tau, strength = STUDENT.astype(np.float64), 3.0, 2.5
    hard = -np.log(softmax(z)[np.arange(4), LABELS])
    soft = -(softmax(TEACHER / tau) * np.log(softmax(z / tau))).sum(-1)
    expected = hard + strength * (tau**2 if squared else 1) * soft
    ours = losses.distillation(
        STUDENT, LABELS, TEACHER, temperature=tau, strength=strength, temperature_squared=squared
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def soft_gradient(tau, squared):
    """Of the soft term alone; strength 1 less strength 0."""
    total = lambda z, strength: losses.distillation(  # noqa: E731
        z, LABELS, TEACHER, temperature=tau, strength=strength, temperature_squared=squared
    ).sum()
    gradient = jax.grad(total)
    return np.asarray(gradient(jnp.asarray(STUDENT), 1.0) - gradient(jnp.asarray(STUDENT), 0.0))


def test_only_with_the_square_does_the_soft_gradient_survive_a_high_temperature():
    """Hinton et al. 2015, eq. 4: at high tau the gradient is that of matching centred logits, over classes tau^2."""
    centred = lambda z: z - z.mean(-1, keepdims=True)  # noqa: E731
    expected = (centred(STUDENT) - centred(TEACHER)) / 3
    np.testing.assert_allclose(soft_gradient(100.0, True), expected, atol=0.02)
    np.testing.assert_allclose(soft_gradient(100.0, False) * 100**2, expected, atol=0.02)


def test_a_traced_temperature():
    taus = jnp.array([1.0, 4.0])
    ours = jax.jit(jax.vmap(lambda tau: losses.distillation(STUDENT, LABELS, TEACHER, temperature=tau)))(taus)
    for tau, values in zip((1.0, 4.0), ours, strict=True):
        np.testing.assert_allclose(values, losses.distillation(STUDENT, LABELS, TEACHER, temperature=tau), rtol=1e-6)
    half = losses.distillation(jnp.asarray(STUDENT, jnp.bfloat16), LABELS, jnp.asarray(TEACHER, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_the_teacher_gets_no_gradient():
    gradient = jax.grad(lambda t: losses.distillation(STUDENT, LABELS, t).sum())(jnp.asarray(TEACHER))
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(jax.grad(lambda t: losses.hint(STUDENT, t).sum())(jnp.asarray(TEACHER)), 0)


def test_distillation_at_extreme_logits():
    extreme = jnp.array([[1e4, -1e4, 0.0]])
    values, grads = jax.value_and_grad(lambda z: losses.distillation(z, jnp.array([1]), -extreme).sum())(extreme)
    assert np.isfinite(values)
    assert np.all(np.isfinite(grads))


def test_a_masked_teacher_may_be_nan():
    mask = np.array([1, 1, 0, 1], bool)
    spoiled = np.where(mask[:, None], TEACHER, np.nan)
    full = np.asarray(losses.distillation(STUDENT, LABELS, TEACHER))
    np.testing.assert_allclose(losses.distillation(STUDENT, LABELS, spoiled, mask=mask), full * mask, rtol=1e-6)


def test_weights_multiply_both_parts_and_a_mask_leaves_both_out():
    weights, mask = np.array([2.0, 0.5, 3.0, 0.0], np.float32), np.array([1, 0, 1, 1], bool)
    for loss in (partial(losses.distillation, STUDENT, LABELS, TEACHER), partial(losses.hint, STUDENT, TEACHER)):
        np.testing.assert_allclose(loss(weights=weights), weights * loss(), rtol=1e-6)
        np.testing.assert_allclose(loss(mask=mask), mask * loss(), rtol=1e-6)


def test_the_temperature_and_the_strength_that_nobody_gives():
    given = losses.distillation(STUDENT, LABELS, TEACHER, temperature=3.0, strength=1.0, temperature_squared=False)
    np.testing.assert_array_equal(losses.distillation(STUDENT, LABELS, TEACHER), given)


def test_hint_is_half_the_squared_distance():
    expected = ((STUDENT - TEACHER) ** 2).sum(-1) / 2
    np.testing.assert_allclose(losses.hint(STUDENT, TEACHER), expected, rtol=1e-5)


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"temperature: expected one finite number > 0; got 0"):
        losses.distillation(STUDENT, LABELS, TEACHER, temperature=0)
    with pytest.raises(ValueError, match=r"teacher_outputs: expected the shape of outputs, \(4, 3\); got \(4, 2\)"):
        losses.distillation(STUDENT, LABELS, TEACHER[:, :2])
