"""Why gradients vanish or explode, and what a start decides."""

NAMES = (
    "vanishing_gradient",
    "depth",
    "initialization",
    "signal",
    "glorot_training",
    "deep_rescue",
    "row_by_row",
    "very_deep",
    "linear_learning_time",
)
