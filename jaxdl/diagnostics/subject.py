"""What a diagnostic looks at: a model and its loss on a batch, as users hand them over and as programs take them."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks

PyTree = Any


class Subject(NamedTuple):
    """Parameters, batch, the model's other collections and a key, ready to be handed to a compiled program."""

    params: PyTree
    batch: PyTree
    model_state: PyTree
    key: jax.Array


def prepared(
    objective: Callable[..., Any], params: PyTree, batch: PyTree, *, model_state: PyTree | None, key: jax.Array | None
) -> Subject:
    """Checks what was handed over; a `TrainState` in place of parameters brings its `model_state` along.

    Raises:
      TypeError: an objective that is no function, or a key that is none.
    """
    checks.objective(objective)
    if hasattr(params, "params") and hasattr(params, "model_state"):
        state, params = params, params.params
        model_state = state.model_state if model_state is None else model_state
    key = jax.random.key(0) if key is None else key
    checks.one_key(key)
    return Subject(jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, batch), model_state or {}, key)


def as_objective(fn: Callable[..., Any]) -> Callable[..., Any]:
    """An objective; of a plain `losses_fn(params, batch)`, one that ignores mode, key and state."""
    parameters = inspect.signature(fn).parameters.values()
    if any(p.name == "model_state" or p.kind is p.VAR_KEYWORD for p in parameters):
        return fn
    return lambda params, batch, **_: (fn(params, batch), None)
