"""The diagnostics as a report calls them: of one objective, one batch, and what else they name."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl.diagnostics.curvature import Eigenvalues, SpectralDensity, spectral_density, top_eigenvalues
from jaxdl.diagnostics.gradients.gradient_flow import gradient_flow
from jaxdl.diagnostics.gradients.gradient_similarity import GradientSimilarity, gradient_similarity
from jaxdl.diagnostics.gradients.gradient_statistics import GradientStatistics, gradient_statistics
from jaxdl.diagnostics.gradients.noise_scale import NoiseScale, noise_scale
from jaxdl.diagnostics.gradients.through_time import gradients_through_time
from jaxdl.diagnostics.landscape import Landscape, loss_landscape
from jaxdl.diagnostics.per_example import PerExampleNorms, losses_of, per_layer_gradient_norms
from jaxdl.diagnostics.signals.jacobians import JacobianSpectrum, jacobian_spectrum
from jaxdl.diagnostics.signals.signal_propagation import signal_propagation
from jaxdl.diagnostics.signals.skips import skip_share
from jaxdl.diagnostics.signals.unit_health import UnitHealth, unit_health

PyTree = Any
# `diagnostic(objective, params, batch, *, model_state, key, train, tx, opt_state)` gives a result with `verdict`,
# `table` and `plot`; the keywords that it does not name are not passed.
Diagnostic = Callable[..., Any]


def _units(
    objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array, train: bool
) -> UnitHealth:
    return unit_health(objective, params, batch, model_state=model_state, key=key, train=train)


# Those below look at the model in evaluation mode, in which batch normalization leaves the loss of an example to that
# example, and the loss at a point to that point.
def _jacobians(
    objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
) -> JacobianSpectrum:
    return jacobian_spectrum(objective, params, batch, model_state=model_state, key=key)


def _norms(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> PerExampleNorms:
    return per_layer_gradient_norms(losses_of(objective, model_state=model_state, key=key), params, batch)


def _statistics(
    objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
) -> GradientStatistics:
    return gradient_statistics(losses_of(objective, model_state=model_state, key=key), params, batch)


def _noise(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> NoiseScale:
    size = len(jax.tree.leaves(batch)[0])
    return noise_scale(losses_of(objective, model_state=model_state, key=key), params, batch, batch_size=size)


def _similarity(
    objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array
) -> GradientSimilarity:
    return gradient_similarity(losses_of(objective, model_state=model_state, key=key), params, batch)


def _eigenvalues(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> Eigenvalues:
    return top_eigenvalues(objective, params, batch, model_state=model_state, key=key)


def _density(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> SpectralDensity:
    return spectral_density(objective, params, batch, num_probes=4, model_state=model_state, key=key)


def _landscape(objective: Any, params: PyTree, batch: PyTree, *, model_state: PyTree, key: jax.Array) -> Landscape:
    return loss_landscape(objective, params, batch, model_state=model_state, key=key)


DIAGNOSTICS: tuple[tuple[str, Diagnostic], ...] = (
    ("gradient flow", gradient_flow),
    ("signal propagation", signal_propagation),
    ("unit health", _units),
    ("gradients through time", gradients_through_time),
    ("Jacobian singular values", _jacobians),
    ("skip connections", skip_share),
    ("per-example gradient norms", _norms),
    ("gradient statistics", _statistics),
    ("noise scale", _noise),
    ("gradient similarity", _similarity),
    ("Hessian eigenvalues", _eigenvalues),
    ("spectral density", _density),
    ("loss landscape", _landscape),
)
"""What `report` runs, in this order: pairs of a name and a function of objective, parameters and batch."""
