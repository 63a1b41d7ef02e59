"""Small models in plain Flax, one of each kind, that the diagnostics are tested on."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxdl
from jaxdl import training


class ResNet(nn.Module):
    """A stem, residual blocks with group norm, and a head."""

    blocks: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="stem")(x)
        for i in range(self.blocks):
            x = x + Branch(name=f"block_{i}")(x)
        return nn.Dense(3, name="head")(nn.relu(x).mean((1, 2)))


class Branch(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="first")(nn.gelu(nn.GroupNorm(2, name="norm")(x)))
        return nn.Conv(4, (3, 3), name="second")(nn.relu(x))


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(4, (3, 3), name="conv")(x))
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(3, name="head")(x.reshape(len(x), -1))


class Recurrent(nn.Module):
    """An LSTM, and a classifier of what it ends with."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name="head")(nn.RNN(nn.OptimizedLSTMCell(5, name="lstm"))(x)[:, -1])


class Seq2Seq(nn.Module):
    """Tokens in, tokens out: an encoder's last state starts a decoder that is given the shifted targets."""

    vocabulary: int = 7

    @nn.compact
    def __call__(self, source, shifted):
        embed = nn.Embed(self.vocabulary, 4, name="embed")
        state, _ = nn.RNN(nn.GRUCell(6, name="encoder"), return_carry=True)(embed(source))
        outputs = nn.RNN(nn.SimpleCell(6, name="decoder"))(embed(shifted), initial_carry=state)
        return nn.Dense(self.vocabulary, name="head")(outputs)


def ready(model, x, y):
    """`(objective, params, batch, model_state)` of a classifier."""
    variables = dict(jaxdl.as_model(model).init(jax.random.key(0), x))
    return (
        training.supervised(model, jaxdl.losses.softmax_cross_entropy),
        variables.pop("params"),
        (jnp.asarray(x), jnp.asarray(y)),
        variables,
    )


def images(count=3):
    draws = np.random.RandomState(0)
    return draws.rand(count, 6, 6, 1).astype(np.float32), draws.randint(0, 3, count)


def mlp(**options):
    draws = np.random.RandomState(0)
    model = jaxdl.models.MLP((8, 8, 3), activation=nn.tanh, **options)
    return ready(model, draws.randn(5, 6).astype(np.float32), draws.randint(0, 3, 5))


def cnn():
    return ready(ConvNet(), *images())


def resnet(blocks=2):
    return ready(ResNet(blocks), *images())


def rnn(steps=6):
    draws = np.random.RandomState(0)
    return ready(Recurrent(), draws.randn(4, steps, 3).astype(np.float32), draws.randint(0, 3, 4))


def seq2seq():
    draws = np.random.RandomState(0)
    model = Seq2Seq()
    source, target = draws.randint(0, 7, (3, 5)), draws.randint(1, 7, (3, 4))

    def losses(params, batch):
        source, target = batch
        shifted = jnp.pad(target, ((0, 0), (1, 0)))[:, :-1]
        return jaxdl.losses.softmax_cross_entropy(model.apply({"params": params}, source, shifted), target)

    params = model.init(jax.random.key(0), source, target)["params"]
    return losses, params, (jnp.asarray(source), jnp.asarray(target)), {}


class Sick(nn.Module):
    """A recurrence that explodes, a saturated layer, one with dead units and one that makes NaN."""

    @nn.compact
    def __call__(self, x):
        cell = nn.SimpleCell(5, activation_fn=lambda z: z, name="explodes")
        h = nn.tanh(nn.Dense(10, name="saturated")(nn.RNN(cell)(x)[:, -1]))
        h = nn.relu(nn.Dense(10, name="half_dead")(h))
        return nn.Dense(3, name="head")(jnp.log(nn.Dense(8, name="makes_nan")(h)))


def sick(steps=12):
    """`Sick` with a recurrent matrix of 3 I, tanh of about 5, four of ten units off for good, and log of -1000."""
    draws = np.random.RandomState(0)
    objective, params, batch, state = ready(Sick(), draws.randn(6, steps, 3).astype(np.float32), draws.randint(0, 3, 6))
    params["explodes"]["h"]["kernel"] = 3 * jnp.eye(5)
    params["saturated"]["kernel"] = 6e-5 * params["saturated"]["kernel"]  # of signals of about 3^11
    params["half_dead"]["bias"] = jnp.where(jnp.arange(10) < 4, -1e3, 10.0)
    params["makes_nan"]["bias"] = jnp.full(8, -1e3)
    return objective, params, batch, state
