"""Maxout units."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import activations, checks


class Maxout(nn.Module):
    """`h_i = max_k (x . w_(i, k) + b_(i, k))` over k = 1 ... pieces: a dense layer and `jaxdl.activations.maxout`.

    Input `(..., in)`, output `(..., features)`. The parameters are those of one dense layer, `Dense_0`, with a kernel
    `(in, features * pieces)`: unit i owns the columns `i * pieces ... (i + 1) * pieces - 1`. A convolutional maxout is
    `activations.maxout(nn.Conv(features * pieces, ...)(x), pieces=pieces)`.

    Attributes:
      features: units.
      pieces: affine pieces of each unit; with 1 the layer is linear. The number of parameters grows with it.
      use_bias: whether every piece has a bias.
      dtype: of the computation; None infers it from input and parameters.
      param_dtype: of the parameters.
      precision: of the matrix product.
      kernel_init: initializer of the kernel; one that looks at fan_out sees `features * pieces`.
      bias_init: initializer of the bias.

    References:
      Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks", 2013, section 3.
    """

    features: int
    pieces: int = 2
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Activations `(..., features)` of inputs `(..., in)`."""
        checks.whole_number(features=self.features, minimum=1, remedy="It is the number of units.")
        checks.whole_number(pieces=self.pieces, minimum=1, remedy="The lectures use 2.")
        dense = nn.Dense(
            self.features * self.pieces, use_bias=self.use_bias, dtype=self.dtype, param_dtype=self.param_dtype,
            precision=self.precision, kernel_init=self.kernel_init, bias_init=self.bias_init, name="Dense_0",
        )  # fmt: skip
        return activations.maxout(dense(x), pieces=self.pieces)
