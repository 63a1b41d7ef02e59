"""What networks represent, what back-propagation computes, what a loss means."""

NAMES = (
    "representation",
    "backprop_cost",
    "ten_steps",
    "regression",
    "per_example",
    "saddle_points",
    "exact_checks",
)
