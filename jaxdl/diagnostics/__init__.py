"""Diagnostics: pure measurements of a model in training, with a table, a verdict and a picture."""

from jaxdl.diagnostics.gradient_flow import GradientFlow as GradientFlow
from jaxdl.diagnostics.gradient_flow import gradient_flow as gradient_flow
from jaxdl.diagnostics.gradient_flow import measure_gradient_flow as measure_gradient_flow
from jaxdl.diagnostics.signal_propagation import SignalPropagation as SignalPropagation
from jaxdl.diagnostics.signal_propagation import measure_signals as measure_signals
from jaxdl.diagnostics.signal_propagation import signal_propagation as signal_propagation
from jaxdl.diagnostics.thresholds import Thresholds as Thresholds

__all__ = [
    "GradientFlow",
    "SignalPropagation",
    "Thresholds",
    "gradient_flow",
    "measure_gradient_flow",
    "measure_signals",
    "signal_propagation",
]
