"""Autoencoders: dense, with weights of their own or tied, and convolutional; both may denoise."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.layers import GaussianNoise, MaskingNoise
from jaxdl.models.decoding import Decoder, kernel_of

Activation = Callable[[jax.Array], jax.Array]


class Autoencoder(nn.Module):
    """`h = s(W x~ + b)`, `x^ = W' h + c`, over any number of layers; `W' = W^T` where `tied`.

    Input `(batch, ...)`, flattened to `(batch, features)`; output of the input's shape: logits, so that sigmoid outputs
    go with `jaxdl.losses.sigmoid_cross_entropy`, and linear ones with `quadratic_cost`. In training mode the input is
    corrupted to x~ first, by masking, then by Gaussian noise, where there is any. The layers are `encoder_0`,
    `encoder_1`, ... with a `kernel` and a `bias`, and back again `decoder_0`, `decoder_1`, ... with a `bias`, and a
    `kernel` unless tied. `decoder_0` undoes the last encoder.

    Attributes:
      sizes: units of each encoding layer, the code last: `(128, 32)` has two.
      activation: s, after every layer but the last of the decoder.
      tied: whether each decoding layer uses its encoding layer's kernel, transposed.
      masking_rate: probability that an entry of the input is set to 0 in training, in [0, 1).
      noise_stddev: deviation of the noise added to the input in training, in its unit.
      kernel_init: initializer of every kernel.
      bias_init: initializer of every bias.
      dtype: of the computation; `None` infers it from input and parameters.

    Example:
      >>> model = Autoencoder((2,), tied=True)
      >>> variables = model.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> model.apply(variables, jnp.ones((5, 3)), method="encode").shape
      (5, 2)

    References:
      Bengio, Lamblin, Popovici, Larochelle, "Greedy layer-wise training of deep networks", 2007.
      Vincent et al., "Stacked denoising autoencoders", JMLR 11, 2010.
    """

    sizes: Sequence[int]
    activation: Activation = nn.sigmoid
    tied: bool = False
    masking_rate: float = 0.0
    noise_stddev: float = 0.0
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    def setup(self) -> None:
        """Makes the layers."""
        _check_sizes("sizes", self.sizes, "units", "(128, 32)")
        shared: Any = dict(kernel_init=self.kernel_init, bias_init=self.bias_init, dtype=self.dtype)
        self.masking, self.noise = MaskingNoise(rate=self.masking_rate), GaussianNoise(stddev=self.noise_stddev)
        self.encoder = [nn.Dense(size, **shared) for size in self.sizes]
        self.decoder = [Decoder(self.tied, **shared) for _ in self.sizes]

    def encode(self, x: jax.Array) -> jax.Array:
        """Codes `(batch, sizes[-1])` of inputs `(batch, ...)`, never corrupted."""
        hidden = jnp.reshape(x, (jnp.shape(x)[0], -1))
        for layer in self.encoder:
            hidden = self.activation(layer(hidden))
        return hidden

    def decode(self, code: jax.Array) -> jax.Array:
        """Logits `(batch, features)` of codes `(batch, sizes[-1])`."""
        for i, (layer, twin) in enumerate(zip(self.decoder, reversed(self.encoder), strict=True)):
            code = layer(code if i == 0 else self.activation(code), kernel_of(twin))
        return code

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Reconstructions of inputs `(batch, ...)`, as logits of their shape."""
        return jnp.reshape(self.decode(self.encode(_corrupted(self, x, train))), jnp.shape(x))


class ConvAutoencoder(nn.Module):
    """Convolutions of stride 2 down to the code, transposed convolutions back up; logits of the input's shape.

    Input and output `(batch, height, width, image_channels)`; code `(batch, height / 2^n, width / 2^n, channels[-1])`
    after n layers. Corruption as in `Autoencoder`. The layers are `encoder_0`, ... and `decoder_0`, ..., kernels
    `(window, window, in, out)`.

    Attributes:
      channels: of each encoding layer, the code's last.
      image_channels: of the input, 1 for grey images.
      window: height and width of every kernel.
      activation: after every layer but the last of the decoder.
      masking_rate: probability that an entry of the input is set to 0 in training, in [0, 1).
      noise_stddev: deviation of the noise added to the input in training, in its unit.
      kernel_init: initializer of every kernel.
      bias_init: initializer of every bias.
      dtype: of the computation; `None` infers it from input and parameters.
    """

    channels: Sequence[int]
    image_channels: int = 1
    window: int = 3
    activation: Activation = nn.relu
    masking_rate: float = 0.0
    noise_stddev: float = 0.0
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    def setup(self) -> None:
        """Makes the layers."""
        _check_sizes("channels", self.channels, "channels", "(16, 8)")
        shared: Any = dict(
            kernel_size=(self.window, self.window), strides=(2, 2), padding="SAME", kernel_init=self.kernel_init,
            bias_init=self.bias_init, dtype=self.dtype,
        )  # fmt: skip
        self.masking, self.noise = MaskingNoise(rate=self.masking_rate), GaussianNoise(stddev=self.noise_stddev)
        self.encoder = [nn.Conv(features, **shared) for features in self.channels]
        back = (*reversed(self.channels[:-1]), self.image_channels)
        self.decoder = [nn.ConvTranspose(features, **shared) for features in back]

    def encode(self, x: jax.Array) -> jax.Array:
        """Codes of images, never corrupted."""
        shape, halved = jnp.shape(x), 2 ** len(self.channels)
        if len(shape) != 4 or shape[3] != self.image_channels or shape[1] % halved or shape[2] % halved:
            raise ValueError(
                f"x: expected images (batch, height, width, {self.image_channels}) whose sides {halved} divides, once "
                f"by 2 for each of {len(self.channels)} layers; got shape {shape}. Crop or pad them, or take fewer "
                "layers."
            )
        for layer in self.encoder:
            x = self.activation(layer(x))
        return x

    def decode(self, code: jax.Array) -> jax.Array:
        """Logits of images, of codes `(batch, height, width, channels[-1])`."""
        for i, layer in enumerate(self.decoder):
            code = layer(code if i == 0 else self.activation(code))
        return code

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Reconstructions of images, as logits of their shape."""
        return self.decode(self.encode(_corrupted(self, x, train)))


def _corrupted(model: Autoencoder | ConvAutoencoder, x: jax.Array, train: bool) -> jax.Array:
    return model.noise(model.masking(x, deterministic=not train), deterministic=not train)


def _check_sizes(name: str, sizes: Sequence[int], what: str, example: str) -> None:
    if not sizes or any(size < 1 for size in sizes):
        raise ValueError(
            f"{name}: expected at least one positive number of {what}; got {tuple(sizes)}. "
            f"Give those of each encoding layer, the code last, such as {example}."
        )
