"""What the variance of pre-activations should be after many layers: the recursion of signal propagation.

A layer z' = W f(z), W with independent entries of mean 0 and variance g / N for a layer of N inputs, takes the mean
square q of its pre-activations to q' = g E[f(sqrt(q) u)^2], u standard normal. In a layer of finite width ln q is a
random walk around that: one step adds a variance kappa / N, kappa = Var(f^2) / E[f^2]^2, and so a drift of
-kappa / (2N); both are carried on by the slope of the recursion (to first order in 1/N). For linear units kappa = 2,
for ReLU 5: the moments of Sussillo and Abbott 2014.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

Function = Callable[[np.ndarray], np.ndarray]
STEP = 1e-3


class Expected(NamedTuple):
    """Of one network drawn at random: the mean of ln q at each layer, and its standard deviation."""

    mean: np.ndarray
    deviation: np.ndarray


class Unit(NamedTuple):
    """An activation for the recursion.

    Attributes:
      function: of one pre-activation, or of the largest of a unit's pieces.
      pieces: how many pre-activations a unit has; 1 but for maxout.
    """

    function: Function
    pieces: int = 1


def expected(unit: Unit, gain: float, *, width: int, depth: int, orthogonal: bool = False) -> Expected:
    """ln q of layers 1 to `depth`, for inputs with independent standard normal entries."""
    log_q, drift, variance = np.log(gain), -1 / width, 2 / width  # the length of the input varies, too
    # In a measured layer, the mean over the units is that over so many normals once more.
    sampled = 0.0 if orthogonal else 1 / width
    means, deviations = [], []
    for _ in range(depth):
        means.append(log_q + drift - sampled)
        deviations.append(np.sqrt(variance + 2 * sampled))
        slope, curvature = slopes(unit, log_q)
        kappa = spread(unit, log_q, orthogonal=orthogonal)
        drift = slope * drift + curvature * variance / 2 - kappa / (2 * width)
        variance = slope**2 * variance + kappa / width
        log_q = np.log(gain) + log_second_moment(unit, log_q)
    return Expected(np.array(means), np.array(deviations))


def log_second_moment(unit: Unit, log_q: float) -> float:
    """ln E[f^2] for pre-activations of mean square exp(log_q)."""
    return float(np.log(moment(unit, log_q, 2)))


def moment(unit: Unit, log_q: float, power: int) -> float:
    """E[f^power]."""
    points, weights = normal_grid(unit.pieces)
    return float(np.sum(weights * unit.function(np.exp(log_q / 2) * points) ** power))


def slopes(unit: Unit, log_q: float) -> tuple[float, float]:
    """First and second derivative of the recursion in logarithms, by central differences."""
    below, here, above = (log_second_moment(unit, log_q + shift) for shift in (-STEP, 0.0, STEP))
    return (above - below) / (2 * STEP), (above - 2 * here + below) / STEP**2


def spread(unit: Unit, log_q: float, *, orthogonal: bool) -> float:
    """kappa. An orthogonal matrix keeps the length of z, so what f^2 shares with z^2 does not spread."""
    second, fourth = moment(unit, log_q, 2), moment(unit, log_q, 4)
    kappa = fourth / second**2 - 1
    if not orthogonal or unit.pieces > 1:
        return kappa
    points, weights = normal_grid(1)
    covariance = np.sum(weights * unit.function(np.exp(log_q / 2) * points) ** 2 * (points**2 - 1))
    return kappa - float(covariance**2) / 2 / second**2


def normal_grid(pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights for expectations over the largest of `pieces` standard normals; no point at a kink, 0."""
    edges = np.linspace(-12, 12, 4801)
    points = (edges[1:] + edges[:-1]) / 2
    weights = pieces * stats.norm.pdf(points) * stats.norm.cdf(points) ** (pieces - 1)
    return points, weights / weights.sum()
