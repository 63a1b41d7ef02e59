"""What a tiny instance of a model has to give for `test_laws` to put it through the laws of the design."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import jaxdl
from jaxdl.training import Objective, supervised

PyTree = Any
NUM_EXAMPLES = 16


class Case(NamedTuple):
    """A tiny model ready to train.

    Attributes:
      objective: see `jaxdl.training.Objective`.
      init: `init(key) -> variables`.
      data: a pytree of NumPy arrays with a leading axis of `NUM_EXAMPLES`.
      mixes: None, or what the refusal of per-example gradients has to say, as a regular expression.
    """

    objective: Objective
    init: Callable[[jax.Array], dict[str, Any]]
    data: PyTree
    mixes: str | None = None


def classifier(module: Any, x: Any, y: Any, *, loss: Any = None, mixes: str | None = None) -> Case:
    """A supervised case of a Linen module; `y` are labels unless a loss is given."""
    model = jaxdl.as_model(module)
    objective = supervised(model, loss or jaxdl.losses.softmax_cross_entropy)
    return Case(objective, lambda key: model.init(key, jax.tree.map(lambda a: a[:2], x)), (x, y), mixes)
