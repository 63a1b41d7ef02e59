"""The half of an autoencoder or a Boltzmann machine that goes back to the inputs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype


class Decoder(nn.Module):
    """`h W' + c`, W' a parameter of its own or the transposed kernel of the encoder: `W' = W^T`.

    How many units it has is known only once the encoder has met its inputs, hence the argument `twin`.

    Attributes:
      tied: whether the encoder's kernel is used; there is a bias alone then.
      kernel_init: initializer of a kernel of its own.
      bias_init: initializer of the bias.
      dtype: of the computation; `None` infers it.
    """

    tied: bool = False
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    @nn.compact
    def __call__(self, hidden: jax.Array, twin: jax.Array) -> jax.Array:
        """Outputs `(batch, in)` of codes `(batch, out)`, for the encoder's kernel `twin`, `(in, out)`."""
        num_inputs, num_units = twin.shape
        if self.tied:
            kernel = twin.T
        else:
            kernel = self.param("kernel", self.kernel_init, (num_units, num_inputs), jnp.float32)
        bias = self.param("bias", self.bias_init, (num_inputs,), jnp.float32)
        hidden, kernel, bias = promote_dtype(hidden, kernel, bias, dtype=self.dtype)
        return hidden @ kernel + bias[None, :]


def kernel_of(encoder: nn.Module) -> jax.Array:
    """The kernel of a dense layer that has been called, or whose parameters were given."""
    return encoder.variables["params"]["kernel"]
