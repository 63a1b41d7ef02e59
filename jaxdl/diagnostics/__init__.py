"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.curvature import CriticalPoint as CriticalPoint
from jaxdl.diagnostics.curvature import Eigenvalues as Eigenvalues
from jaxdl.diagnostics.curvature import Sharpness as Sharpness
from jaxdl.diagnostics.curvature import SignArgument as SignArgument
from jaxdl.diagnostics.curvature import SpectralDensity as SpectralDensity
from jaxdl.diagnostics.curvature import TraceEstimate as TraceEstimate
from jaxdl.diagnostics.curvature import critical_point as critical_point
from jaxdl.diagnostics.curvature import gauss_newton_vector_product as gauss_newton_vector_product
from jaxdl.diagnostics.curvature import hessian_trace as hessian_trace
from jaxdl.diagnostics.curvature import hessian_vector_product as hessian_vector_product
from jaxdl.diagnostics.curvature import measure_sharpness as measure_sharpness
from jaxdl.diagnostics.curvature import sharpness as sharpness
from jaxdl.diagnostics.curvature import sign_argument as sign_argument
from jaxdl.diagnostics.curvature import spectral_density as spectral_density
from jaxdl.diagnostics.curvature import top_eigenvalues as top_eigenvalues
from jaxdl.diagnostics.gradients.drift import ParameterDrift as ParameterDrift
from jaxdl.diagnostics.gradients.drift import parameter_drift as parameter_drift
from jaxdl.diagnostics.gradients.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradients.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradients.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.gradients.gradient_similarity import GradientSimilarity as GradientSimilarity
from jaxdl.diagnostics.gradients.gradient_similarity import gradient_similarity as gradient_similarity
from jaxdl.diagnostics.gradients.gradient_statistics import GradientStatistics as GradientStatistics
from jaxdl.diagnostics.gradients.gradient_statistics import gradient_statistics as gradient_statistics
from jaxdl.diagnostics.gradients.gradient_variance import gradient_variance as gradient_variance
from jaxdl.diagnostics.gradients.influence import Influence as Influence
from jaxdl.diagnostics.gradients.influence import influential_examples as influential_examples
from jaxdl.diagnostics.gradients.noise_scale import NoiseScale as NoiseScale
from jaxdl.diagnostics.gradients.noise_scale import noise_scale as noise_scale
from jaxdl.diagnostics.gradients.non_finite import NonFinite as NonFinite
from jaxdl.diagnostics.gradients.non_finite import first_non_finite as first_non_finite
from jaxdl.diagnostics.gradients.through_time import GradientsThroughTime as GradientsThroughTime
from jaxdl.diagnostics.gradients.through_time import gradients_through_time as gradients_through_time
from jaxdl.diagnostics.landscape import Basin as Basin
from jaxdl.diagnostics.landscape import Landscape as Landscape
from jaxdl.diagnostics.landscape import basin_width as basin_width
from jaxdl.diagnostics.landscape import loss_landscape as loss_landscape
from jaxdl.diagnostics.per_example import PerExampleNorms as PerExampleNorms
from jaxdl.diagnostics.per_example import gradient_gram as gradient_gram
from jaxdl.diagnostics.per_example import losses_of as losses_of
from jaxdl.diagnostics.per_example import per_example_clipped_mean as per_example_clipped_mean
from jaxdl.diagnostics.per_example import per_example_gradient_norms as per_example_gradient_norms
from jaxdl.diagnostics.per_example import per_example_gradients as per_example_gradients
from jaxdl.diagnostics.per_example import per_example_plan as per_example_plan
from jaxdl.diagnostics.per_example import per_layer_gradient_norms as per_layer_gradient_norms
from jaxdl.diagnostics.reporting.on_one_batch import DIAGNOSTICS as DIAGNOSTICS
from jaxdl.diagnostics.reporting.report import Report as Report
from jaxdl.diagnostics.reporting.report import report as report
from jaxdl.diagnostics.reporting.thresholds import Thresholds as Thresholds
from jaxdl.diagnostics.signals.jacobians import JacobianSpectrum as JacobianSpectrum
from jaxdl.diagnostics.signals.jacobians import jacobian_spectrum as jacobian_spectrum
from jaxdl.diagnostics.signals.mean_field import Curves as Curves
from jaxdl.diagnostics.signals.mean_field import MeanField as MeanField
from jaxdl.diagnostics.signals.mean_field import correlation_map as correlation_map
from jaxdl.diagnostics.signals.mean_field import depth_curves as depth_curves
from jaxdl.diagnostics.signals.mean_field import error_factor as error_factor
from jaxdl.diagnostics.signals.mean_field import length_map as length_map
from jaxdl.diagnostics.signals.mean_field import mean_field as mean_field
from jaxdl.diagnostics.signals.signal_propagation import SignalPropagation as SignalPropagation
from jaxdl.diagnostics.signals.signal_propagation import measure_signal_propagation as measure_signal_propagation
from jaxdl.diagnostics.signals.signal_propagation import signal_propagation as signal_propagation
from jaxdl.diagnostics.signals.skips import SkipShare as SkipShare
from jaxdl.diagnostics.signals.skips import skip_share as skip_share
from jaxdl.diagnostics.signals.unit_deaths import UnitDeaths as UnitDeaths
from jaxdl.diagnostics.signals.unit_deaths import unit_deaths as unit_deaths
from jaxdl.diagnostics.signals.unit_health import UnitHealth as UnitHealth
from jaxdl.diagnostics.signals.unit_health import measure_unit_health as measure_unit_health
from jaxdl.diagnostics.signals.unit_health import unit_health as unit_health
from jaxdl.diagnostics.structure.applicability import NotApplicable as NotApplicable

__all__ = [
    "DIAGNOSTICS",
    "Basin",
    "CriticalPoint",
    "Curves",
    "Eigenvalues",
    "GradientFlow",
    "GradientSimilarity",
    "GradientStatistics",
    "GradientsThroughTime",
    "Influence",
    "JacobianSpectrum",
    "Landscape",
    "MeanField",
    "NoiseScale",
    "NonFinite",
    "NotApplicable",
    "ParameterDrift",
    "PerExampleNorms",
    "Report",
    "Sharpness",
    "SignArgument",
    "SignalPropagation",
    "SkipShare",
    "SpectralDensity",
    "Thresholds",
    "TraceEstimate",
    "UnitDeaths",
    "UnitHealth",
    "basin_width",
    "correlation_map",
    "critical_point",
    "depth_curves",
    "error_factor",
    "first_non_finite",
    "gauss_newton_vector_product",
    "gradient_flow",
    "gradient_gram",
    "gradient_similarity",
    "gradient_statistics",
    "gradient_variance",
    "gradients_through_time",
    "hessian_trace",
    "hessian_vector_product",
    "influential_examples",
    "jacobian_spectrum",
    "length_map",
    "loss_landscape",
    "losses_of",
    "mean_field",
    "measure_gradient_flow",
    "measure_sharpness",
    "measure_signal_propagation",
    "measure_unit_health",
    "noise_scale",
    "parameter_drift",
    "per_example_clipped_mean",
    "per_example_gradient_norms",
    "per_example_gradients",
    "per_example_plan",
    "per_layer_gradient_norms",
    "report",
    "sharpness",
    "sign_argument",
    "signal_propagation",
    "skip_share",
    "spectral_density",
    "top_eigenvalues",
    "unit_deaths",
    "unit_health",
]
