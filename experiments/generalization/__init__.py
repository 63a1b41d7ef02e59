"""Doing well on new data: overfitting and its cures."""

NAMES = (
    "overfitting",
    "ensembles",
    "dropout",
    "dropout_curves",
    "batch_size",
    "maxout",
    "early_stopping",
)
