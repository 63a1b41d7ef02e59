"""Momentum and Nesterov's accelerated gradient: the learning rate INSIDE of the velocity, as the lectures have it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl import tree
from jaxdl.optimizers.hyperparameters import ScalarOrSchedule, check, check_rate, value_at
from jaxdl.optimizers.precision import in_float32
from jaxdl.optimizers.subtrees import left_out

PyTree = Any
FRICTION: dict[str, Any] = dict(
    minimum=0, maximum=1, remedy="It keeps that share of the velocity; 0.9 is usual, 1 has no friction."
)


class ScheduledMomentumState(NamedTuple):
    """Number of updates done, and v."""

    num_updates: jax.Array
    trace: PyTree


class NesterovState(NamedTuple):
    """Number of updates done, the gamma of the coming look-ahead, and v."""

    num_updates: jax.Array
    momentum: jax.Array
    velocity: PyTree


def momentum(
    learning_rate: ScalarOrSchedule, *, momentum: ScalarOrSchedule = 0.9
) -> optax.GradientTransformationExtraArgs:
    """`v <- gamma v + eta g; theta <- theta - v`, from v = 0: the heavy ball.

    `optax.sgd(eta, momentum=gamma)` has `m <- gamma m + g; theta <- theta - eta m`. For a constant eta that is the
    same. Where eta falls, that one slows at once; here a velocity once gained is lost by gamma only. Either way a
    constant gradient is followed with eta / (1 - gamma).

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.
      momentum: gamma in [0, 1]: number, traced scalar or schedule, such as a ramp from 0.5 to 0.99
        (`jaxdl.optimizers.schedules`). 0 is gradient descent, 1 has no friction.

    Returns:
      An optax transformation that remembers one array a leaf.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    check_rate(learning_rate)
    check(momentum=momentum, **FRICTION)
    accumulated = _scheduled(momentum) if callable(momentum) else optax.trace(momentum)
    # The sign goes last: a product is computed along with the sum p + u, which alone takes twice as long on CPU.
    return in_float32(
        optax.chain(optax.scale_by_learning_rate(learning_rate, flip_sign=False), accumulated, optax.scale(-1.0))
    )


def nesterov(
    learning_rate: ScalarOrSchedule, *, momentum: ScalarOrSchedule = 0.9
) -> optax.GradientTransformationExtraArgs:
    """`v <- gamma v + eta grad J(theta - gamma v); theta <- theta - v`, from v = 0.

    The gradient is wanted at the look-ahead point, so that is what the PARAMETERS are, theta - gamma v, in training and
    in the state; `nesterov_eval_params` gives theta. Under a schedule the coming point is looked for with the coming
    gamma, so that theta and v are those of the formula. `optax.sgd(eta, gamma, nesterov=True)` moves the look-ahead
    point likewise, but has eta outside of the velocity, as `optax.sgd` has without it.

    Args:
      learning_rate: eta >= 0: number, traced scalar or schedule.
      momentum: gamma in [0, 1]: number, traced scalar or schedule of the number of updates done before. Through
        `optax.inject_hyperparams` a schedule comes one update late, since that knows no coming value.

    Returns:
      An optax transformation that remembers one array a leaf. What stands behind it in a chain, such as a constraint,
      acts on the look-ahead point.

    Raises:
      ValueError: an argument outside of its range.

    References:
      Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", 1983;
      Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum", 2013, equations 3, 4.
    """
    check_rate(learning_rate)
    check(momentum=momentum, **FRICTION)
    return in_float32(
        optax.chain(optax.scale_by_learning_rate(learning_rate, flip_sign=False), _looking_ahead(momentum))
    )


def nesterov_eval_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """The theta of `nesterov`'s formula: `params + gamma v`, where `params` is the look-ahead point.

    Args:
      opt_state: state of any chain that holds `nesterov`, be it wrapped, or masked to some of the leaves.
      params: the parameters that belong to it.

    Returns:
      Parameters of the same structure, shapes and dtypes; leaves that `nesterov` does not move are as they were.

    Raises:
      ValueError: no `nesterov` in the state, or two that move the same leaf.

    Example:
      >>> tx = nesterov(0.1)
      >>> params = jnp.array([1.0, -2.0])
      >>> updates, state = tx.update(2 * params, tx.init(params), params)
      >>> nesterov_eval_params(state, optax.apply_updates(params, updates))
      Array([ 0.8, -1.6], dtype=float32)
    """
    is_state = lambda node: isinstance(node, NesterovState)  # noqa: E731
    states = [node for node in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(node)]
    if not states:
        raise ValueError(
            "opt_state: expected the state of a chain with jaxdl.optimizers.nesterov in it; found none in "
            f"{type(opt_state).__name__}. Parameters of other optimizers are what they seem; use them as they are."
        )
    moved = [path for state in states for path in tree.leaf_paths(state.velocity)]
    twice = sorted({path for path in moved if moved.count(path) > 1})
    if twice:
        raise ValueError(
            f"opt_state: expected one nesterov a leaf; got several for {', '.join(twice)}. "
            "Put one into the chain, or give each leaves of its own."
        )
    for state in states:
        params = jax.tree.map(
            lambda v, p, gamma=state.momentum: p if left_out(v) else (p + gamma * v).astype(jnp.result_type(p)),
            state.velocity,
            params,
            is_leaf=left_out,
        )
    return params


def _scheduled(momentum: Callable[[Any], Any]) -> optax.GradientTransformation:
    def init(params: PyTree) -> ScheduledMomentumState:
        return ScheduledMomentumState(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))

    def update(updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, ScheduledMomentumState]:
        count: Any = optax.safe_increment(state.num_updates)
        updates, _ = optax.trace(momentum(state.num_updates)).update(updates, optax.TraceState(state.trace))
        return updates, ScheduledMomentumState(count, updates)

    return optax.GradientTransformation(init, update)


def _looking_ahead(momentum: ScalarOrSchedule) -> optax.GradientTransformation:
    """The step of the look-ahead point, of updates eta g."""

    def init(params: PyTree) -> NesterovState:
        first = jnp.asarray(value_at(momentum, 0), float)
        return NesterovState(jnp.zeros((), jnp.int32), first, optax.tree.zeros_like(params))

    def update(updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, NesterovState]:
        count: Any = optax.safe_increment(state.num_updates)
        velocity, _ = optax.trace(state.momentum).update(updates, optax.TraceState(state.velocity))
        coming = jnp.asarray(value_at(momentum, count), float)
        steps = jax.tree.map(lambda u, v: -(u + coming * v), updates, velocity)
        return steps, NesterovState(count, coming, velocity)

    return optax.GradientTransformation(init, update)
