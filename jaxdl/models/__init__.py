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
from jaxdl.models.recurrent import AdditiveAttention as AdditiveAttention
from jaxdl.models.recurrent import Captioner as Captioner
from jaxdl.models.recurrent import Decoder as Decoder
from jaxdl.models.recurrent import DecoderState as DecoderState
from jaxdl.models.recurrent import EncoderDecoder as EncoderDecoder
from jaxdl.models.recurrent import LayerNormGRUCell as LayerNormGRUCell
from jaxdl.models.recurrent import LayerNormLSTMCell as LayerNormLSTMCell
from jaxdl.models.recurrent import LayerNormSimpleCell as LayerNormSimpleCell
from jaxdl.models.recurrent import LSTMCell as LSTMCell
from jaxdl.models.recurrent import LuongAttention as LuongAttention
from jaxdl.models.recurrent import Memory as Memory
from jaxdl.models.recurrent import Recurrence as Recurrence
from jaxdl.models.recurrent import RecurrentNetwork as RecurrentNetwork
from jaxdl.models.recurrent import WeightNormCell as WeightNormCell
from jaxdl.models.recurrent import gnmt as gnmt
from jaxdl.models.recurrent import irnn as irnn
from jaxdl.models.recurrent import make_cell as make_cell
from jaxdl.models.resnet import ResNet as ResNet
from jaxdl.models.resnet import SmallResNet as SmallResNet
from jaxdl.models.vgg import VGG as VGG
from jaxdl.models.vgg import grow_vgg as grow_vgg

__all__ = [
    "MLP",
    "RBM",
    "VGG",
    "AdditiveAttention",
    "AlexNet",
    "Autoencoder",
    "Captioner",
    "ConvAutoencoder",
    "Decoder",
    "DecoderState",
    "DeepFace",
    "EncoderDecoder",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LayerNormSimpleCell",
    "LeNet5",
    "LuongAttention",
    "MaxoutMLP",
    "MeanAndPrecision",
    "Memory",
    "Perceptron",
    "Recurrence",
    "RecurrentNetwork",
    "ResNet",
    "SmallCNN",
    "SmallResNet",
    "WeightNormCell",
    "gnmt",
    "grow_vgg",
    "irnn",
    "make_cell",
]
