"""The restricted Boltzmann machine: energies, conditionals, and one step of block Gibbs sampling."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.models.decoding import Decoder, kernel_of

Visible = Literal["bernoulli", "gaussian"]


class RBM(nn.Module):
    """Binary hidden units h over visible units v, with `p(v, h) = exp(-E(v, h)) / Z`.

        E(v, h) = -b.v - c.h - v W h                         binary v, or means in [0, 1]
        E(v, h) = 1/2 ||v - b||^2 - c.h - v W h              Gaussian v of unit variance: standardize the data
        F(v) = -ln sum_h exp(-E(v, h)) = (the terms of v alone) - sum_j softplus(c_j + (v W)_j)
        p(h_j = 1 | v) = sigmoid(c + v W)_j,    p(v_i = 1 | h) = sigmoid(b + h W^T)_i  or  v | h ~ N(b + h W^T, I)

    Visible arrays `(batch, ...)` are flattened to `(batch, features)`. Parameters: `hidden/kernel` W, (features,
    num_hidden), `hidden/bias` c, `visible/bias` b. As a layer it is the encoder of a tied `Autoencoder`. Train it by
    `jaxdl.training.contrastive_divergence`.

    Attributes:
      num_hidden: number of hidden units.
      visible_units: "bernoulli" or "gaussian".
      num_chains: of persistent Markov chains, kept as `chains/particles`, (num_chains, features), in the model state; 0
        for none.
      kernel_init: of W; N(0, 0.01^2), Hinton's advice.
      bias_init: of both biases.
      dtype: of the computation; `None` infers it from input and parameters.

    References:
      Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002.
      Hinton, "A practical guide to training restricted Boltzmann machines", 2010.
      Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", 2008.
    """

    num_hidden: int
    visible_units: Visible = "bernoulli"
    num_chains: int = 0
    kernel_init: Callable[..., Any] = nn.initializers.normal(0.01)
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    def setup(self) -> None:
        """Makes both halves."""
        checks.whole_number(num_hidden=self.num_hidden, minimum=1, remedy="It counts the hidden units.")
        checks.whole_number(num_chains=self.num_chains, minimum=0, remedy="0 keeps no persistent chains.")
        checks.one_of(visible_units=self.visible_units, among=get_args(Visible), remedy="Binary units are 'bernoulli'.")
        shared: Any = dict(bias_init=self.bias_init, dtype=self.dtype)
        self.hidden = nn.Dense(self.num_hidden, kernel_init=self.kernel_init, **shared)
        self.visible = Decoder(tied=True, **shared)

    @nn.compact
    def __call__(self, v: jax.Array, *, train: bool = False) -> jax.Array:
        """`decode(encode(v))` in the shape of v: one reconstruction by means; it makes the chains in `init`, too."""
        if self.num_chains:
            shape = (self.num_chains, jnp.size(v) // max(jnp.shape(v)[0], 1))
            self.variable("chains", "particles", lambda: self._noise(self.make_rng("params"), shape))
        return jnp.reshape(self.decode(self.encode(v)), jnp.shape(v))

    def encode(self, v: jax.Array) -> jax.Array:
        """`p(h = 1 | v)`, `(batch, num_hidden)`."""
        return nn.sigmoid(self.hidden(_flat(v)))

    def decode(self, h: jax.Array) -> jax.Array:
        """What v tends to, given h `(batch, num_hidden)`: logits of binary units, means of Gaussian ones."""
        return self.visible(h, kernel_of(self.hidden))

    def visible_means(self, h: jax.Array) -> jax.Array:
        """`E[v | h]`, `(batch, features)`."""
        return nn.sigmoid(self.decode(h)) if self.visible_units == "bernoulli" else self.decode(h)

    def gibbs(self, key: jax.Array, v: jax.Array) -> jax.Array:
        """`h ~ p(h | v)`, then `v' ~ p(v | h)`: one step of a chain, in the shape of v."""
        hidden_key, visible_key = jax.random.split(key)
        means = self.visible_means(_bernoulli(hidden_key, self.encode(v)))
        if self.visible_units == "bernoulli":
            sample = _bernoulli(visible_key, means)
        else:
            sample = means + jax.random.normal(visible_key, means.shape).astype(means.dtype)
        dtype = jnp.result_type(v)
        return jnp.reshape(sample, jnp.shape(v)).astype(dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32)

    def energy(self, v: jax.Array, h: jax.Array) -> jax.Array:
        """`E(v, h)`, `(batch,)`, float32 at least."""
        fields = self._fields(v)
        return self._visible_energy(v) - jnp.sum(h.astype(fields.dtype) * fields, -1)

    def free_energy(self, v: jax.Array) -> jax.Array:
        """`F(v) = -ln sum_h exp(-E(v, h))`, `(batch,)`, float32 at least; the density of v is `exp(-F(v)) / Z`."""
        fields = self._fields(v)
        return self._visible_energy(v) - jnp.sum(nn.softplus(fields), -1)

    def _fields(self, v: jax.Array) -> jax.Array:
        # Sums over many units are taken in float32 at least.
        fields = self.hidden(_flat(v))
        return fields.astype(jnp.promote_types(fields.dtype, jnp.float32))

    def _visible_energy(self, v: jax.Array) -> jax.Array:
        bias = self.visible.variables["params"]["bias"][None, :]
        flat = _flat(v).astype(jnp.promote_types(bias.dtype, jnp.float32))
        if self.visible_units == "bernoulli":
            return -jnp.sum(flat * bias, -1)
        return 0.5 * jnp.sum(jnp.square(flat - bias), -1)

    def _noise(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        if self.visible_units == "bernoulli":
            return jax.random.bernoulli(key, 0.5, shape).astype(jnp.float32)
        return jax.random.normal(key, shape)


def _flat(v: jax.Array) -> jax.Array:
    return jnp.reshape(v, (jnp.shape(v)[0], -1))


def _bernoulli(key: jax.Array, means: jax.Array) -> jax.Array:
    # In float32 at least: a uniform number in half precision is one of few.
    means32 = means.astype(jnp.promote_types(means.dtype, jnp.float32))
    return jax.random.bernoulli(key, means32).astype(means.dtype)
