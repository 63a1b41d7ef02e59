"""Local response normalization."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks


class LocalResponseNorm(nn.Module, kw_only=True):
    """`b_i = a_i / (k + alpha * sum_j a_j^2)^beta`, j the `size` channels around i, fewer at either end.

    Every position is normalized by itself, over its last axis; there are no parameters. Input and output
    `(..., channels)`. The squares are summed, and the power taken, in float32 at least.

    Elsewhere `alpha` means something else. `torch.nn.LocalResponseNorm` divides it by `size`: for the paper's layer it
    takes `alpha=5e-4`, and its own defaults are alpha 1e-4 and k 1. `tensorflow.nn.local_response_normalization` does
    not divide, but counts channels by `depth_radius = size // 2`, calls k `bias`, and has a radius of 5, k 1, alpha 1
    and beta 0.5 by default.

    Attributes:
      size: n, channels under the sum, an odd number >= 1.
      k: what is added to the sum, > 0.
      alpha: factor of the sum, >= 0.
      beta: exponent, >= 0.

    References:
      Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
      section 3.3, where the defaults are from.
    """

    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalized `(..., channels)` of `(..., channels)`."""
        checks.whole_number(size=self.size, minimum=1, remedy="The paper has 5.")
        if self.size % 2 == 0:
            raise ValueError(
                f"size: expected an odd number, as many channels on either side; got {self.size}. The paper has 5."
            )
        checks.number(k=self.k, minimum=0, exclusive=True, remedy="The paper has 2.")
        checks.number(alpha=self.alpha, minimum=0, remedy="The paper has 1e-4, which is not divided by size.")
        checks.number(beta=self.beta, minimum=0, remedy="The paper has 0.75.")
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        radius, channels = self.size // 2, x.shape[-1]
        padded = jnp.pad(jnp.square(wide), [(0, 0)] * (x.ndim - 1) + [(radius, radius)])
        summed = sum(padded[..., i : i + channels] for i in range(self.size))
        return (wide * (self.k + self.alpha * summed) ** -self.beta).astype(x.dtype)
