"""Optimizers: what ends an optax chain so that the parameters themselves obey a rule."""

from jaxdl.optimizers.constraints import max_norm as max_norm
from jaxdl.optimizers.constraints import non_negative as non_negative
from jaxdl.optimizers.constraints import project as project
from jaxdl.optimizers.constraints import unit_norm as unit_norm
from jaxdl.optimizers.proximal import proximal_l1 as proximal_l1

__all__ = ["max_norm", "non_negative", "project", "proximal_l1", "unit_norm"]
