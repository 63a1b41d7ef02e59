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
from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.landscape import Basin as Basin
from jaxdl.diagnostics.landscape import Landscape as Landscape
from jaxdl.diagnostics.landscape import basin_width as basin_width
from jaxdl.diagnostics.landscape import loss_landscape as loss_landscape
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds

__all__ = [
    "Basin",
    "CriticalPoint",
    "Eigenvalues",
    "GradientFlow",
    "Landscape",
    "Sharpness",
    "SignArgument",
    "SpectralDensity",
    "Thresholds",
    "TraceEstimate",
    "basin_width",
    "critical_point",
    "gauss_newton_vector_product",
    "gradient_flow",
    "hessian_trace",
    "hessian_vector_product",
    "loss_landscape",
    "measure_gradient_flow",
    "measure_sharpness",
    "sharpness",
    "sign_argument",
    "spectral_density",
    "top_eigenvalues",
]
