"""Gradient descent and its relatives, each with the formula of the lectures as its default.

g is the gradient at the parameters theta, eta the learning rate; products, roots and quotients are entry by entry.
`learning_rate` is a number, a traced scalar, or a schedule of the number of updates done before (see
`jaxdl.optimizers.schedules`); `optax.inject_hyperparams(adam)(learning_rate=1e-3)` needs nothing else. It takes every
hyper-parameter to the parameters' dtype, in which 0.999 may be 1: beside bfloat16 pass `hyperparam_dtype=jnp.float32`.

Memories and arithmetic are float32 at least, updates have the gradients' dtypes.
"""

from typing import Any

import optax

from jaxdl.optimizers.hyperparameters import ScalarOrSchedule, check, check_rate
from jaxdl.optimizers.precision import in_float32

AVERAGE: dict[str, Any] = dict(
    minimum=0, below=1, remedy="It weighs the average so far, against 1 minus it for the new square."
)
POSITIVE: dict[str, Any] = dict(minimum=0, exclusive=True, remedy="It keeps 0 / 0 away; 1e-8 is usual.")


def gradient_descent(learning_rate: ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """`theta <- theta - eta g`: batch, mini-batch or stochastic, by what the gradient is taken of.

    The gradient is that of the MEAN loss, so eta need not change with the size of the batch; where the cost is a sum
    over n examples, eta is n times smaller. The same as `optax.sgd(eta)`.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.

    Returns:
      An optax transformation without memory (a schedule's count apart).

    Raises:
      ValueError: `learning_rate` is a number below 0, or no number.

    Example:
      >>> tx = gradient_descent(0.1)
      >>> params = jnp.array([1.0, -2.0])
      >>> tx.update(2 * params, tx.init(params), params)[0]
      Array([-0.2,  0.4], dtype=float32)

    References:
      Robbins and Monro, "A stochastic approximation method", 1951.
    """
    check_rate(learning_rate)
    return in_float32(optax.sgd(learning_rate))


def adagrad(learning_rate: ScalarOrSchedule, *, eps: float = 1e-8) -> optax.GradientTransformationExtraArgs:
    """`G <- G + g^2; theta <- theta - eta g / sqrt(G + eps)`, from G = 0.

    `optax.adagrad` starts from G = 0.1, with eps 1e-7: its first step for g = 0.1 is 0.302 eta where this one's is eta.
    The listing of the lecture and PyTorch have eps outside of the root, which differs where gradients are that small.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.
      eps: >= 0. Where all gradients so far are 0 the step is 0, with eps = 0 too.

    Returns:
      An optax transformation that remembers one array a leaf.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """
    check_rate(learning_rate)
    check(eps=eps, minimum=0, remedy="It keeps first steps finite; 1e-8 is usual.")
    return in_float32(optax.adagrad(learning_rate, initial_accumulator_value=0.0, eps=eps))


def rmsprop(
    learning_rate: ScalarOrSchedule, *, decay: float = 0.9, eps: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """`c <- d c + (1 - d) g^2; theta <- theta - eta g / (sqrt(c) + eps)`, from c = 0.

    c is not corrected for its start, so the first step is eta / sqrt(1 - d) = 3.16 eta. `optax.rmsprop` has eps inside
    of the root by default: for g = 1e-5 its first step is 0.1 eta where this one's is 3.15 eta.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.
      decay: d in [0, 1), the weight of the average so far.
      eps: > 0.

    Returns:
      An optax transformation that remembers one array a leaf.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Hinton, "Neural networks for machine learning", lecture 6e, 2012.
    """
    check_rate(learning_rate)
    check(decay=decay, **AVERAGE)
    check(eps=eps, **POSITIVE)
    return in_float32(optax.rmsprop(learning_rate, decay=decay, eps=eps, eps_in_sqrt=False))


def adadelta(
    learning_rate: ScalarOrSchedule = 1.0, *, rho: float = 0.95, eps: float = 1e-6
) -> optax.GradientTransformationExtraArgs:
    """`theta <- theta + eta Delta`, `Delta = -g sqrt(D + eps) / sqrt(G + eps)`.

    G and D are running averages of g^2 and Delta^2 from 0: `G <- rho G + (1 - rho) g^2` before the step, and
    `D <- rho D + (1 - rho) Delta^2` after it. The method has no learning rate, that is eta = 1.
    `optax.adadelta` has `learning_rate=None` by default, which leaves the sign of the step as that of the gradient, so
    that it CLIMBS; and rho 0.9.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.
      rho: in [0, 1), the weight of the averages so far.
      eps: > 0; it sets the size of the first steps, sqrt(eps / (1 - rho)).

    Returns:
      An optax transformation that remembers two arrays a leaf.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.
    """
    check_rate(learning_rate)
    check(rho=rho, **AVERAGE)
    check(eps=eps, **POSITIVE)
    return in_float32(optax.adadelta(learning_rate, rho=rho, eps=eps))


def adam(
    learning_rate: ScalarOrSchedule, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """`theta <- theta - eta m^ / (sqrt(v^) + eps)`, `m^ = m / (1 - b1^t)`, `v^ = v / (1 - b2^t)`.

    m and v are running averages of g and g^2 from 0, `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`; t counts
    from 1. The first step is eta, whatever the gradient's size. The formula and defaults of `optax.adam`. A penalty on
    the weights and decay of the weights part here: see `coupled_l2` and `decoupled_decay`.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule; the paper's is 1e-3.
      b1: in [0, 1), the weight of the average of gradients so far.
      b2: in [0, 1), that of their squares.
      eps: > 0, outside of the root.

    Returns:
      An optax transformation that remembers two arrays a leaf, and t.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    check_rate(learning_rate)
    check(b1=b1, **AVERAGE)
    check(b2=b2, **AVERAGE)
    check(eps=eps, **POSITIVE)
    return in_float32(optax.adam(learning_rate, b1=b1, b2=b2, eps=eps))
