"""Whole models in plain Flax, and inputs for them."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class ResNet(nn.Module):
    """Two residual blocks with group normalization, the second one strided."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x):
        norm = (lambda: nn.BatchNorm(use_running_average=False)) if self.batch_norm else (lambda: nn.GroupNorm(2))
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        for width, stride in ((4, 1), (6, 2)):
            h = nn.Conv(width, (3, 3), strides=stride, use_bias=False)(nn.relu(norm()(x)))
            h = nn.Conv(width, (3, 3), use_bias=False)(nn.relu(norm()(h)))
            x = h + (x if x.shape == h.shape else nn.Conv(width, (1, 1), strides=stride)(x))
        return nn.Dense(3)(jnp.mean(nn.relu(norm()(x)), (1, 2)))


class TwoLSTMs(nn.Module):
    """Two recurrent layers under `scan`, the loss at the last step."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x):
        # Flax starts the carry in the dtype of the parameters.
        x = nn.RNN(nn.LSTMCell(4, param_dtype=x.dtype))(x)
        if self.batch_norm:
            x = nn.BatchNorm(use_running_average=False)(x)
        return nn.Dense(3)(nn.RNN(nn.OptimizedLSTMCell(5, param_dtype=x.dtype))(x)[:, -1])


class Transformer(nn.Module):
    """Two blocks, causal, with tied embeddings and learned positions."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, tokens):
        norm = (lambda: nn.BatchNorm(use_running_average=False)) if self.batch_norm else nn.LayerNorm
        embed = nn.Embed(11, 8)
        x = embed(tokens) + self.param("position", nn.initializers.normal(0.5), (1, tokens.shape[1], 8))
        mask = nn.make_causal_mask(tokens)
        for _ in range(2):
            x = x + nn.MultiHeadDotProductAttention(2)(norm()(x), mask=mask)
            x = x + nn.Dense(8)(nn.gelu(nn.Dense(12)(norm()(x))))
        return embed.attend(norm()(x))


class TiedAutoencoder(nn.Module):
    """The decoder is the encoder's kernel, transposed."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], 4))
        h = jnp.tanh(x @ kernel + self.param("hidden", nn.initializers.normal(), (4,))[None])
        if self.batch_norm:
            h = nn.BatchNorm(use_running_average=False)(h)
        return h @ kernel.T + self.param("visible", nn.initializers.normal(), (x.shape[-1],))[None]


IMAGES = jax.random.normal(jax.random.key(0), (5, 8, 8, 2))
SERIES = jax.random.normal(jax.random.key(1), (5, 6, 3))
TOKENS = jax.random.randint(jax.random.key(2), (5, 7), 0, 11)
POINTS = jax.random.normal(jax.random.key(3), (5, 6))
