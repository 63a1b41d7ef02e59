"""Networks that learn from other networks."""

NAMES = (
    "transfer",
    "distillation",
    "frozen_transfer",
    "pretraining",
)
