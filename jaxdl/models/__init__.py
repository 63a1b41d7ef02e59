"""Reference architectures of the lectures, as Flax Linen modules."""

from jaxdl.models.alexnet import AlexNet as AlexNet
from jaxdl.models.deepface import DeepFace as DeepFace
from jaxdl.models.lenet import LeNet5 as LeNet5
from jaxdl.models.lenet import SmallCNN as SmallCNN
from jaxdl.models.mlp import MLP as MLP
from jaxdl.models.resnet import ResNet as ResNet
from jaxdl.models.resnet import SmallResNet as SmallResNet
from jaxdl.models.vgg import VGG as VGG
from jaxdl.models.vgg import grow_vgg as grow_vgg

__all__ = ["MLP", "VGG", "AlexNet", "DeepFace", "LeNet5", "ResNet", "SmallCNN", "SmallResNet", "grow_vgg"]
