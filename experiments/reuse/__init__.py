"""Networks that learn from other networks."""

NAMES = (
    "transfer",
    "distillation",
    "pretraining",
)
