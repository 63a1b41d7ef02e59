"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.autoencoder import Autoencoder as Autoencoder
from jaxdl.models.autoencoder import ConvAutoencoder as ConvAutoencoder
from jaxdl.models.maxout_mlp import MaxoutMLP as MaxoutMLP
from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.perceptron import Perceptron as Perceptron
from jaxdl.models.rbm import RBM as RBM

__all__ = ["MLP", "RBM", "Autoencoder", "ConvAutoencoder", "MaxoutMLP", "Perceptron"]
