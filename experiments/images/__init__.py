"""Classifiers of images, from a linear layer to convolutions."""

NAMES = (
    "baselines",
    "book_convolutions",
    "cnn_baselines",
    "permutation",
    "shifts",
)
