"""From an objective, as training takes it, to the losses of examples that the per-example functions take."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import checks
from jaxdl.diagnostics.per_example.plan import LossesFn
from jaxdl.diagnostics.structure.preparation import as_objective

PyTree = Any


def losses_of(
    objective: Callable[..., Any],
    *,
    model_state: PyTree | None = None,
    key: jax.Array | None = None,
    train: bool = False,
) -> LossesFn:
    """`losses_fn(params, batch) -> (batch,)` of an objective; keep it, since programs are compiled by it.

    Args:
      objective: such as `jaxdl.training.supervised(model, loss)`.
      model_state: the model's other collections, such as running statistics.
      key: for random layers; `jax.random.key(0)` by default.
      train: whether the model runs in training mode, in which batch normalization mixes examples.

    Returns:
      The function of parameters and a batch.

    Raises:
      TypeError: `objective` or `key` of the wrong kind.

    Example:
      >>> import jaxdl
      >>> objective = jaxdl.training.supervised(jaxdl.models.MLP((4, 2)), jaxdl.losses.softmax_cross_entropy)
      >>> losses_fn = losses_of(objective)
    """
    checks.objective(objective)
    key = jax.random.key(0) if key is None else key
    checks.one_key(key)
    full = as_objective(objective)

    def losses_fn(params: PyTree, batch: PyTree) -> jax.Array:
        return full(params, batch, model_state=model_state or {}, key=key, train=train)[0]

    return losses_fn
