"""Pictures of regression under noise."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.theory.linear_regression import DEGREE, FewPoints, polynomial
from experiments.theory.regression_networks import GRID, Fitted, varying_noise
from jaxdl import procedures

SLICES = (-2.4, -0.8, 0.8, 2.4)  # where a Gaussian is drawn
PAINTED = 300  # examples shown


def band_figure(fitted: Fitted) -> Figure:
    """E03a: the Gaussian of variance 1/beta around the mean; left one beta for all x, right one for each."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    constant = np.full(len(GRID), fitted.deviation)
    _band(left, fitted, fitted.mean, constant, f"one precision: beta = {fitted.deviation**-2:.1f}")
    _band(right, fitted, fitted.varying_mean, fitted.varying_deviation, "a precision for each x")
    x = GRID[:, 0]
    true = np.asarray(varying_noise(jnp.asarray(x)))
    for axis in (left, right):
        for sign in (-2, 2):
            label = "true mean +- 2 deviations" if sign > 0 else None
            axis.plot(x, np.sin(x) + sign * true, "k:", linewidth=1, label=label)
        axis.set(xlabel="x", ylabel="t")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left")
    return figure


def _band(axis: Axes, fitted: Fitted, mean: np.ndarray, deviation: np.ndarray, title: str) -> None:
    x = GRID[:, 0]
    inputs, targets = (np.asarray(array)[:PAINTED, 0] for array in fitted.data)
    axis.plot(inputs, targets, ".", color="tab:gray", markersize=3, alpha=0.6, label="examples")
    axis.fill_between(x, mean - 2 * deviation, mean + 2 * deviation, color="C0", alpha=0.2, label="+- 2 / sqrt(beta)")
    axis.plot(x, mean, color="C0", label="y(x)")
    for place in SLICES:
        i = int(np.argmin(np.abs(x - place)))
        t = np.linspace(mean[i] - 3 * deviation[i], mean[i] + 3 * deviation[i], 100)
        density = np.exp(-(((t - mean[i]) / deviation[i]) ** 2) / 2) / (deviation[i] * np.sqrt(2 * np.pi))
        axis.plot(x[i] + 0.2 * density, t, color="C3", linewidth=1.2)
        axis.plot([x[i], x[i]], [t[0], t[-1]], color="C3", linewidth=0.6)
    axis.set_title(title, fontsize=10)


def few_points_figure(found: FewPoints) -> Figure:
    """Left: the most likely polynomial; right: the posterior, with some draws from it."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    x = np.linspace(-np.pi, np.pi, 300, dtype=np.float32)
    design = polynomial(jnp.asarray(x))
    left.plot(x, design @ found.likeliest, color="C3", label=f"maximum likelihood, degree {DEGREE}")
    mean, variance = (np.asarray(array) for array in procedures.posterior_predictive(found.posterior, design))
    deviation = np.sqrt(variance)
    right.fill_between(x, mean - 2 * deviation, mean + 2 * deviation, color="C0", alpha=0.2, label="predictive, 95 %")
    normal = jax.random.normal(jax.random.key(1), (len(found.posterior.mean), 8))
    draws = found.posterior.mean[:, None] + solve_triangular(found.posterior.factor, normal)
    right.plot(x, design @ draws, color="C0", linewidth=0.6, alpha=0.6)
    right.plot(x, mean, color="C0", label="most probable weights (MAP), and 8 draws")
    for axis in (left, right):
        axis.plot(x, np.sin(x), "k:", label="sin x")
        axis.plot(found.x, found.t, "o", color="tab:gray", label=f"{len(found.x)} examples")
        axis.set(xlabel="x", ylabel="t", ylim=(-2.5, 2.5))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower center")
    return figure
