"""Where the verdicts draw their lines: every number in one place, each of them adjustable."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the verdicts; `dataclasses.replace(Thresholds(), shrinks_per_layer=0.3)` moves one.

    Attributes:
      shrinks_per_layer, grows_per_layer: mean factor per layer, towards the input, beyond which a gradient is said to
        vanish or to explode.
      shrinks_in_total, grows_in_total: the same from the last layer to the first.
      cancelled: an error signal this small beside the weight gradient is what rounding leaves of an exact zero.
      flat_curvature: an eigenvalue of at most this share of the largest magnitude is said to be flat; in float32
        rounding leaves about 1e-6 of an exact zero, more in a deep network.
      unresolved: an eigenvalue whose residual is more than this share of it is said not to be resolved.
      standard_errors: an estimate within this many of its standard errors of 0 has no sign.
      sampling_errors: a share this many standard errors from its expectation is said to differ.
      critical_gradient: the longest gradient of a point that is called critical.
      wide_basin, narrow_basin: mean increase of the loss under relative perturbations, up to which a basin is called
        wide, and from which on narrow.
    """

    shrinks_per_layer: float = 0.5
    grows_per_layer: float = 2.0
    shrinks_in_total: float = 0.01
    grows_in_total: float = 100.0
    cancelled: float = 1e-5
    flat_curvature: float = 1e-4
    unresolved: float = 0.01
    standard_errors: float = 2.0
    sampling_errors: float = 3.0
    critical_gradient: float = 1e-4
    wide_basin: float = 0.1
    narrow_basin: float = 1.0


DEFAULTS = Thresholds()
