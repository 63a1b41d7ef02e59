"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.applicability import NotApplicable as NotApplicable
from jaxdl.diagnostics.drift import ParameterDrift as ParameterDrift
from jaxdl.diagnostics.drift import parameter_drift as parameter_drift
from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.gradient_similarity import GradientSimilarity as GradientSimilarity
from jaxdl.diagnostics.gradient_similarity import gradient_similarity as gradient_similarity
from jaxdl.diagnostics.gradient_statistics import GradientStatistics as GradientStatistics
from jaxdl.diagnostics.gradient_statistics import gradient_statistics as gradient_statistics
from jaxdl.diagnostics.gradient_variance import gradient_variance as gradient_variance
from jaxdl.diagnostics.influence import Influence as Influence
from jaxdl.diagnostics.influence import influential_examples as influential_examples
from jaxdl.diagnostics.jacobians import JacobianSpectrum as JacobianSpectrum
from jaxdl.diagnostics.jacobians import jacobian_spectrum as jacobian_spectrum
from jaxdl.diagnostics.noise_scale import NoiseScale as NoiseScale
from jaxdl.diagnostics.noise_scale import noise_scale as noise_scale
from jaxdl.diagnostics.non_finite import NonFinite as NonFinite
from jaxdl.diagnostics.non_finite import first_non_finite as first_non_finite
from jaxdl.diagnostics.per_example import PerExampleNorms as PerExampleNorms
from jaxdl.diagnostics.per_example import gradient_gram as gradient_gram
from jaxdl.diagnostics.per_example import per_example_clipped_mean as per_example_clipped_mean
from jaxdl.diagnostics.per_example import per_example_gradient_norms as per_example_gradient_norms
from jaxdl.diagnostics.per_example import per_example_gradients as per_example_gradients
from jaxdl.diagnostics.per_example import per_example_plan as per_example_plan
from jaxdl.diagnostics.per_example import per_layer_gradient_norms as per_layer_gradient_norms
from jaxdl.diagnostics.report import DIAGNOSTICS as DIAGNOSTICS
from jaxdl.diagnostics.report import Report as Report
from jaxdl.diagnostics.report import report as report
from jaxdl.diagnostics.skips import SkipShare as SkipShare
from jaxdl.diagnostics.skips import skip_share as skip_share
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds
from jaxdl.diagnostics.through_time import GradientsThroughTime as GradientsThroughTime
from jaxdl.diagnostics.through_time import gradients_through_time as gradients_through_time

__all__ = [
    "DIAGNOSTICS",
    "GradientFlow",
    "GradientSimilarity",
    "GradientStatistics",
    "GradientsThroughTime",
    "Influence",
    "JacobianSpectrum",
    "NoiseScale",
    "NonFinite",
    "NotApplicable",
    "ParameterDrift",
    "PerExampleNorms",
    "Report",
    "SkipShare",
    "Thresholds",
    "first_non_finite",
    "gradient_flow",
    "gradient_gram",
    "gradient_similarity",
    "gradient_statistics",
    "gradient_variance",
    "gradients_through_time",
    "influential_examples",
    "jacobian_spectrum",
    "measure_gradient_flow",
    "noise_scale",
    "parameter_drift",
    "per_example_clipped_mean",
    "per_example_gradient_norms",
    "per_example_gradients",
    "per_example_plan",
    "per_layer_gradient_norms",
    "report",
    "skip_share",
]
