"""Tiny instances of the convolutional models."""

import numpy as np

from jaxdl import initializers, models
from tests.models.cases import NUM_EXAMPLES, Case, classifier

_DRAWS = np.random.RandomState(0)
_LABELS = _DRAWS.randint(0, 3, NUM_EXAMPLES).astype(np.int32)
_BATCH_NORM = "reduces over"


def _images(side: int, channels: int) -> np.ndarray:
    return _DRAWS.rand(NUM_EXAMPLES, side, side, channels).astype(np.float32)


def _case(module: object, side: int, channels: int = 1, *, mixes: str | None = None) -> Case:
    return classifier(module, _images(side, channels), _LABELS, mixes=mixes)


_THREE = dict(num_classes=3)
_HE = initializers.he_normal()  # N(0, 0.01^2) leaves nothing to see in networks this narrow
CASES: dict[str, Case] = {
    "lenet5": _case(models.LeNet5(features=(2, 3), hidden=(6, 5), **_THREE), 16),
    "small_cnn": _case(models.SmallCNN(features=(3, 4), hidden=(6,), **_THREE), 8),
    "small_cnn_without_dropout": _case(
        models.SmallCNN(features=(3, 4), pool_after="each", padding="SAME", conv_dropout_rate=0.0, hidden=(), **_THREE),
        8,
    ),
    "alexnet": _case(models.AlexNet(features=(4, 4, 6, 6, 4), hidden=(6, 5), kernel_init=_HE, **_THREE), 67),
    "vgg_a_lrn": _case(models.VGG("A-LRN", features=(2, 3, 3, 4, 4), hidden=(6, 5), kernel_init=_HE, **_THREE), 32),
    "vgg_c": _case(models.VGG("C", features=(2, 3, 3, 4, 4), hidden=(6, 5), kernel_init=_HE, **_THREE), 32),
    "deepface": _case(models.DeepFace(features=(2, 2, 2, 2, 2), hidden=(6,), **_THREE), 71),
    "small_resnet": _case(models.SmallResNet(depth=8, features=(4, 6, 8), **_THREE), 8, 3, mixes=_BATCH_NORM),
    "small_resnet_group": _case(
        models.SmallResNet(depth=8, features=(4, 6, 8), normalization="group", shortcut="projection", **_THREE), 8, 3
    ),
    "small_resnet_plain": _case(
        models.SmallResNet(depth=8, features=(4, 6, 8), normalization=None, shortcut="none", **_THREE), 8, 3
    ),
    "resnet10": _case(models.ResNet(depth=10, features=(4, 4, 6, 6), **_THREE), 32, 3, mixes=_BATCH_NORM),
    "resnet14_group": _case(
        models.ResNet(depth=14, features=(2, 2, 3, 3), normalization="group", zero_last_scale=True, **_THREE), 32, 3
    ),
}
