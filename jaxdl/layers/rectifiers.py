"""Rectifiers with a learned or a random slope."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import activations
from jaxdl.activations.functions import SlopeMode
from jaxdl.layers.noise import NoiseLayer


class PReLU(nn.Module):
    """Parametric ReLU with one learned slope per channel: `x` where x >= 0, `negative_slope * x` where x < 0.

    `flax.linen.PReLU` has one slope for the layer, which starts at 0.01. Weight decay would draw the slopes to 0, a
    plain ReLU: leave `"**/negative_slope"` out of it.

    Attributes:
      shared: one slope for all channels in place of one each.
      negative_slope_init: where every slope starts.
      param_dtype: of the parameter `negative_slope`, `(channels,)`, or `()` where it is shared.

    References:
      He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, section 2.1.
    """

    shared: bool = False
    negative_slope_init: float = 0.25
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Outputs in the shape and dtype of the inputs `(..., channels)`."""
        start = nn.initializers.constant(self.negative_slope_init)
        shape = () if self.shared else jnp.shape(inputs)[-1:]
        return activations.prelu(inputs, self.param("negative_slope", start, shape, self.param_dtype))


class RReLU(NoiseLayer):
    """Randomised leaky ReLU: a slope drawn for every activation in training, the mean one in evaluation.

    See `jaxdl.activations.rrelu` for the two conventions in use, which are not the same distribution.

    Attributes:
      lower: least slope.
      upper: greatest slope.
      mode: "slope" for a uniform slope, "divisor" for a uniform reciprocal.
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    mode: SlopeMode = "slope"

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return activations.rrelu(x, key=key, lower=self.lower, upper=self.upper, mode=self.mode)

    def _evaluate(self, x: jax.Array) -> jax.Array:
        return activations.rrelu(x, lower=self.lower, upper=self.upper, mode=self.mode)
