"""What every measurement of a model on a batch begins with: its arguments, checked and in one form."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks

PyTree = Any


class NotApplicable(ValueError):
    """A diagnostic asks for something that this model has not, such as a recurrence; `report` says so in one line."""


class Prepared(NamedTuple):
    """Arguments of a measurement, as arrays."""

    params: PyTree
    batch: PyTree
    model_state: PyTree
    key: jax.Array


def prepared(
    objective: Callable[..., Any], params: PyTree, batch: PyTree, model_state: PyTree | None, key: jax.Array | None
) -> Prepared:
    """Checks an objective and a key, and takes a `TrainState` apart."""
    checks.objective(objective)
    if hasattr(params, "params") and hasattr(params, "model_state"):
        state, params = params, params.params
        model_state = state.model_state if model_state is None else model_state
    key = jax.random.key(0) if key is None else key
    checks.one_key(key)
    as_arrays = lambda tree: jax.tree.map(jnp.asarray, tree)  # noqa: E731
    return Prepared(as_arrays(params), as_arrays(batch), model_state or {}, key)


def as_objective(fn: Callable[..., Any]) -> Callable[..., Any]:
    """An objective as it is; a plain `losses_fn(params, batch)` as one."""
    parameters = inspect.signature(fn).parameters.values()
    if any(p.name == "model_state" or p.kind is p.VAR_KEYWORD for p in parameters):
        return fn
    return lambda params, batch, **_: (fn(params, batch), None)
