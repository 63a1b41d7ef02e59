"""The proximal step of the L1 penalty: exact zeros, which descent along its subgradient does not give."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl import tree
from jaxdl.optimizers.hyperparameters import ScalarOrSchedule, check, value_at
from jaxdl.optimizers.landing import land
from jaxdl.optimizers.subtrees import on_chosen

PyTree = Any


def proximal_l1(
    strength: ScalarOrSchedule, *, learning_rate: ScalarOrSchedule, where: tree.Where = tree.is_kernel
) -> optax.GradientTransformation:
    """`w <- sign(w) max(0, |w| - eta * strength)` after the step: soft thresholding, the proximal map of the L1 norm.

    `optax.chain(optax.sgd(eta), proximal_l1(strength, learning_rate=eta))` is the proximal gradient method (ISTA): for
    eta below 2 / L, with L the largest curvature, it minimises `loss + strength * sum |w|`, and weights are exactly 0
    where they should be. Behind momentum mu the steps add up to eta / (1 - mu), so pass that as the learning rate.
    Behind Adam zeros are exact too, but a weight rests at 0 where |m / sqrt(v)| <= strength, whatever the size of its
    gradient: the strength competes with 1, and what is minimised is no longer the penalised loss.

    Args:
      strength: of the penalty, >= 0: number, traced scalar, or optax schedule. Srivastava et al. mention L1 towards
        the end of training: `optax.piecewise_constant_schedule` cannot leave 0, so pass
        `optax.join_schedules([optax.constant_schedule(0.0), optax.constant_schedule(1e-4)], [start])`.
      learning_rate: that of the optimizer in front, >= 0: number, traced scalar, or the same schedule.
      where: the penalised leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation, to be the last of a chain. NaN stays NaN.

    Raises:
      ValueError: `strength` is negative, or `learning_rate` is; at `init`, a `where` that matches nothing;
        at `update`, no `params`.

    References:
      Daubechies, Defrise and De Mol, "An iterative thresholding algorithm for linear inverse problems", 2004;
      Parikh and Boyd, "Proximal algorithms", 2014, section 6.5.2.
    """
    check(strength=strength, minimum=0, remedy="It multiplies the penalty; 0 switches it off.")
    check(learning_rate=learning_rate, minimum=0, remedy="Pass that of the optimizer in front.")

    def init(params: PyTree) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, optax.ScaleByScheduleState]:
        threshold = value_at(learning_rate, state.count) * value_at(strength, state.count)

        def thresholded(path: str, w: jax.Array) -> jax.Array:
            return jnp.sign(w) * jnp.maximum(jnp.abs(w) - jnp.asarray(threshold, w.dtype), 0)

        count: Any = optax.safe_increment(state.count)
        return land(thresholded, updates, params), optax.ScaleByScheduleState(count)

    return on_chosen(optax.GradientTransformation(init, update), where)
