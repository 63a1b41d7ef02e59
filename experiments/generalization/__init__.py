"""Doing well on new data: overfitting and its cures."""

NAMES = (
    "overfitting",
    "ensembles",
    "data_size",
    "weight_decay",
    "dropout",
    "dropout_curves",
    "batch_size",
    "maxout",
    "early_stopping",
)
