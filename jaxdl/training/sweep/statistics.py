"""Means with their intervals, and the paired comparison of two arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdl import checks

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Mean and the ends of its two-sided t-interval, `mean +- t_{(1 + c) / 2, n - 1} s / sqrt(n)`.

    Args:
      values: `(n,)`, independent draws.
      confidence: c in (0, 1).

    Returns:
      Mean, lower and upper end; infinite ends for one value, NaN for none or where one is not a number.
    """
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def accuracy_interval(accuracy: float, num_examples: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of the accuracy on examples not seen, from that on a test set, of one fixed network.

    With p the accuracy, n the examples and z the normal quantile of (1 + c) / 2:

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    It stays inside [0, 1] and is no point at p = 0 or 1, where the plain p +- z sqrt(p (1 - p) / n) is. The spread over
    training runs comes on top; see `mean_interval`.

    Args:
      accuracy: share of the test examples that are right, in [0, 1].
      num_examples: of the test set, >= 1.
      confidence: c in (0, 1).

    Returns:
      Lower and upper end.

    Raises:
      ValueError: a number out of its range.

    Example:
      >>> low, high = accuracy_interval(0.965, 10_000)
      >>> round(low, 4), round(high, 4)
      (0.9612, 0.9684)

    References:
      Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    from scipy import stats

    checks.number(accuracy=accuracy, minimum=0, maximum=1, remedy="Divide a percentage by 100.")
    checks.whole_number(num_examples=num_examples, minimum=1, remedy="Pass the size of the test set.")
    checks.number(confidence=confidence, minimum=0, exclusive=True, below=1, remedy="0.95 is usual.")
    z_squared = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2 / num_examples
    middle = accuracy + z_squared / 2
    half = np.sqrt(z_squared * (accuracy * (1 - accuracy) + z_squared / 4))
    # At 0 and 1 an end is the accuracy itself but for rounding.
    low, high = (middle - half) / (1 + z_squared), (middle + half) / (1 + z_squared)
    return max(0.0, float(low)), min(1.0, float(high))


@dataclass(frozen=True)
class Paired:
    """A paired t-test between two arms, over the seeds that both of them have.

    Attributes:
      metric: what is compared.
      a, b: the arms.
      difference: mean over seeds of the metric of `a` less that of `b`.
      interval: `(low, high)`, its 95 % t-interval.
      p: two-sided p-value of a mean of 0; NaN for fewer than two seeds, or differences that are all 0.
      seeds: those compared.
      left_out: those that are not, because the metric of one arm is not finite.
    """

    metric: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    difference: float
    interval: tuple[float, float]
    p: float
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]

    def verdict(self) -> str:
        """A sentence with its numbers."""
        low, high = self.interval
        sentence = (
            f"{self.metric} of {arm_name(self.a)} less that of {arm_name(self.b)}: {self.difference:.4g}, "
            f"95 % interval {low:.4g} to {high:.4g}, p {self.p:.2g}, {len(self.seeds)} seeds"
        )
        if self.left_out:
            listed = ", ".join(map(str, self.left_out))
            sentence += f"; NOT compared, since a value is not finite: seeds {listed}"
        return sentence


def paired_comparison(
    metric: str,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    values_a: np.ndarray,
    values_b: np.ndarray,
    seeds: Sequence[int],
) -> Paired:
    """The test of `scipy.stats.ttest_rel` on the seeds where both values `(seeds,)` are finite."""
    from scipy import stats

    finite = np.isfinite(values_a) & np.isfinite(values_b)
    first, second = values_a[finite], values_b[finite]
    difference, low, high = mean_interval(first - second)
    spread = np.ptp(first - second) if finite.any() else 0.0
    if spread > 0:
        p = float(stats.ttest_rel(first, second).pvalue)
    else:  # no spread: SciPy warns of a division by 0
        p = 0.0 if finite.sum() > 1 and difference else np.nan
    used = tuple(seed for seed, is_finite in zip(seeds, finite, strict=True) if is_finite)
    left_out = tuple(seed for seed, is_finite in zip(seeds, finite, strict=True) if not is_finite)
    return Paired(metric, dict(a), dict(b), difference, (low, high), p, used, left_out)


def arm_name(arm: Mapping[str, Any]) -> str:
    """An arm in words."""
    return ", ".join(f"{name} {shown(value)}" for name, value in arm.items()) or "the only arm"


def shown(value: Any) -> str:
    """A hyper-parameter as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)
