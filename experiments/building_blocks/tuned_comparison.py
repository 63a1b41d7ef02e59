"""Comparisons of training losses, each arm at a hyper-parameter that was chosen on seeds that are not judged."""

from collections.abc import Collection, Mapping

import numpy as np

from experiments.building_blocks.full_length import undecided
from experiments.harness import rules
from experiments.harness.claims import Result, Run

TUNING_SEEDS = 3


def judged(by_member: np.ndarray) -> np.ndarray:
    """What belongs to the seeds that had no part in tuning; the second axis holds the tuning seeds first."""
    return by_member[:, TUNING_SEEDS:]


def faster(losses: np.ndarray, others: np.ndarray, *, confidence: float = 0.95) -> Result:
    """ORD on the log ratio; a run whose loss is not finite counts as the worst there is."""
    largest = np.finfo(np.float64).max
    worst = lambda values: np.log(np.where(np.isfinite(values), values, largest))  # noqa: E731
    return rules.exceeds(worst(others) - worst(losses), 0.0, confidence=confidence)


def judge_faster(
    run: Run,
    name: str,
    other: str,
    losses: Mapping[str, np.ndarray],
    untuned: Collection[str],
    *,
    share: int = 1,
    where: str = "",
    remark: str = "",
) -> None:
    """Finds whether `name` reaches a lower training loss than `other`, paired by seed.

    Args:
      run: gets the finding.
      name, other: keys of `losses`, whose values are `(seeds,)`.
      losses: the judged training losses.
      untuned: arms whose best hyper-parameter is at an end of its grid; a comparison with one is inconclusive.
      share: comparisons that share the error rate (Bonferroni).
      where: on what, appended to the claim.
      remark: for the finding.
    """
    result = faster(losses[name], losses[other], confidence=1 - 0.05 / share)
    ends = [each for each in (name, other) if each in untuned]
    if ends:
        detail = f"the best rate of {' and '.join(ends)} is an end of the grid, so it is not tuned"
        result = undecided(result, detail)
    jointly = f" (95 % jointly over {share} comparisons)" if share > 1 else ""
    run.find(
        f"{name} reaches a lower training loss than {other} after the same number of updates{where}",
        f"lower 95 % limit of the mean of ln(loss of {other} / loss of {name}) above 0{jointly}",
        result,
        remark=remark,
    )
