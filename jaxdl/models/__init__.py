"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.alexnet import AlexNet as AlexNet
from jaxdl.models.autoencoder import Autoencoder as Autoencoder
from jaxdl.models.autoencoder import ConvAutoencoder as ConvAutoencoder
from jaxdl.models.deepface import DeepFace as DeepFace
from jaxdl.models.lenet import LeNet5 as LeNet5
from jaxdl.models.lenet import SmallCNN as SmallCNN
from jaxdl.models.maxout_mlp import MaxoutMLP as MaxoutMLP
from jaxdl.models.mean_and_precision import MeanAndPrecision as MeanAndPrecision
from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.perceptron import Perceptron as Perceptron
from jaxdl.models.rbm import RBM as RBM
from jaxdl.models.resnet import ResNet as ResNet
from jaxdl.models.resnet import SmallResNet as SmallResNet
from jaxdl.models.vgg import VGG as VGG
from jaxdl.models.vgg import grow_vgg as grow_vgg

__all__ = [
    "MLP",
    "RBM",
    "VGG",
    "AlexNet",
    "Autoencoder",
    "ConvAutoencoder",
    "DeepFace",
    "LeNet5",
    "MaxoutMLP",
    "MeanAndPrecision",
    "Perceptron",
    "ResNet",
    "SmallCNN",
    "SmallResNet",
    "grow_vgg",
]
