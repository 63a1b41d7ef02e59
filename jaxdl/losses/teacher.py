"""Losses of a student that learns from a teacher."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.losses.classification import softmax_cross_entropy
from jaxdl.losses.examples import floating
from jaxdl.losses.regression import quadratic_cost


def distillation(
    outputs: jax.Array,
    targets: jax.Array,
    teacher_outputs: jax.Array,
    *,
    temperature: Any = 3.0,
    strength: Any = 1.0,
    temperature_squared: bool = False,
    weights: Any = None,
    mask: Any = None,
) -> jax.Array:
    """`H(y, p) + strength H(q_tau, p_tau)`, shape `(batch,)`, H the cross-entropy.

    `p = softmax(z)` is the student, `p_tau = softmax(z / tau)` and `q_tau = softmax(z_teacher / tau)` are softened by
    the temperature tau. The teacher gets no gradient.

    Args:
      outputs: the student's logits z, `(batch, ..., classes)`.
      targets: labels `(batch, ...)` or probabilities `(batch, ..., classes)`.
      teacher_outputs: the teacher's logits, `(batch, ..., classes)`.
      temperature: tau, one finite number > 0; it may be traced.
      strength: of the soft term; a number or a traced scalar. Romero et al. let it fall from 4 to 0.
      temperature_squared: multiplies the soft term by tau^2, so that its gradient does not fade as tau grows
        (Hinton et al.); without it the loss is that of Romero et al.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: a temperature that is not positive, or shapes that do not fit.

    References:
      Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, eq. 4.
    """
    checks.number(temperature=temperature, minimum=0, exclusive=True, remedy="3 is common; 1 softens nothing.")
    if jnp.shape(teacher_outputs) != jnp.shape(outputs):
        raise ValueError(
            f"teacher_outputs: expected the shape of outputs, {jnp.shape(outputs)}; got {jnp.shape(teacher_outputs)}. "
            "Teacher and student must tell the same classes apart."
        )
    hard = softmax_cross_entropy(outputs, targets, weights=weights, mask=mask)
    tau = jnp.asarray(temperature, floating(outputs).dtype)
    soft_targets = jax.nn.softmax(jax.lax.stop_gradient(teacher_outputs) / tau)
    soft = softmax_cross_entropy(outputs / tau, soft_targets, weights=weights, mask=mask)
    return hard + strength * (tau**2 if temperature_squared else 1.0) * soft


def hint(guided: jax.Array, teacher_hint: jax.Array, *, weights: Any = None, mask: Any = None) -> jax.Array:
    """`1/2 ||r(guided layer) - hint||^2`, shape `(batch,)`; the teacher's hint gets no gradient.

    Args:
      guided: the student's guided layer after the regressor r that brings it to the hint's shape, `(batch, ...)`.
      teacher_hint: the teacher's layer, the same shape.
      weights: see the module's description.
      mask: likewise.

    Returns:
      One loss per example, `(batch,)`.

    Raises:
      ValueError: shapes that do not fit.

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, eq. 3.
    """
    return quadratic_cost(guided, jax.lax.stop_gradient(teacher_hint), weights=weights, mask=mask)
