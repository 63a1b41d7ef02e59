"""The multi-layer perceptron of every lecture."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
    """`z_l = a_{l-1} W_l + b_l`, `a_l = activation(z_l)`; the last layer is linear, because losses take logits.

    Input `(batch, ...)` is flattened to `(batch, features)`; output `(batch, sizes[-1])`. The layers are named
    `Dense_0`, `Dense_1`, ... with a `kernel` of shape `(in, out)` and a `bias` of shape `(out,)`.

    Attributes:
      sizes: units of each layer, the output last: `(30, 30, 10)` has two hidden layers.
      activation: applied after every layer but the last.
      kernel_init: initializer of every kernel; Flax's default, a truncated LeCun normal.
      bias_init: initializer of every bias.
      dtype: of the computation; `None` infers it from input and parameters.
    """

    sizes: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, sizes[-1])` of inputs `(batch, ...)`."""
        if not self.sizes or any(size < 1 for size in self.sizes):
            raise ValueError(
                f"sizes: expected at least one positive number of units; got {tuple(self.sizes)}. "
                "Give the units of each layer, the output last, such as (30, 10)."
            )
        x = jnp.reshape(x, (jnp.shape(x)[0], -1))
        for i, size in enumerate(self.sizes):
            x = nn.Dense(size, kernel_init=self.kernel_init, bias_init=self.bias_init, dtype=self.dtype)(x)
            if i < len(self.sizes) - 1:
                x = self.activation(x)
        return x
