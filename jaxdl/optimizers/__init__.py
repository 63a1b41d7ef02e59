"""Optimizers: what begins an optax chain, what ends it so that the parameters obey a rule, and what trains parts."""

from optax import clip as clip_by_value
from optax import clip_by_global_norm as clip_by_global_norm

from jaxdl.optimizers.clipping import clip_each_layer as clip_each_layer
from jaxdl.optimizers.clipping import clip_examples as clip_examples
from jaxdl.optimizers.constraints import max_norm as max_norm
from jaxdl.optimizers.constraints import non_negative as non_negative
from jaxdl.optimizers.constraints import project as project
from jaxdl.optimizers.constraints import unit_norm as unit_norm
from jaxdl.optimizers.freezing import carry_over as carry_over
from jaxdl.optimizers.freezing import freeze as freeze
from jaxdl.optimizers.freezing import staged_unfreezing as staged_unfreezing
from jaxdl.optimizers.groups import groups as groups
from jaxdl.optimizers.proximal import proximal_l1 as proximal_l1

__all__ = [
    "carry_over",
    "clip_by_global_norm",
    "clip_by_value",
    "clip_each_layer",
    "clip_examples",
    "freeze",
    "groups",
    "max_norm",
    "non_negative",
    "project",
    "proximal_l1",
    "staged_unfreezing",
    "unit_norm",
]
