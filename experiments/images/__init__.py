"""Classifiers of images, from a linear layer to convolutions."""

NAMES = (
    "baselines",
    "permutation",
    "shifts",
    "relu_speed",
    "mlp_baselines",
)
