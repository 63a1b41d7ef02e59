"""jaxdl: the methods of the deep-learning lectures as pure functions for JAX, and their claims as experiments."""

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
from jaxdl.model import Model as Model
from jaxdl.model import as_model as as_model
from jaxdl.version import VERSION

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
