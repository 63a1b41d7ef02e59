"""Per-example gradients, their norms and products, exact for any pure `losses_fn(params, batch) -> (B,)`."""

from jaxdl.diagnostics.per_example.gradients import clip_factors as clip_factors
from jaxdl.diagnostics.per_example.gradients import per_example_clipped_mean as per_example_clipped_mean
from jaxdl.diagnostics.per_example.gradients import per_example_gradients as per_example_gradients
from jaxdl.diagnostics.per_example.gram import gradient_gram as gradient_gram
from jaxdl.diagnostics.per_example.norms import norms_inside as norms_inside
from jaxdl.diagnostics.per_example.norms import per_example_gradient_norms as per_example_gradient_norms
from jaxdl.diagnostics.per_example.norms import per_example_plan as per_example_plan
from jaxdl.diagnostics.per_example.norms import per_layer_gradient_norms as per_layer_gradient_norms
from jaxdl.diagnostics.per_example.norms_report import PerExampleNorms as PerExampleNorms
from jaxdl.diagnostics.per_example.objective import losses_of as losses_of

__all__ = [
    "PerExampleNorms",
    "gradient_gram",
    "losses_of",
    "per_example_clipped_mean",
    "per_example_gradient_norms",
    "per_example_gradients",
    "per_example_plan",
    "per_layer_gradient_norms",
]
