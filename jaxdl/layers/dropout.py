"""Dropout whose rate may be a traced scalar."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class Dropout(nn.Dropout):
    """`flax.linen.Dropout`, of which the rate may also be an array or a traced scalar.

    Flax asks `rate == 0.0` in Python, which fails on a traced value; so a rate could not be one of the hyper-parameters
    of `jaxdl.training.run_many`. For a number this is Flax's layer itself. For a traced rate the mask is drawn whatever
    the rate is; a rate of 0 then still keeps every entry as it is, and a rate of 1 gives zeros with a gradient of zero.

    Attributes:
      rate: probability to DROP, in [0, 1].
      broadcast_dims: axes along which a mask is shared.
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream; `jaxdl.as_model` feeds "dropout".
    """

    def __call__(self, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None) -> jax.Array:
        """The inputs, masked and divided by `1 - rate`; themselves where `deterministic`.

        Args:
          inputs: floating-point array of any shape.
          deterministic: True in evaluation.
          rng: a key to use in place of the stream's next one.
        """
        if not isinstance(self.rate, jax.Array):
            return super().__call__(inputs, deterministic, rng)
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return inputs
        key = self.make_rng(self.rng_collection) if rng is None else rng
        shared = {axis % inputs.ndim for axis in self.broadcast_dims}
        shape = [1 if axis in shared else size for axis, size in enumerate(inputs.shape)]
        keep = 1 - self.rate
        mask = jnp.broadcast_to(jax.random.bernoulli(key, keep, shape), inputs.shape)
        # The inner choice is for the derivative, which inputs / 0 does not have.
        return jnp.where(mask, inputs / jnp.where(keep > 0, keep, 1).astype(inputs.dtype), jnp.zeros_like(inputs))
