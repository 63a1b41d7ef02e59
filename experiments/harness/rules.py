"""Acceptance rules: pure functions from measurements, one a seed, to a verdict with an interval.

No rule passes or fails on fewer than five seeds; it is inconclusive then, whatever the numbers say.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from experiments.harness.claims import Result, Verdict
from jaxdl.training import mean_interval

MIN_SEEDS = 5


def median_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median and the distribution-free interval between two order statistics; infinite ends for too few values."""
    values = np.sort(np.asarray(values, float))
    below = int(stats.binom.ppf((1 - confidence) / 2, len(values), 0.5))
    if stats.binom.cdf(below, len(values), 0.5) > (1 - confidence) / 2:
        below -= 1
    low, high = (values[below], values[len(values) - 1 - below]) if below >= 0 else (-np.inf, np.inf)
    return float(np.median(values)), float(low), float(high)


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a probability after `count` of `total` (Clopper and Pearson 1934)."""
    low = float(stats.beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high


def mean_within(values: Sequence[float] | np.ndarray, low: float, high: float, unit: str = "") -> Result:
    """IV: the mean lies in [low, high]; FAIL if its 95 % interval lies wholly outside."""
    mean, *ends = mean_interval(values)
    return _within(mean, ends, low, high, len(values), f"mean of {len(values)} seeds", unit)


def median_within(values: Sequence[float] | np.ndarray, low: float, high: float, unit: str = "") -> Result:
    """IV on the median, with the interval between order statistics."""
    median, *ends = median_interval(values)
    return _within(median, ends, low, high, len(values), f"median of {len(values)} seeds", unit)


def exceeds(values: Sequence[float] | np.ndarray, bound: float, *, confidence: float = 0.95, unit: str = "") -> Result:
    """ORD: the lower end of the interval of the mean lies above the bound; FAIL if the upper end lies below it."""
    mean, low, high = mean_interval(values, confidence)
    verdict: Verdict = "PASS" if low > bound else "FAIL" if high <= bound else "INCONCLUSIVE"
    above = int(np.sum(np.asarray(values) > bound))
    return _enough(
        Result(verdict, f"{mean:.4g}{unit}", (low, high), f"{above} of {len(values)} seeds above {bound:g}{unit}"),
        len(values),
    )


def at_most(values: Sequence[float] | np.ndarray, bound: float, *, confidence: float = 0.95, unit: str = "") -> Result:
    """The upper end of the interval of the mean is at most the bound; FAIL if the lower end lies above it."""
    mean, low, high = mean_interval(values, confidence)
    verdict: Verdict = "PASS" if high <= bound else "FAIL" if low > bound else "INCONCLUSIVE"
    below = int(np.sum(np.asarray(values) <= bound))
    return _enough(
        Result(verdict, f"{mean:.4g}{unit}", (low, high), f"{below} of {len(values)} seeds at most {bound:g}{unit}"),
        len(values),
    )


def equivalent(values: Sequence[float] | np.ndarray, margin: float, *, unit: str = "") -> Result:
    """EQ: two one-sided tests: the 90 % interval of the mean lies within +-margin; FAIL if it lies wholly outside."""
    mean, low, high = mean_interval(values, 0.9)
    inside, outside = -margin < low and high < margin, low >= margin or high <= -margin
    verdict: Verdict = "PASS" if inside else "FAIL" if outside else "INCONCLUSIVE"
    detail = f"90 % interval of the mean of {len(values)} seeds, margin {margin:g}{unit}"
    return _enough(Result(verdict, f"{mean:.4g}{unit}", (low, high), detail), len(values))


def every_seed(holds: Sequence[bool] | np.ndarray) -> Result:
    """SHAPE: the feature is there in every seed; the interval is that of its probability."""
    holds = np.asarray(holds, bool)
    count, total = int(holds.sum()), len(holds)
    verdict: Verdict = "PASS" if count == total else "FAIL"
    detail = f"{count} of {total} seeds, the interval that of the probability"
    return _enough(Result(verdict, f"{count}/{total}", share_interval(count, total), detail), total)


def in_bands(values: np.ndarray, reference: np.ndarray, names: Sequence[str], share: float = 0.8) -> Result:
    """BAND: of every quantity, `share` of the seeds lie between p5 and p95, and the mean within 3 sd / sqrt(n).

    Args:
      values: `(seeds, quantities)`.
      reference: `(quantities, 4)`: mean, standard deviation, 5th and 95th percentile of the reference sample.
      names: of the quantities.
    """
    mean, deviation, low, high = np.asarray(reference, float).T
    shares = ((values >= low) & (values <= high)).mean(0)
    offsets = np.abs(values.mean(0) - mean) / (deviation / np.sqrt(len(values)))
    ok = (shares >= share) & (offsets <= 3)
    worst, farthest = int(np.argmin(shares)), int(np.argmax(offsets))
    detail = (
        f"{int(ok.sum())} of {len(names)} quantities; smallest share {shares[worst]:.0%} ({names[worst]}), "
        f"largest offset of a mean {offsets[farthest]:.1f} standard errors ({names[farthest]})"
    )
    total = len(values)
    ends = share_interval(round(shares[worst] * total), total)
    return _enough(Result("PASS" if ok.all() else "FAIL", f"{shares[worst]:.0%} inside", ends, detail), total)


def shares_at_most(counts: np.ndarray, total: int, bounds: np.ndarray, names: Sequence[str]) -> Result:
    """The upper 95 % limit of every share is at most its bound; FAIL if the lower limit of one lies above it.

    Args:
      counts: `(quantities,)`, each out of `total` independent draws.
      total: number of draws.
      bounds: `(quantities,)`, of the shares.
      names: of the quantities.
    """
    intervals = [share_interval(int(count), total) for count in counts]
    ratios = np.array([high / bound for (_, high), bound in zip(intervals, bounds, strict=True)])
    worst = int(np.argmax(ratios))
    outside = any(low > bound for (low, _), bound in zip(intervals, bounds, strict=True))
    verdict: Verdict = "PASS" if ratios[worst] <= 1 else "FAIL" if outside else "INCONCLUSIVE"
    detail = f"{int(np.sum(ratios <= 1))} of {len(names)} below their bounds; the nearest is {names[worst]}"
    detail += f", {int(counts[worst])} of {total}, bound {bounds[worst]:.4g}"
    return Result(verdict, f"{counts[worst] / total:.4g}", intervals[worst], detail)


def matches(values: np.ndarray, expected: np.ndarray, names: Sequence[str], *, tolerance: float) -> Result:
    """No measured mean contradicts its expectation: all lie in the intervals, jointly 95 %, widened by a tolerance.

    The intervals share the error rate (Bonferroni). Few seeds make them wide, so a control has to show what the rule
    would notice.

    Args:
      values: `(seeds, quantities)`.
      expected: `(quantities,)`.
      names: of the quantities.
      tolerance: what the expectation itself may be off by, in the unit of the values.
    """
    intervals = [mean_interval(column, 1 - 0.05 / len(names)) for column in np.asarray(values, float).T]
    excess = [
        max(low - tolerance - target, target - high - tolerance)
        for (_, low, high), target in zip(intervals, expected, strict=True)
    ]
    inside, worst = sum(e <= 0 for e in excess), int(np.argmax(excess))
    mean, low, high = intervals[worst]
    place = "the nearest to the edge" if inside == len(names) else "the farthest outside"
    detail = (
        f"{inside} of {len(names)} inside; {place} is {names[worst]}: {mean:.4g} against "
        f"{expected[worst]:.4g}, tolerance {tolerance:g}"
    )
    verdict: Verdict = "PASS" if inside == len(names) else "FAIL"
    return _enough(Result(verdict, f"{inside}/{len(names)} as expected", (low, high), detail), len(values))


def predicts(values: Sequence[float] | np.ndarray, published: float, *, floor: float = 0.10, unit: str = "") -> Result:
    """PI: a single published value lies in the 95 % prediction interval of one more run; s is floored."""
    values = np.asarray(values, float)
    count = len(values)
    spread = max(float(values.std(ddof=1)) if count > 1 else 0.0, floor)
    half = float(stats.t.ppf(0.975, max(count - 1, 1)) * spread * np.sqrt(1 + 1 / count))
    low, high = float(values.mean()) - half, float(values.mean()) + half
    verdict: Verdict = "PASS" if low <= published <= high else "FAIL"
    detail = f"prediction interval of one run, from {count} seeds"
    return _enough(Result(verdict, f"{values.mean():.4g}{unit}", (low, high), detail), count)


def exact(value: float, expected: float, tolerance: float, unit: str = "") -> Result:
    """EXACT: a deterministic value within its tolerance; one run is enough."""
    verdict: Verdict = "PASS" if abs(value - expected) <= tolerance else "FAIL"
    return Result(
        verdict, f"{value:.6g}{unit}", (value, value), f"tolerance {tolerance:g}{unit} around {expected:g}{unit}"
    )


def _within(value: float, ends: Sequence[float], low: float, high: float, count: int, what: str, unit: str) -> Result:
    outside = ends[1] < low or ends[0] > high
    verdict: Verdict = "PASS" if low <= value <= high else "FAIL" if outside else "INCONCLUSIVE"
    return _enough(Result(verdict, f"{value:.4g}{unit}", (ends[0], ends[1]), what), count)


def _enough(result: Result, count: int) -> Result:
    if count >= MIN_SEEDS:
        return result
    return replace(result, verdict="INCONCLUSIVE", detail=f"{result.detail}; needs {MIN_SEEDS} seeds, got {count}")
