"""Noise layers with the interface of `flax.linen.Dropout`, over the functions of `jaxdl.regularizers`."""

import jax
from flax import linen as nn

from jaxdl.regularizers import noise


class NoiseLayer(nn.Module, kw_only=True):
    """What noise layers share: the flag `deterministic`, as an attribute or an argument, and the random stream.

    Attributes:
      deterministic: True in evaluation; given here or in the call, not in both.
      rng_collection: name of the random stream; `jaxdl.as_model` feeds "dropout".
    """

    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None, rng: jax.Array | None = None) -> jax.Array:
        """The inputs with noise, in their shape and dtype; their form for evaluation where `deterministic`.

        Args:
          inputs: floating-point array of any shape.
          deterministic: True in evaluation.
          rng: a key to use in place of the stream's next one.
        """
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return self._evaluate(inputs)
        if self._is_silent():  # then no stream is asked for, as in flax.linen.Dropout
            return inputs
        key = self.make_rng(self.rng_collection) if rng is None else rng
        is_typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
        return self._train(key if is_typed else jax.random.wrap_key_data(key), inputs)

    def _is_silent(self) -> bool:
        return False

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _evaluate(self, x: jax.Array) -> jax.Array:
        return x


class _Dropping(NoiseLayer):
    rate: float

    def _is_silent(self) -> bool:
        return _is_zero(self.rate)


class ClassicDropout(_Dropping):
    """Dropout as first published: a mask in training, `(1 - rate) * x` in evaluation.

    See `jaxdl.regularizers.classic_dropout`; `flax.linen.Dropout` scales in training instead.

    Attributes:
      rate: probability to drop, in [0, 1).
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.
    """

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return noise.classic_dropout(key, x, rate=self.rate)

    def _evaluate(self, x: jax.Array) -> jax.Array:
        return noise.classic_dropout(None, x, rate=self.rate)


class MaskingNoise(_Dropping):
    """Sets a fraction of the entries to 0 in training, and scales nothing: the corruption of denoising autoencoders.

    The training form of `jaxdl.regularizers.classic_dropout`; evaluation leaves the inputs as they are.

    Attributes:
      rate: probability to set an entry to 0, in [0, 1).
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.

    References:
      Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010, section 3.3.
    """

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return noise.classic_dropout(key, x, rate=self.rate)


class GaussianDropout(_Dropping):
    """Multiplies by N(1, rate / (1 - rate)) in training; see `jaxdl.regularizers.gaussian_dropout`.

    Attributes:
      rate: the drop probability of the Bernoulli dropout with the same variance, in [0, 1).
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.
    """

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return noise.gaussian_dropout(key, x, rate=self.rate)


class AlphaDropout(_Dropping):
    """The dropout of SELU networks, which keeps mean 0 and variance 1; see `jaxdl.regularizers.alpha_dropout`.

    Attributes:
      rate: probability to drop, in [0, 1).
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.
    """

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return noise.alpha_dropout(key, x, rate=self.rate)


class GaussianNoise(NoiseLayer):
    """Adds N(0, stddev^2) in training, to the input or to hidden activations; see `jaxdl.regularizers.gaussian_noise`.

    Attributes:
      stddev: standard deviation, in the unit of the inputs, >= 0.
      deterministic: True in evaluation; given here or in the call.
      rng_collection: name of the random stream.
    """

    stddev: float

    def _is_silent(self) -> bool:
        return _is_zero(self.stddev)

    def _train(self, key: jax.Array, x: jax.Array) -> jax.Array:
        return noise.gaussian_noise(key, x, stddev=self.stddev)


def _is_zero(amount: float | jax.Array) -> bool:
    return not isinstance(amount, jax.Array) and amount == 0
