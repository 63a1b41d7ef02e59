"""Averages of the iterates: exponential with bias correction, and Polyak's, kept in the training state."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.training.state import Average, TrainState, check_state

PyTree = Any
Weight = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Ema:
    """The weight of the newest iterate in a bias-corrected exponential moving average; made by `ema`."""

    decay: float | jax.Array

    def __call__(self, count: jax.Array) -> jax.Array:
        """`(1 - d) / (1 - d^count)`."""
        # 1 - d^n without the cancellation of d close to 1; the logarithm in Python's double precision where it can be.
        if isinstance(self.decay, jax.Array):
            log_decay = jnp.log(self.decay)
        else:
            log_decay = math.log(self.decay) if self.decay else -math.inf
        return jnp.minimum((1 - self.decay) / -jnp.expm1(jnp.asarray(count, jnp.float32) * log_decay), 1)


@dataclass(frozen=True)
class Polyak:
    """The weight of the newest iterate in the plain mean since `start`; made by `polyak`."""

    start: int

    def __call__(self, count: jax.Array) -> jax.Array:
        """`1 / (count - start)`; 1 until then."""
        return 1 / jnp.maximum(jnp.asarray(count - self.start, jnp.float32), 1)


def ema(decay: float | jax.Array) -> Ema:
    """Exponential moving average of the iterates, bias-corrected: `e_t / (1 - d^t)`, `e_t = d e_{t-1} + (1 - d) w_t`.

    Args:
      decay: d in [0, 1); 0.999 remembers about 1,000 updates.

    Returns:
      What `make_train_step(average=...)` takes: the weight of the newest iterate, by the number of iterates. The
      corrected average itself is kept, `a_t = a_{t-1} + (1 - d) / (1 - d^t) (w_t - a_{t-1})`, so nothing has to be
      corrected when it is read.

    Raises:
      ValueError: `decay` outside of [0, 1).

    References:
      Kingma and Ba, "Adam", 2015, section 7.2 (temporal averaging).
    """
    checks.number(decay=decay, minimum=0, below=1, remedy="0.999 remembers about 1,000 updates.")
    return Ema(decay if isinstance(decay, jax.Array) else float(decay))


def polyak(*, start: int = 0) -> Polyak:
    """The plain mean of all iterates after the first `start` updates; the newest iterate until then.

    Args:
      start: updates that are not averaged, such as the first half of the run.

    Returns:
      What `make_train_step(average=...)` takes.

    Raises:
      ValueError: `start` is no whole number >= 0.

    References:
      Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """
    checks.whole_number(start=start, minimum=0, remedy="0 averages from the first update.")
    return Polyak(int(start))


def updated(average: Average, params: PyTree, model_state: PyTree, weight: Weight) -> Average:
    """The average with one more iterate."""
    count = average.count + 1
    share = weight(count)

    def leaf(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return new
        # Compiled, the iterate would be read before it is rounded to its own precision.
        info = jnp.finfo(new.dtype)
        new = jax.lax.reduce_precision(new, exponent_bits=info.nexp, mantissa_bits=info.nmant)
        return old + share.astype(old.dtype) * (new.astype(old.dtype) - old)

    old, new = (average.params, average.model_state), (params, model_state)
    return Average(count, *jax.tree.map(leaf, old, new))


def averaged(state: TrainState) -> TrainState:
    """The state with the averages in place of the parameters and of the model state, to be evaluated.

    Running statistics are averaged with the weights of the parameters, so that a network and its statistics belong
    together; leaves that are no floating-point numbers, such as counters, are the newest ones.

    Args:
      state: from a step with `average=`.

    Returns:
      A state like the one given.

    Raises:
      ValueError: the state has no average.

    Example:
      >>> evaluate(objective, averaged(state), digits.validation)  # doctest: +SKIP
    """
    check_state(state)
    if state.average is None:
        raise ValueError(
            "state: expected one with an average; got one without. Make it by init_state(..., average=True), and the "
            "step by make_train_step(..., average=ema(0.999))."
        )
    cast = lambda mean, leaf: mean.astype(leaf.dtype)  # noqa: E731
    params = jax.tree.map(cast, state.average.params, state.params)
    model_state = jax.tree.map(cast, state.average.model_state, state.model_state)
    return replace(state, params=params, model_state=model_state)
