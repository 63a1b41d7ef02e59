"""Activation functions: those of `jax.nn`, unchanged, and the few it lacks.

The value of a derivative at a kink is jax.nn's: at 0 it is 0 for `relu`, 1 for `leaky_relu`, `prelu` and `rrelu`, and
1 for `elu`; `maxout` shares it equally among the pieces that tie.
"""

from jax.nn import elu as elu
from jax.nn import identity as identity
from jax.nn import leaky_relu as leaky_relu
from jax.nn import log_softmax as log_softmax
from jax.nn import relu as relu
from jax.nn import selu as selu
from jax.nn import sigmoid as sigmoid
from jax.nn import soft_sign as soft_sign
from jax.nn import softmax as softmax
from jax.nn import tanh as tanh

from jaxdl.activations.functions import maxout as maxout
from jaxdl.activations.functions import prelu as prelu
from jaxdl.activations.functions import rrelu as rrelu
from jaxdl.activations.functions import sign_pm1 as sign_pm1
from jaxdl.activations.functions import step as step

__all__ = [
    "elu",
    "identity",
    "leaky_relu",
    "log_softmax",
    "maxout",
    "prelu",
    "relu",
    "rrelu",
    "selu",
    "sigmoid",
    "sign_pm1",
    "soft_sign",
    "softmax",
    "step",
    "tanh",
]
