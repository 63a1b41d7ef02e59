"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.per_example import PerExampleNorms as PerExampleNorms
from jaxdl.diagnostics.per_example import gradient_gram as gradient_gram
from jaxdl.diagnostics.per_example import per_example_clipped_mean as per_example_clipped_mean
from jaxdl.diagnostics.per_example import per_example_gradient_norms as per_example_gradient_norms
from jaxdl.diagnostics.per_example import per_example_gradients as per_example_gradients
from jaxdl.diagnostics.per_example import per_example_plan as per_example_plan
from jaxdl.diagnostics.per_example import per_layer_gradient_norms as per_layer_gradient_norms
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds

__all__ = [
    "GradientFlow",
    "PerExampleNorms",
    "Thresholds",
    "gradient_flow",
    "gradient_gram",
    "measure_gradient_flow",
    "per_example_clipped_mean",
    "per_example_gradient_norms",
    "per_example_gradients",
    "per_example_plan",
    "per_layer_gradient_norms",
]
