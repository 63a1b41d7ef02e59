"""What makes training fast: activations, costs, rates, optimizers, normalization."""

NAMES = (
    "activations",
    "normalization",
    "optimizers",
    "costs",
    "weight_scale",
    "learning_rate",
    "selu",
    "elu",
    "batch_norm_figure",
    "layer_norm_batches",
    "reparametrized",
)
