"""What makes training fast: activations, costs, rates, optimizers, normalization."""

NAMES = (
    "activations",
    "normalization",
    "optimizers",
    "selu",
    "elu",
)
