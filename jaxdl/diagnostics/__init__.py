"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

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
from jaxdl.diagnostics.noise_scale import NoiseScale as NoiseScale
from jaxdl.diagnostics.noise_scale import noise_scale as noise_scale
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds

__all__ = [
    "GradientFlow",
    "GradientSimilarity",
    "GradientStatistics",
    "Influence",
    "NoiseScale",
    "Thresholds",
    "gradient_flow",
    "gradient_similarity",
    "gradient_statistics",
    "gradient_variance",
    "influential_examples",
    "measure_gradient_flow",
    "noise_scale",
]
