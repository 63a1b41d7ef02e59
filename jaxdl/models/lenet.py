"""LeNet-5, and the small convolutional networks that came of it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
from flax import linen as nn

from jaxdl import checks, layers
from jaxdl.models.classifier_parts import check_classifier, dense_layers, halved


class LeNet5(nn.Module):
    """Convolution 5x5 of 6 maps, pooling, 5x5 of 16, pooling, dense 120, 84, `num_classes`.

    Input `(batch, height, width, channels)`: 32 x 32 pixels, or 28 x 28, to which two zeros are added on every side;
    any size of 16 or more will do. Output `(batch, num_classes)`, logits. At 32 x 32 x 1 the maps are 28 x 28 x 6,
    14 x 14 x 6, 10 x 10 x 16 and 5 x 5 x 16, and there are 61,706 parameters. The layers are `conv1`, `conv2`,
    `dense1`, `dense2` and `logits`, each followed by the activation but the last.

    This is how the network is read today. That of 1998 has a learned factor and bias for every pooled map, connects
    each of the 16 maps to some of the 6 only, and ends in radial basis functions.

    Attributes:
      num_classes: outputs.
      features: maps of the two convolutions.
      hidden: units of the hidden dense layers.
      activation: after every layer but the last.
      pool: "average", as in 1998, or "max".
      kernel_init: initializer of every kernel.
      dtype: of the computation; None infers it from input and parameters.

    References:
      LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998, section II.
    """

    num_classes: int = 10
    features: Sequence[int] = (6, 16)
    hidden: Sequence[int] = (120, 84)
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    pool: Literal["max", "average"] = "average"
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        checks.whole_numbers(features=self.features, length=2, remedy="They are the maps, (6, 16) in 1998.")
        check_classifier(hidden=self.hidden, num_classes=self.num_classes)
        checks.images(x, minimum=16, remedy="MNIST has 28; add the axes or pixels that are missing.")
        for i, features in enumerate(self.features):
            padding = 2 if i == 0 and x.shape[1:3] == (28, 28) else 0
            conv = nn.Conv(
                features, (5, 5), padding=padding, kernel_init=self.kernel_init, dtype=self.dtype, name=f"conv{i + 1}"
            )
            x = halved(self.activation(conv(x)), pool=self.pool)
        return dense_layers(
            x, hidden=self.hidden, num_classes=self.num_classes, activation=self.activation,
            dropout_rates=[0.0] * len(self.hidden), kernel_init=self.kernel_init, dtype=self.dtype,
        )  # fmt: skip


class SmallCNN(nn.Module):
    """Convolutions, pooling, dense layers; by default those of Keras's example for MNIST (99.25 % in 12 epochs).

    Input `(batch, height, width, channels)`, output `(batch, num_classes)`, logits. By default 3x3 of 32 maps, 3x3 of
    64, both without padding, max-pooling, dropout 1/4, dense 128, dropout 1/2, dense 10: 1,199,882 parameters at
    28 x 28 x 1. The layers are `conv1`, `conv2`, ..., `dense1`, ..., `logits`.

    Attributes:
      num_classes: outputs.
      features: maps of each convolution.
      kernel_size: side of every filter.
      padding: "VALID" or "SAME".
      pool: "max" or "average", of 2 x 2.
      pool_after: "last" pools once, after the last convolution, "each" after each.
      conv_dropout_rate: probability to DROP after the last pooling.
      hidden: units of the hidden dense layers; () for none.
      dropout_rate: probability to DROP after each hidden dense layer.
      activation: after every layer but the last.
      kernel_init: initializer of every kernel.
      dtype: of the computation; None infers it from input and parameters.

    Example:
      >>> from flax import linen as nn
      >>> keras_example = SmallCNN()
      >>> theano_tutorial = SmallCNN(features=(20, 50), kernel_size=5, pool_after="each", hidden=(500,),
      ...                            activation=nn.tanh, conv_dropout_rate=0.0, dropout_rate=0.0)
      >>> four_layers = SmallCNN(features=(32, 32, 64), padding="SAME", pool_after="each", hidden=(),
      ...                        conv_dropout_rate=0.0)
    """

    num_classes: int = 10
    features: Sequence[int] = (32, 64)
    kernel_size: int = 3
    padding: Literal["VALID", "SAME"] = "VALID"
    pool: Literal["max", "average"] = "max"
    pool_after: Literal["last", "each"] = "last"
    conv_dropout_rate: float = 0.25
    hidden: Sequence[int] = (128,)
    dropout_rate: float = 0.5
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        self._check(x)
        window = (self.kernel_size, self.kernel_size)
        for i, features in enumerate(self.features):
            conv = nn.Conv(
                features, window, padding=self.padding, kernel_init=self.kernel_init, dtype=self.dtype,
                name=f"conv{i + 1}",
            )  # fmt: skip
            x = self.activation(conv(x))
            if self.pool_after == "each" or i + 1 == len(self.features):
                x = halved(x, pool=self.pool)
        x = layers.Dropout(self.conv_dropout_rate, deterministic=not train)(x)
        return dense_layers(
            x, hidden=self.hidden, num_classes=self.num_classes, activation=self.activation,
            dropout_rates=[self.dropout_rate] * len(self.hidden), train=train, kernel_init=self.kernel_init,
            dtype=self.dtype,
        )  # fmt: skip

    def _check(self, x: jax.Array) -> None:
        checks.whole_numbers(features=self.features, remedy="They are the maps of each convolution, such as (32, 64).")
        checks.whole_number(kernel_size=self.kernel_size, minimum=1, remedy="It is the side of a filter, such as 3.")
        checks.one_of(padding=self.padding, among=["VALID", "SAME"], remedy="SAME keeps height and width.")
        checks.one_of(pool_after=self.pool_after, among=["last", "each"], remedy="last pools once.")
        check_classifier(
            hidden=self.hidden, num_classes=self.num_classes, conv_dropout_rate=self.conv_dropout_rate,
            dropout_rate=self.dropout_rate,
        )  # fmt: skip
        least = 1
        for i in reversed(range(len(self.features))):
            least *= 2 if self.pool_after == "each" or i + 1 == len(self.features) else 1
            least += self.kernel_size - 1 if self.padding == "VALID" else 0
        checks.images(x, minimum=least, remedy="Take fewer or smaller filters, padding='SAME', or larger images.")
