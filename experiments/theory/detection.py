"""How well a score finds the flagged examples: the ROC curve and the area under it."""

import numpy as np
from scipy.stats import rankdata


def area(scores: np.ndarray, flags: np.ndarray) -> float:
    """The area under the ROC curve: the probability that a flagged example scores above another, ties half.

    Raises:
      ValueError: all or none of the examples are flagged.
    """
    flags = np.asarray(flags, bool)
    flagged, others = int(flags.sum()), int((~flags).sum())
    if not flagged or not others:
        raise ValueError(f"flags: expected some examples flagged and some not; got {flagged} of {len(flags)}.")
    above = rankdata(scores)[flags].sum() - flagged * (flagged + 1) / 2
    return float(above / (flagged * others))


def curve(scores: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(false alarms, found)`, each a share from 0 to 1, as the bound on the score falls; ties fall together."""
    flags = np.asarray(flags, bool)
    order = np.argsort(-np.asarray(scores), kind="stable")
    last = np.append(np.diff(np.asarray(scores)[order]) != 0, True)
    found, alarms = np.cumsum(flags[order])[last], np.cumsum(~flags[order])[last]
    return np.append(0, alarms) / (~flags).sum(), np.append(0, found) / flags.sum()
