"""AlexNet."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdl import checks, layers
from jaxdl.models.classifier_parts import check_classifier, dense_layers


class AlexNet(nn.Module):
    """Five convolutions, the first two normalized and pooled, the last pooled, and three dense layers with dropout.

    Input `(batch, height, width, channels)`, output `(batch, num_classes)`, logits; ReLU throughout. At 227 x 227 x 3
    the maps are 55 x 55 x 96 and pooled 27 x 27, 27 x 27 x 256 and pooled 13 x 13, 13 x 13 x 384 twice,
    13 x 13 x 256 and pooled 6 x 6; there are 60,965,224 parameters, or 62,378,344 without groups. (The paper says 224
    pixels, for which its own stride gives no whole number.) The least size is 67 x 67. The layers are `conv1` to
    `conv5`, `norm1`, `norm2`, `dense1`, `dense2` and `logits`.

    The second, fourth and fifth convolution are in two groups, of which each saw only the maps on its own processor in
    2012; here the normalization sums across the border between them. Pooling overlaps: 3 x 3 at every second position.

    Attributes:
      num_classes: outputs.
      features: maps of the five convolutions.
      hidden: units of the hidden dense layers.
      groups: of the second, fourth and fifth convolution; 1 for none.
      local_response_norm: whether the first two convolutions are normalized.
      dropout_rate: probability to DROP after each hidden dense layer.
      kernel_init: initializer of every kernel; the paper's is N(0, 0.01^2).
      positive_bias: where the biases of the second, fourth and fifth convolution and of the hidden dense layers start;
        the others start at 0.
      dtype: of the computation; None infers it from input and parameters.

    References:
      Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """

    num_classes: int = 1000
    features: Sequence[int] = (96, 256, 384, 384, 256)
    hidden: Sequence[int] = (4096, 4096)
    groups: int = 2
    local_response_norm: bool = True
    dropout_rate: float = 0.5
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.01)
    positive_bias: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        self._check(x)
        for i, features in enumerate(self.features):
            alone = i in (0, 2)  # the third sees the maps of both processors
            conv = nn.Conv(
                features,
                ((11, 11), (5, 5), (3, 3), (3, 3), (3, 3))[i],
                strides=4 if i == 0 else 1,
                padding="VALID" if i == 0 else "SAME",
                feature_group_count=1 if alone else self.groups,
                kernel_init=self.kernel_init,
                bias_init=nn.initializers.constant(0.0 if alone else self.positive_bias),
                dtype=self.dtype,
                name=f"conv{i + 1}",
            )
            x = nn.relu(conv(x))
            if i < 2 and self.local_response_norm:
                x = layers.LocalResponseNorm(name=f"norm{i + 1}")(x)
            if i in (0, 1, 4):
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
        return dense_layers(
            x, hidden=self.hidden, num_classes=self.num_classes, dropout_rates=[self.dropout_rate] * len(self.hidden),
            train=train, kernel_init=self.kernel_init, hidden_bias=self.positive_bias, dtype=self.dtype,
        )  # fmt: skip

    def _check(self, x: jax.Array) -> None:
        checks.whole_numbers(features=self.features, length=5, remedy="They are the maps of the five convolutions.")
        checks.whole_number(groups=self.groups, minimum=1, remedy="The paper has 2; 1 for none.")
        if any(features % self.groups for features in self.features):
            raise ValueError(
                f"groups: expected a divisor of all features {tuple(self.features)}; got {self.groups}. "
                "Use 1, or multiples of it for the features."
            )
        checks.number(positive_bias=self.positive_bias, minimum=0, remedy="The paper has 1.")
        check_classifier(hidden=self.hidden, num_classes=self.num_classes, dropout_rate=self.dropout_rate)
        checks.images(x, minimum=67, remedy="ImageNet's are 227 x 227 here; enlarge yours by jax.image.resize.")
