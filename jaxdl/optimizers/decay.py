"""Decay of the weights: as a penalty in the gradient ("L2"), and beside it ("weight decay").

Beside plain descent both are w <- (1 - eta lambda) w - eta g. Beside momentum and, above all, beside recipes that
divide by the gradient's size they part: there only the decoupled one shrinks all weights alike.
"""

from typing import Any

import optax

from jaxdl import tree
from jaxdl.optimizers.hyperparameters import ScalarOrSchedule, check, check_rate, value_at
from jaxdl.optimizers.precision import in_float32
from jaxdl.optimizers.subtrees import on_chosen

PyTree = Any
STRENGTH = "It multiplies the weights; 0 switches the decay off."


def coupled_l2(
    strength: ScalarOrSchedule, *, where: tree.Where = tree.is_kernel
) -> optax.GradientTransformationExtraArgs:
    """`g <- g + lambda w`: the gradient of the penalty lambda / 2 sum w^2, to stand IN FRONT of the recipe.

    `optax.chain(coupled_l2(lambda / n), gradient_descent(eta))` on the mean loss of n training examples is the SGD of
    the lectures, `w <- (1 - eta lambda / n) w - eta g`, biases not decayed. (One of them prints 1 + eta lambda, which
    would grow the weights.) The same as `jaxdl.regularizers.l2(lambda)`, but no part of the loss that is reported.

    Args:
      strength: lambda >= 0: number, traced scalar or schedule of the number of updates done before.
      where: the decayed leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation. `optax.inject_hyperparams(coupled_l2, static_args="where")` makes lambda a part of the
      state.

    Raises:
      ValueError: `strength` is a number below 0, or no number; at `init`, a `where` that matches nothing; at `update`,
        no `params`.

    References:
      Krogh and Hertz, "A simple weight decay can improve generalization", 1992.
    """
    check(strength=strength, minimum=0, remedy=STRENGTH)
    return _decayed(strength, where)


def decoupled_decay(
    strength: ScalarOrSchedule, *, learning_rate: ScalarOrSchedule, where: tree.Where = tree.is_kernel
) -> optax.GradientTransformationExtraArgs:
    """`u <- u - eta lambda w`, of the recipe's update u: to stand BEHIND the recipe.

    `optax.chain(adam(eta), decoupled_decay(lambda, learning_rate=eta))` is AdamW, with biases not decayed: beside the
    recipe's step a weight shrinks by 1 - eta lambda in every update. (The paper's decay is not multiplied by the rate,
    only by its schedule; optax and PyTorch multiply as this does.)

    Args:
      strength: lambda >= 0: number, traced scalar or schedule of the number of updates done before.
      learning_rate: eta >= 0, that of the recipe in front: number, traced scalar, or the same schedule.
      where: the decayed leaves, see `jaxdl.tree`.

    Returns:
      An optax transformation, to stand before constraints.

    Raises:
      ValueError: `strength` or `learning_rate` is a number below 0, or no number; at `init`, a `where` that matches
        nothing; at `update`, no `params`.

    References:
      Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """
    check(strength=strength, minimum=0, remedy=STRENGTH)
    check_rate(learning_rate)
    if callable(learning_rate) or callable(strength):
        return _decayed(lambda count: -value_at(learning_rate, count) * value_at(strength, count), where)
    return _decayed(-learning_rate * strength, where)


def _decayed(weight: ScalarOrSchedule, where: tree.Where) -> optax.GradientTransformationExtraArgs:
    return on_chosen(in_float32(optax.add_decayed_weights(weight)), where)
