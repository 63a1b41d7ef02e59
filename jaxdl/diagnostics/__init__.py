"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.mean_field import Curves as Curves
from jaxdl.diagnostics.mean_field import MeanField as MeanField
from jaxdl.diagnostics.mean_field import correlation_map as correlation_map
from jaxdl.diagnostics.mean_field import depth_curves as depth_curves
from jaxdl.diagnostics.mean_field import error_factor as error_factor
from jaxdl.diagnostics.mean_field import length_map as length_map
from jaxdl.diagnostics.mean_field import mean_field as mean_field
from jaxdl.diagnostics.signal_propagation import SignalPropagation as SignalPropagation
from jaxdl.diagnostics.signal_propagation import measure_signals as measure_signals
from jaxdl.diagnostics.signal_propagation import signal_propagation as signal_propagation
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds
from jaxdl.diagnostics.unit_deaths import UnitDeaths as UnitDeaths
from jaxdl.diagnostics.unit_deaths import unit_deaths as unit_deaths
from jaxdl.diagnostics.unit_health import UnitHealth as UnitHealth
from jaxdl.diagnostics.unit_health import measure_unit_health as measure_unit_health
from jaxdl.diagnostics.unit_health import unit_health as unit_health

__all__ = [
    "Curves",
    "GradientFlow",
    "MeanField",
    "SignalPropagation",
    "Thresholds",
    "UnitDeaths",
    "UnitHealth",
    "correlation_map",
    "depth_curves",
    "error_factor",
    "gradient_flow",
    "length_map",
    "mean_field",
    "measure_gradient_flow",
    "measure_signals",
    "measure_unit_health",
    "signal_propagation",
    "unit_deaths",
    "unit_health",
]
