"""What makes training fast: activations, costs, rates, optimizers, normalization."""

NAMES = (
    "activations",
    "normalization",
    "batch_norm_figure",
    "layer_norm_batches",
    "reparametrized",
    "optimizers",
)
