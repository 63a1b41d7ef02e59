"""Optimizers: a recipe for every method of the lectures, and what goes before, behind and around it.

The one way to combine is `optax.chain`, in the order: clipping, noise, coupled L2, recipe, decoupled decay, proximal
step, constraint. `freeze` and `groups` take whole chains.
"""

from optax import add_noise as add_noise
from optax import clip as clip_by_value
from optax import clip_by_global_norm as clip_by_global_norm
from optax.contrib import reduce_on_plateau as reduce_on_plateau

from jaxdl.optimizers import schedules as schedules
from jaxdl.optimizers.clipping import clip_each_layer as clip_each_layer
from jaxdl.optimizers.clipping import clip_examples as clip_examples
from jaxdl.optimizers.constraints import max_norm as max_norm
from jaxdl.optimizers.constraints import non_negative as non_negative
from jaxdl.optimizers.constraints import project as project
from jaxdl.optimizers.constraints import unit_norm as unit_norm
from jaxdl.optimizers.decay import coupled_l2 as coupled_l2
from jaxdl.optimizers.decay import decoupled_decay as decoupled_decay
from jaxdl.optimizers.first_order import adadelta as adadelta
from jaxdl.optimizers.first_order import adagrad as adagrad
from jaxdl.optimizers.first_order import adam as adam
from jaxdl.optimizers.first_order import gradient_descent as gradient_descent
from jaxdl.optimizers.first_order import rmsprop as rmsprop
from jaxdl.optimizers.freezing import carry_over as carry_over
from jaxdl.optimizers.freezing import freeze as freeze
from jaxdl.optimizers.freezing import staged_unfreezing as staged_unfreezing
from jaxdl.optimizers.groups import groups as groups
from jaxdl.optimizers.proximal import proximal_l1 as proximal_l1
from jaxdl.optimizers.second_order import lbfgs as lbfgs
from jaxdl.optimizers.second_order import newton as newton
from jaxdl.optimizers.second_order import saddle_free_newton as saddle_free_newton
from jaxdl.optimizers.velocity import momentum as momentum
from jaxdl.optimizers.velocity import nesterov as nesterov
from jaxdl.optimizers.velocity import nesterov_eval_params as nesterov_eval_params

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "add_noise",
    "carry_over",
    "clip_by_global_norm",
    "clip_by_value",
    "clip_each_layer",
    "clip_examples",
    "coupled_l2",
    "decoupled_decay",
    "freeze",
    "gradient_descent",
    "groups",
    "lbfgs",
    "max_norm",
    "momentum",
    "nesterov",
    "nesterov_eval_params",
    "newton",
    "non_negative",
    "project",
    "proximal_l1",
    "reduce_on_plateau",
    "rmsprop",
    "saddle_free_newton",
    "schedules",
    "staged_unfreezing",
    "unit_norm",
]
