"""jaxdl: the methods of the deep-learning lectures as pure functions for JAX, and their claims as experiments.

A room is imported when it is first named: all together take half as long as jax, flax and optax.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxdl.model import Model as Model
from jaxdl.model import as_model as as_model
from jaxdl.version import VERSION

if TYPE_CHECKING:
    from jaxdl import activations as activations
    from jaxdl import data as data
    from jaxdl import diagnostics as diagnostics
    from jaxdl import initializers as initializers
    from jaxdl import layers as layers
    from jaxdl import losses as losses
    from jaxdl import models as models
    from jaxdl import optimizers as optimizers
    from jaxdl import procedures as procedures
    from jaxdl import regularizers as regularizers
    from jaxdl import training as training
    from jaxdl import tree as tree

__all__ = [
    "Model",
    "activations",
    "as_model",
    "data",
    "diagnostics",
    "initializers",
    "layers",
    "losses",
    "models",
    "optimizers",
    "procedures",
    "regularizers",
    "training",
    "tree",
]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"jaxdl.{name}")
    raise AttributeError(f"module 'jaxdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
