"""Where the verdicts draw their lines: every number in one place, each of them adjustable."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the verdicts; `dataclasses.replace(Thresholds(), shrinks_per_layer=0.3)` moves one.

    Attributes:
      shrinks_per_layer, grows_per_layer: mean factor per layer, towards the input, beyond which a gradient is said to
        vanish or to explode; towards the output, the root mean square of a signal.
      shrinks_in_total, grows_in_total: the same from the last layer to the first.
      cancelled: an error signal this small beside the weight gradient is what rounding leaves of an exact zero.
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
    saturated: float = 0.8
    alike: float = 0.999
    dead: float = 0.1
    stuck: float = 0.1
    critical: float = 1e-3


DEFAULTS = Thresholds()
