"""Small networks of every kind, in plain Flax, for the tests of what is measured inside them."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn


class Cnn(nn.Module):
    """Two convolutions, the first strided, with a pooling between; a hidden layer and a head."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(5, (3, 3), strides=(2, 2), name="first")(x))
        x = nn.max_pool(nn.elu(nn.Conv(4, (3, 3), padding="VALID", name="second")(x)), (2, 2), (1, 1))
        x = nn.tanh(nn.Dense(6, name="hidden")(x.reshape(len(x), -1)))
        return nn.Dense(3, name="head")(x)


class Block(nn.Module):
    """A residual block that bends after the sum (He et al. 2015)."""

    norm: type[nn.Module]
    features: int

    @nn.compact
    def __call__(self, x, train):
        if self.norm is nn.BatchNorm:
            norm = functools.partial(nn.BatchNorm, use_running_average=not train)
        else:
            norm = functools.partial(nn.GroupNorm, num_groups=2)
        y = nn.relu(norm(name="norm1")(nn.Conv(self.features, (3, 3), use_bias=False, name="conv1")(x)))
        y = norm(name="norm2")(nn.Conv(self.features, (3, 3), use_bias=False, name="conv2")(y))
        if x.shape != y.shape:
            x = nn.Conv(self.features, (1, 1), use_bias=False, name="shortcut")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Two blocks, the first of which widens, and a global mean before the head."""

    norm: type[nn.Module] = nn.GroupNorm

    @nn.compact
    def __call__(self, x, train):
        x = Block(self.norm, 4, name="block1")(x, train)
        x = Block(self.norm, 4, name="block2")(x, train)
        return nn.Dense(3, name="head")(x.mean((1, 2)))


class Recurrent(nn.Module):
    """A recurrent layer over sequences, read out at the end."""

    cell: type[nn.RNNCellBase] = nn.SimpleCell
    features: int = 5

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(nn.RNN(self.cell(self.features, name="cell"), name="rnn")(x)[:, -1])


class Attention(nn.Module):
    """An encoder over tokens and a decoder with its own recurrence that looks at it."""

    @nn.compact
    def __call__(self, tokens):
        source = nn.Embed(7, 6, name="embed")(tokens)
        source = nn.LayerNorm(name="norm")(source + nn.MultiHeadDotProductAttention(2, name="attend")(source))
        source = source + nn.Dense(6, name="down")(nn.gelu(nn.Dense(9, name="up")(source)))
        decoded = nn.RNN(nn.GRUCell(6, name="decoder"), name="rnn")(source)
        looked = nn.MultiHeadDotProductAttention(2, name="look")(decoded, source)
        return nn.Dense(3, name="head")(jnp.concatenate([decoded, looked], -1).mean(1))


class Stacked(nn.Module):
    """Hidden layers stacked by nn.scan: one path, a slice of the parameters in each turn."""

    depth: int = 3

    @nn.compact
    def __call__(self, x):
        class Layer(nn.Module):
            @nn.compact
            def __call__(self, carry, _):
                return jnp.tanh(nn.Dense(x.shape[-1], name="dense")(carry)), None

        stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth)
        return nn.Dense(3, name="head")(stack(name="stack")(x, None)[0])


def draws(*shape, seed=0):
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape)
