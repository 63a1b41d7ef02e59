"""Curvature: products with the Hessian of a whole data set, its spectrum, and what they say of a point."""

from jaxdl.diagnostics.curvature.critical_points import CriticalPoint as CriticalPoint
from jaxdl.diagnostics.curvature.critical_points import critical_point as critical_point
from jaxdl.diagnostics.curvature.density import SpectralDensity as SpectralDensity
from jaxdl.diagnostics.curvature.density import spectral_density as spectral_density
from jaxdl.diagnostics.curvature.products import gauss_newton_vector_product as gauss_newton_vector_product
from jaxdl.diagnostics.curvature.products import hessian_vector_product as hessian_vector_product
from jaxdl.diagnostics.curvature.sharpness import Sharpness as Sharpness
from jaxdl.diagnostics.curvature.sharpness import measure_sharpness as measure_sharpness
from jaxdl.diagnostics.curvature.sharpness import sharpness as sharpness
from jaxdl.diagnostics.curvature.sign_argument import SignArgument as SignArgument
from jaxdl.diagnostics.curvature.sign_argument import sign_argument as sign_argument
from jaxdl.diagnostics.curvature.spectrum import Eigenvalues as Eigenvalues
from jaxdl.diagnostics.curvature.spectrum import top_eigenvalues as top_eigenvalues
from jaxdl.diagnostics.curvature.trace import TraceEstimate as TraceEstimate
from jaxdl.diagnostics.curvature.trace import hessian_trace as hessian_trace
