"""Initializers under the field's names: `init(key, shape, dtype) -> array`, as Flax layers take them.

Dense kernels have the shape (in, out), convolution kernels (height, width, in, out); fan_in is everything but the last
axis, fan_out the last axis times the receptive field. Normal initializers here are exact Gaussians; those of
`jax.nn.initializers` called `lecun_normal`, `glorot_normal` and `he_normal` are truncated at two standard deviations
and rescaled, with the same variance.
"""

from jax.nn.initializers import constant as constant
from jax.nn.initializers import delta_orthogonal as delta_orthogonal
from jax.nn.initializers import glorot_uniform as glorot_uniform
from jax.nn.initializers import lecun_uniform as lecun_uniform
from jax.nn.initializers import normal as normal
from jax.nn.initializers import orthogonal as orthogonal
from jax.nn.initializers import variance_scaling as variance_scaling
from jax.nn.initializers import zeros as zeros

from jaxdl.initializers.gaussians import fan_out_normal as fan_out_normal
from jaxdl.initializers.gaussians import glorot_normal as glorot_normal
from jaxdl.initializers.gaussians import he_normal as he_normal
from jaxdl.initializers.gaussians import he_uniform as he_uniform
from jaxdl.initializers.gaussians import lecun_normal as lecun_normal
from jaxdl.initializers.gaussians import random_walk as random_walk
from jaxdl.initializers.gaussians import standard_uniform as standard_uniform
from jaxdl.initializers.lsuv import LSUV as LSUV
from jaxdl.initializers.lsuv import lsuv as lsuv
from jaxdl.initializers.partial import load_partial as load_partial
from jaxdl.initializers.structured import identity as identity
from jaxdl.initializers.structured import per_position as per_position
from jaxdl.initializers.structured import sparse as sparse

__all__ = [
    "LSUV",
    "constant",
    "delta_orthogonal",
    "fan_out_normal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "load_partial",
    "lsuv",
    "normal",
    "orthogonal",
    "per_position",
    "random_walk",
    "sparse",
    "standard_uniform",
    "variance_scaling",
    "zeros",
]
