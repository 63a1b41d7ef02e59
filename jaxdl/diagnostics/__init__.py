"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.jacobians import JacobianSpectrum as JacobianSpectrum
from jaxdl.diagnostics.jacobians import jacobian_spectrum as jacobian_spectrum
from jaxdl.diagnostics.preparation import NotApplicable as NotApplicable
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds

__all__ = [
    "GradientFlow",
    "JacobianSpectrum",
    "NotApplicable",
    "Thresholds",
    "gradient_flow",
    "jacobian_spectrum",
    "measure_gradient_flow",
]
