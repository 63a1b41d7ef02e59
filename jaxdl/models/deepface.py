"""DeepFace: locally connected layers on top of convolutions."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdl import checks, initializers
from jaxdl.models.classifier_parts import check_classifier, dense_layers


class DeepFace(nn.Module):
    """Convolution, max-pooling, convolution, three locally connected layers and two dense ones; ReLU throughout.

    Input `(batch, height, width, channels)`, output `(batch, num_classes)`, logits. At 152 x 152 x 3 the maps are
    142 x 142 x 32 (11x11), pooled 71 x 71, 63 x 63 x 16 (9x9), and locally connected 55 x 55 x 16 (9x9), 25 x 25 x 16
    (7x7 at every second position) and 21 x 21 x 16 (5x5). The least size is 71 x 71. The layers are `conv1`, `conv2`,
    `local1`, `local2`, `local3`, `dense1` and `logits`.

    A locally connected layer has filters of its own, and a bias of its own, at every position: for aligned faces, where
    eyes and mouth are at known places. They and the dense layers have 99.96 % of the 118,923,774 parameters; the paper
    says more than 120 million of the very shapes that it prints, which make 1 % less.

    Attributes:
      num_classes: outputs; 4,030 people in the paper.
      features: maps of the two convolutions and the three locally connected layers.
      hidden: units of the hidden dense layers, one in the paper.
      dropout_rate: probability to DROP after each hidden dense layer.
      kernel_init: initializer of every kernel, for the locally connected ones at every position by itself.
      dtype: of the computation; None infers it from input and parameters.

    References:
      Taigman, Yang, Ranzato, Wolf, "DeepFace: closing the gap to human-level performance in face verification", 2014,
      section 3.
    """

    num_classes: int = 4030
    features: Sequence[int] = (32, 16, 16, 16, 16)
    hidden: Sequence[int] = (4096,)
    dropout_rate: float = 0.5
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        checks.whole_numbers(features=self.features, length=5, remedy="They are the maps of the five spatial layers.")
        check_classifier(hidden=self.hidden, num_classes=self.num_classes, dropout_rate=self.dropout_rate)
        checks.images(x, minimum=71, remedy="The paper's are 152 x 152; enlarge yours by jax.image.resize.")
        for i, (features, size) in enumerate(zip(self.features[:2], (11, 9), strict=True)):
            conv = nn.Conv(
                features, (size, size), padding="VALID", kernel_init=self.kernel_init, dtype=self.dtype,
                name=f"conv{i + 1}",
            )  # fmt: skip
            x = nn.relu(conv(x))
            if i == 0:
                x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for i, (features, size, stride) in enumerate(zip(self.features[2:], (9, 7, 5), (1, 2, 1), strict=True)):
            local = nn.ConvLocal(
                features, (size, size), strides=stride, padding="VALID", dtype=self.dtype, name=f"local{i + 1}",
                kernel_init=initializers.per_position(self.kernel_init),
            )  # fmt: skip
            x = nn.relu(local(x))
        return dense_layers(
            x, hidden=self.hidden, num_classes=self.num_classes, dropout_rates=[self.dropout_rate] * len(self.hidden),
            train=train, kernel_init=self.kernel_init, dtype=self.dtype,
        )  # fmt: skip
