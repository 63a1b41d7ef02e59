"""Optimizers: second-order recipes, and what ends an optax chain so that the parameters themselves obey a rule."""

from jaxdl.optimizers.constraints import max_norm as max_norm
from jaxdl.optimizers.constraints import non_negative as non_negative
from jaxdl.optimizers.constraints import project as project
from jaxdl.optimizers.constraints import unit_norm as unit_norm
from jaxdl.optimizers.proximal import proximal_l1 as proximal_l1
from jaxdl.optimizers.second_order import lbfgs as lbfgs
from jaxdl.optimizers.second_order import newton as newton
from jaxdl.optimizers.second_order import saddle_free_newton as saddle_free_newton

__all__ = [
    "lbfgs",
    "max_norm",
    "newton",
    "non_negative",
    "project",
    "proximal_l1",
    "saddle_free_newton",
    "unit_norm",
]
