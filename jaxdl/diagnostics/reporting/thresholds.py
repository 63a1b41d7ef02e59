"""Where the verdicts draw their lines: every number in one place, each of them adjustable."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the verdicts; `dataclasses.replace(Thresholds(), shrinks_per_layer=0.3)` moves one.

    Attributes:
      shrinks_per_layer, grows_per_layer: mean factor per layer, towards the input, beyond which a gradient is said to
        vanish or to explode; towards the output, the root mean square of a signal. A single step from one layer to
        the next counts as two, since its factor alone is no mean.
      shrinks_in_total, grows_in_total: the same from the last layer to the first.
      cancelled: an error signal this small beside the weight gradient is what rounding leaves of an exact zero.
      noisy_gradient: a mean gradient is told from noise where its square is this many times what noise alone has.
      dominant_example: share of the squared norms of a batch above which one example is named.
      far_from_noise_scale: a batch is small or large where it is this many times below or above the noise scale.
      uncertain_scale: a noise scale whose interval spans more than this factor is called uncertain.
      alike_gradients: mean cosine of two examples' gradients above which a batch is called alike.
      opposed_gradients, opposed_pairs: a batch is conflicting if more than this share of the pairs has a cosine below
        the first.
      concentrated_influence: share of the influence above which those that hold it, being less than that share of the
        examples, are said to decide.
      outlying_norm: factor of the median beyond which an example's gradient norm is said to stand out.
      isometry: singular values of a Jacobian between 1 / this and this are said to be near 1.
      idle_branch: share of a gradient through the branch of a residual block below which the branch is called idle.
      drowned_skip: share through the skip connection below which the branch is said to drown it.
      shrinks_through_time, grows_through_time: factor of a recurrent Jacobian product over the whole sequence beyond
        which the recurrence is said to vanish or to explode.
      stands_still: relative distance of a layer from its start below which it is said not to have moved.
      flat_curvature: an eigenvalue of at most this share of the largest magnitude is said to be flat; in float32
        rounding leaves about 1e-6 of an exact zero, more in a deep network. A spectral density of k Lanczos vectors,
        fewer than parameters, tells no eigenvalue from 0 within 1/k of its range, and calls it flat, too.
      unresolved: an eigenvalue whose residual is more than this share of it is said not to be resolved.
      standard_errors: an estimate within this many of its standard errors of 0 has no sign.
      sampling_errors: a share this many standard errors from its expectation is said to differ.
      critical_gradient: the longest gradient of a point that is called critical.
      wide_basin, narrow_basin: mean increase of the loss under relative perturbations, up to which a basin is called
        wide, and from which on narrow.
      saturated: share of entries with a small derivative above which a layer is called saturated. Half of ReLU's are
        0 in good health.
      alike: mean cosine of two examples' pre-activations above which a layer is said to tell them apart no longer.
      dead: share of dead units from which on a layer is named.
      stuck: the same of units that are saturated for every example.
      critical: distance of chi_1 to 1 up to which a random network is called critical.
    """

    shrinks_per_layer: float = 0.5
    grows_per_layer: float = 2.0
    shrinks_in_total: float = 0.01
    grows_in_total: float = 100.0
    cancelled: float = 1e-5
    noisy_gradient: float = 2.0
    dominant_example: float = 0.5
    far_from_noise_scale: float = 4.0
    uncertain_scale: float = 10.0
    alike_gradients: float = 0.5
    opposed_gradients: float = -0.5
    opposed_pairs: float = 0.1
    concentrated_influence: float = 0.5
    outlying_norm: float = 5.0
    isometry: float = 1.5
    idle_branch: float = 0.01
    drowned_skip: float = 0.1
    shrinks_through_time: float = 1e-3
    grows_through_time: float = 1e3
    stands_still: float = 1e-3
    flat_curvature: float = 1e-4
    unresolved: float = 0.01
    standard_errors: float = 2.0
    sampling_errors: float = 3.0
    critical_gradient: float = 1e-4
    wide_basin: float = 0.1
    narrow_basin: float = 1.0
    saturated: float = 0.8
    alike: float = 0.999
    dead: float = 0.1
    stuck: float = 0.1
    critical: float = 1e-3


DEFAULTS = Thresholds()


class Trend(NamedTuple):
    """What becomes of something from layer to layer: a word, a verb, the mean factor, and the row to look at."""

    word: str
    verb: str
    factor: float
    worst: int


def trend(ratios: np.ndarray, total: float, thresholds: Thresholds, *, slack: float = 1) -> Trend:
    """Judges positive factors from layer to layer, and that from end to end; `slack` widens the bounds per layer."""
    logs = np.log(np.asarray(ratios, np.float64))
    factor = float(np.exp(logs.mean())) if len(logs) else 1.0
    judged = float(np.exp(logs.sum() / max(2, len(logs))))
    if judged < thresholds.shrinks_per_layer**slack or total < thresholds.shrinks_in_total:
        word, verb, size = "vanishing", "shrinks", -logs
    elif judged > thresholds.grows_per_layer**slack or total > thresholds.grows_in_total:
        word, verb, size = "exploding", "grows", logs
    else:
        word, verb, size = "healthy", "changes", np.abs(logs)
    return Trend(word, verb, factor, int(np.argmax(size)) if len(logs) else 0)
