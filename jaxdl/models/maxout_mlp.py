"""Layers of maxout units."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.layers import Maxout
from jaxdl.models.mlp import check_sizes, dropped, each_layer


class MaxoutMLP(nn.Module):
    """`a_l = max_k (a_{l-1} W_(l,k) + b_(l,k))` in every hidden layer; the last layer is linear.

    Input `(batch, ...)` is flattened; output `(batch, sizes[-1])`. The layers are `Maxout_0`, ..., whose one kernel has
    the shape `(in, units * pieces)`, and `Dense_0`.
    The network of the paper for MNIST: `MaxoutMLP((240, 240, 10), pieces=5, dropout_rate=0.5,
    input_dropout_rate=0.2, kernel_init=symmetric uniform +-0.005)`, trained under `jaxdl.optimizers.max_norm`.

    Attributes:
      sizes: units of each layer, the output last.
      pieces: affine pieces of each hidden unit.
      kernel_init: initializer of every kernel.
      bias_init: initializer of every bias.
      dtype: of the computation; None infers it from input and parameters.
      dropout_rate: probability to DROP a hidden activation; a sequence has one for each hidden layer.
      input_dropout_rate: probability to drop an input.

    Raises:
      ValueError: when called: sizes or pieces that make no network.

    References:
      Goodfellow et al., "Maxout networks", 2013, sections 3 and 5.1.
    """

    sizes: Sequence[int]
    pieces: int = 2
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    dropout_rate: Any = 0.0
    input_dropout_rate: Any = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, sizes[-1])` of inputs `(batch, ...)`; `train` is the mode of dropout."""
        check_sizes(self.sizes)
        rates = each_layer(len(self.sizes) - 1, dropout_rate=self.dropout_rate)
        options: dict[str, Any] = {"kernel_init": self.kernel_init, "bias_init": self.bias_init, "dtype": self.dtype}
        x = dropped(jnp.reshape(x, (jnp.shape(x)[0], -1)), self.input_dropout_rate, train)
        for size, rate in zip(self.sizes[:-1], rates, strict=True):
            x = dropped(Maxout(size, pieces=self.pieces, **options)(x), rate, train)
        return nn.Dense(self.sizes[-1], **options)(x)
