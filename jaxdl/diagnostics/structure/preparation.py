"""What a measurement of a model and a batch is given, checked and brought into one form."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks

PyTree = Any


class Prepared(NamedTuple):
    """Arrays and a key, ready for a compiled program."""

    params: PyTree
    batch: PyTree
    model_state: PyTree
    key: jax.Array


def prepared(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree | None, key: Any) -> Prepared:
    """Takes a `TrainState` for `params` apart, and fills in `{}` and `jax.random.key(0)` for what was not given.

    Raises:
      TypeError: `objective` or `key` of the wrong kind.
    """
    checks.objective(objective)
    if hasattr(params, "params") and hasattr(params, "model_state"):
        state, params = params, params.params
        model_state = state.model_state if model_state is None else model_state
    key = jax.random.key(0) if key is None else key
    checks.one_key(key)
    return Prepared(jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, batch), model_state or {}, key)


def as_objective(fn: Callable[..., Any]) -> Callable[..., Any]:
    """An objective, of a plain `losses_fn(params, batch) -> (batch,)` too."""
    parameters = inspect.signature(fn).parameters.values()
    if any(p.name == "model_state" or p.kind is p.VAR_KEYWORD for p in parameters):
        return fn
    return lambda params, batch, **_: (fn(params, batch), None)
