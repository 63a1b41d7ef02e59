"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.maxout_mlp import MaxoutMLP as MaxoutMLP
from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.perceptron import Perceptron as Perceptron
from jaxdl.models.mean_and_precision import MeanAndPrecision as MeanAndPrecision

__all__ = [
    "MLP",
    "MaxoutMLP",
    "MeanAndPrecision",
    "Perceptron",
]
