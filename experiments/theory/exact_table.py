"""What a line of the table of exact checks is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Check(NamedTuple):
    """One line.

    Attributes:
      claim: what holds.
      measure: `measure(seeds) -> (seeds,)`, the deviation from it of every seed.
      tolerance: the largest deviation that is let pass.
      unit: what the deviation is, in words.
      published: the formula.
      control: whether the deviation must be larger.
    """

    claim: str
    measure: Callable[[int], np.ndarray]
    tolerance: float
    unit: str
    published: str = ""
    control: bool = False


def each(deviation: Callable[[int], float]) -> Callable[[int], np.ndarray]:
    """`measure` of what is measured seed by seed."""
    return lambda seeds: np.array([float(deviation(seed)) for seed in range(seeds)])


def relative(found: object, expected: object) -> float:
    """Largest difference over the largest expected entry."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def errors_off(samples: object, expected: float) -> float:
    """How many of its standard errors the mean of independent samples lies from its expectation."""
    samples = np.asarray(samples, np.float64)
    return float(abs(samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(samples.size)))
