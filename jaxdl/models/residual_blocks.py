"""The blocks of residual networks."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.layers import Residual

Shortcut = Literal["zeros", "projection", "none"]


class ConvNormStack(nn.Module):
    """Convolutions `conv1`, `conv2`, ..., each followed by its normalization `norm1`, ..., activations between.

    Attributes:
      shape: of each convolution, `(side of the filter, maps, stride)`.
      conv, norm: make a layer from a name and what else is given; `norm` may be None.
      activation: between the convolutions, and not after the last.
      last_scale_init: initializer of the last normalization's scale.
    """

    shape: Sequence[tuple[int, int, int]]
    conv: Callable[..., Any]
    norm: Callable[..., Any] | None
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    last_scale_init: nn.initializers.Initializer = nn.initializers.ones_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(batch, height, width, maps)` of `(batch, height, width, channels)`."""
        for i, (size, features, stride) in enumerate(self.shape, start=1):
            # Pairs, because SAME would put the odd zero of a stride at the end, and move what is seen by a pixel.
            around = [((size - 1) // 2, (size - 1) // 2)] * 2
            x = self.conv(features, (size, size), strides=stride, padding=around, name=f"conv{i}")(x)
            is_last = i == len(self.shape)
            if self.norm is not None:
                scale_init = self.last_scale_init if is_last else nn.initializers.ones_init()
                x = self.norm(features, scale_init=scale_init, name=f"norm{i}")(x)
            x = x if is_last else self.activation(x)
        return x


class Block(nn.Module):
    """`activation(shortcut(x) + branch(x))`, the branch two convolutions 3x3, or 1x1, 3x3, 1x1 for a bottleneck.

    Attributes:
      features: maps of the branch; a bottleneck ends in four times as many.
      stride: of the first convolution, or in a bottleneck of that which `stride_in` names.
      bottleneck: whether the branch is one.
      stride_in: "first" or "middle", the convolution of a bottleneck that strides.
      shortcut: where the shape changes: "zeros" drops pixels and adds maps of zeros, "projection" is a convolution
        1x1; "none" leaves all shortcuts out, which makes a plain network.
      conv, norm, activation, last_scale_init: see `ConvNormStack`.
    """

    features: int
    stride: int
    bottleneck: bool
    stride_in: str
    shortcut: Shortcut
    conv: Callable[..., Any]
    norm: Callable[..., Any] | None
    activation: Callable[[jax.Array], jax.Array]
    last_scale_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(batch, height, width, maps)` of `(batch, height, width, channels)`."""
        width, stride = self.features, self.stride
        shape: tuple[tuple[int, int, int], ...] = ((3, width, stride), (3, width, 1))
        if self.bottleneck:
            first, middle = (stride, 1) if self.stride_in == "first" else (1, stride)
            shape = ((1, width, first), (3, width, middle), (1, 4 * width, 1))
        branch = ConvNormStack(shape, self.conv, self.norm, self.activation, self.last_scale_init, name="branch")
        if self.shortcut == "none":
            return self.activation(branch(x))
        maps = shape[-1][1]
        projection: Any = None
        if stride != 1 or maps != x.shape[-1]:
            if self.shortcut == "projection":
                projection = ConvNormStack(((1, maps, stride),), self.conv, self.norm, name="projection")
            else:
                projection = lambda x: thinned(x, stride=stride, features=maps)  # noqa: E731
        return self.activation(Residual(branch, projection, name="residual")(x))


def thinned(x: jax.Array, *, stride: int, features: int) -> jax.Array:
    """Every `stride`-th row and column of maps, and maps of zeros after them until they are `features`."""
    kept = x[:, ::stride, ::stride]
    return jnp.pad(kept, [(0, 0)] * 3 + [(0, features - x.shape[-1])])
