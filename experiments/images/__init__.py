"""Classifiers of images, from a linear layer to convolutions."""

NAMES = (
    "baselines",
    "closed_forms",
    "permutation",
    "shifts",
    "relu_speed",
    "mlp_baselines",
    "book_convolutions",
    "cnn_baselines",
)
