"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.mean_and_precision import MeanAndPrecision as MeanAndPrecision
from jaxdl.models.mlp import MLP as MLP

__all__ = ["MLP", "MeanAndPrecision"]
