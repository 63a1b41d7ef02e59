"""Residual networks for small images and for those of ImageNet, and the plain networks beside them."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks, initializers
from jaxdl.models.residual_blocks import Block, Shortcut

# Blocks in each of the four stages, and whether they are bottlenecks.
_IMAGENET: dict[int, tuple[tuple[int, ...], bool]] = {
    10: ((1, 1, 1, 1), False),
    14: ((1, 1, 1, 1), True),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
_GROUP_SIZE = 16
_NORMS = ("batch", "group", None)
_SHORTCUTS = ("zeros", "projection", "none")


class _ResidualNetwork(nn.Module, kw_only=True):
    """The attributes and the stages that both kinds share."""

    normalization: Literal["batch", "group"] | None = "batch"
    momentum: float = 0.9
    zero_last_scale: bool = False
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    kernel_init: nn.initializers.Initializer = initializers.he_normal()
    dtype: Any = None

    def _check(self, x: jax.Array, *, features: Sequence[int], length: int, num_classes: int, shortcut: str) -> None:
        checks.whole_numbers(features=features, length=length, remedy="They are the maps in each stage.")
        checks.whole_number(num_classes=num_classes, minimum=1, remedy="It is the number of outputs.")
        checks.one_of(shortcut=shortcut, among=_SHORTCUTS, remedy="none makes a plain network.")
        checks.one_of(normalization=self.normalization, among=_NORMS, remedy="group keeps examples apart.")
        checks.number(momentum=self.momentum, minimum=0, maximum=1, remedy="It weighs the OLD value; 0.9 is usual.")
        if self.zero_last_scale and (self.normalization is None or shortcut == "none"):
            raise ValueError(
                "zero_last_scale: expected False without normalization, where there is no scale, and in a plain "
                f"network, where nothing would come through; got True with normalization={self.normalization!r} and "
                f"shortcut={shortcut!r}. Leave it out."
            )
        checks.images(x, minimum=1, remedy="Add the axes that are missing.")
        if shortcut == "zeros" and any(later < earlier for earlier, later in itertools.pairwise(features)):
            raise ValueError(
                f"features: expected maps that do not get fewer, since zeros can only be added to them; "
                f"got {tuple(features)}. Use shortcut='projection'."
            )

    def _makers(self, train: bool) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module] | None]:
        """What makes convolutions and normalizations; no methods, which Flax would bind to this module's scope."""
        conv = partial(nn.Conv, use_bias=self.normalization is None, kernel_init=self.kernel_init, dtype=self.dtype)
        if self.normalization == "batch":
            return conv, partial(_batch_norm, use_running_average=not train, momentum=self.momentum, dtype=self.dtype)
        return conv, None if self.normalization is None else partial(_group_norm, dtype=self.dtype)

    def _stem(self, x: jax.Array, features: int, size: int, stride: int, train: bool) -> jax.Array:
        around = [((size - 1) // 2, (size - 1) // 2)] * 2
        conv, norm = self._makers(train)
        x = conv(features, (size, size), strides=stride, padding=around, name="stem_conv")(x)
        if norm is not None:
            x = norm(features, name="stem_norm")(x)
        return self.activation(x)

    def _stages(
        self, x: jax.Array, *, counts: Sequence[int], features: Sequence[int], bottleneck: bool, stride_in: str,
        shortcut: Shortcut, train: bool,
    ) -> jax.Array:  # fmt: skip
        last_scale_init = nn.initializers.zeros_init() if self.zero_last_scale else nn.initializers.ones_init()
        conv, norm = self._makers(train)
        for i, (count, width) in enumerate(zip(counts, features, strict=True), start=1):
            for j in range(1, count + 1):
                block = Block(
                    width, 2 if i > 1 and j == 1 else 1, bottleneck, stride_in, shortcut, conv, norm,
                    self.activation, last_scale_init, name=f"stage{i}_block{j}",
                )  # fmt: skip
                x = block(x)
        return x

    def _logits(self, x: jax.Array, num_classes: int) -> jax.Array:
        dense = nn.Dense(num_classes, kernel_init=self.kernel_init, dtype=self.dtype, name="logits")
        return dense(jnp.mean(x, (1, 2)))


def _batch_norm(features: int, **options: Any) -> nn.Module:
    return nn.BatchNorm(epsilon=1e-5, **options)


def _group_norm(features: int, **options: Any) -> nn.Module:
    return nn.GroupNorm(num_groups=None, group_size=math.gcd(features, _GROUP_SIZE), epsilon=1e-5, **options)


class SmallResNet(_ResidualNetwork):
    """The residual network for images of 28 or 32 pixels: 3x3 convolutions in three stages, mean over pixels, logits.

    Input `(batch, height, width, channels)` of any size, output `(batch, num_classes)`. Depth 6n + 2: a convolution, n
    blocks of two convolutions in each stage, of which the second and third start with a stride of 2, and a dense layer.
    The layers are `stem_conv`, `stem_norm`, `stage1_block1/branch/conv1`, ..., `stage3_block3/branch/norm2`, `logits`,
    with projections also `stage2_block1/projection/conv1`.

    Parameters for 3 channels, 10 classes and shortcuts of zeros, and as the paper rounds them: 20 layers 269,722
    (0.27 M), 32: 464,154 (0.46 M), 44: 658,586 (0.66 M), 56: 853,018 (0.85 M), 110: 1,727,962 (1.7 M).

    Attributes:
      depth: weight layers, 6n + 2: 8, 14, 20, ..., 110.
      num_classes: outputs.
      features: maps in each stage.
      shortcut: where the shape changes: "zeros" (the paper's option A) adds maps of zeros to every second row and
        column, "projection" (option B) is a convolution 1x1 with its normalization; "none" leaves out all shortcuts:
        the plain network.
      normalization: "batch"; "group", of 16 maps or their greatest divisor in common with 16, which keeps examples
        apart, so that gradients of examples are exact; None, with biases in the convolutions.
      momentum: of batch normalization's running averages; it weighs the OLD value.
      zero_last_scale: whether the last scale in each block starts at 0, and the block as `activation(shortcut(x))`.
      activation: after each addition and inside the blocks.
      kernel_init: initializer of every kernel; N(0, 2 / fan_in), the paper's.
      dtype: of the computation; None infers it from input and parameters.

    References:
      He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015, section 4.2.
      Goyal et al., "Accurate, large minibatch SGD", 2017, section 5.1, for `zero_last_scale`.
    """

    depth: int = 20
    num_classes: int = 10
    features: Sequence[int] = (16, 32, 64)
    shortcut: Shortcut = "zeros"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        checks.whole_number(depth=self.depth, minimum=8, remedy="It is 6n + 2, such as 20.")
        if self.depth % 6 != 2:
            raise ValueError(
                f"depth: expected 6n + 2, n blocks of two layers in each of three stages; got {self.depth}. "
                f"Use {self.depth - (self.depth - 2) % 6}."
            )
        self._check(x, features=self.features, length=3, num_classes=self.num_classes, shortcut=self.shortcut)
        x = self._stem(x, self.features[0], 3, 1, train)
        x = self._stages(
            x, counts=[self.depth // 6] * 3, features=self.features, bottleneck=False, stride_in="first",
            shortcut=self.shortcut, train=train,
        )  # fmt: skip
        return self._logits(x, self.num_classes)


class ResNet(_ResidualNetwork):
    """The residual network for images of ImageNet: 7x7 convolution, 3x3 max-pooling, four stages, mean, logits.

    Input `(batch, height, width, channels)` of any size, 224 x 224 x 3 in the paper; output `(batch, num_classes)`.
    Blocks have two convolutions 3x3 at depth 18 and 34, and are bottlenecks (1x1, 3x3, 1x1) at 50, 101 and 152. Depths
    10 and 14, which are not in the paper, have one block a stage, of the first and the second kind. The layers are
    `stem_conv`, `stem_norm`, `stage1_block1/branch/conv1`, ..., `stage1_block1/projection/conv1`, ..., `logits`.

    Parameters for 3 channels and 1,000 classes: 18 layers 11,689,512, 34: 21,797,672, 50: 25,557,032,
    101: 44,549,160, 152: 60,192,808.

    Attributes:
      depth: weight layers: 18, 34, 50, 101 or 152; 10 or 14 for a trial.
      num_classes: outputs.
      features: maps of the branches in each stage; bottlenecks end in four times as many.
      shortcut, normalization, momentum, zero_last_scale, activation, kernel_init, dtype: as for `SmallResNet`.
      stride_in: the convolution of a bottleneck that strides: "first", as in the paper, or "middle", as in the
        implementations of most published weights. It does not change the parameters.

    References:
      He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015, section 4.1 and table 1.
    """

    depth: int = 50
    num_classes: int = 1000
    features: Sequence[int] = (64, 128, 256, 512)
    shortcut: Shortcut = "projection"
    stride_in: Literal["first", "middle"] = "first"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, num_classes)` of images `(batch, height, width, channels)`."""
        checks.one_of(depth=self.depth, among=list(_IMAGENET), remedy="For small images use SmallResNet.")
        checks.one_of(stride_in=self.stride_in, among=["first", "middle"], remedy="first is the paper's.")
        self._check(x, features=self.features, length=4, num_classes=self.num_classes, shortcut=self.shortcut)
        counts, bottleneck = _IMAGENET[self.depth]
        x = self._stem(x, self.features[0], 7, 2, train)
        around: Any = [(1, 1), (1, 1)]
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=around)
        x = self._stages(
            x, counts=counts, features=self.features, bottleneck=bottleneck, stride_in=self.stride_in,
            shortcut=self.shortcut, train=train,
        )  # fmt: skip
        return self._logits(x, self.num_classes)
