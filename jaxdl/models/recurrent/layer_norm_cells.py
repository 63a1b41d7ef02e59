"""Layer-normalized recurrent cells (Ba, Kiros, Hinton 2016), which Flax lacks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Carry = Any
EPSILON = 1e-5


class _OneState(nn.RNNCellBase):
    """What the cells here have in common; a cell's carry is its state `(batch, features)`."""

    features: int
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    recurrent_kernel_init: Callable[..., Any] = nn.initializers.orthogonal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """Zeros in the shape of the carry."""
        return jnp.zeros((*input_shape[:-1], self.features), self.param_dtype)

    @property
    def num_feature_axes(self) -> int:
        """1: the last axis is the features'."""
        return 1

    @nn.nowrap
    def _dense(self, gates: int, kernel_init: Callable[..., Any], name: str) -> nn.Dense:
        # Each gate has the kernel that it would have by itself, which matters for orthogonal ones.
        def init(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
            one = (*shape[:-1], shape[-1] // gates)
            kernels = [kernel_init(own, one, dtype) for own in jax.random.split(key, gates)]
            return jnp.concatenate(kernels, -1)

        return nn.Dense(
            gates * self.features, use_bias=False, kernel_init=init, name=name, dtype=self.dtype,
            param_dtype=self.param_dtype,
        )  # fmt: skip

    @nn.nowrap
    def _norm(self, name: str, bias_init: Callable[..., Any] | None) -> nn.LayerNorm:
        return nn.LayerNorm(
            epsilon=EPSILON, use_bias=bias_init is not None, bias_init=bias_init or self.bias_init, name=name,
            use_fast_variance=False, dtype=self.dtype, param_dtype=self.param_dtype,
        )  # fmt: skip


class LayerNormSimpleCell(_OneState):
    """`h' = f(LN(W_h h + W_x x))`, `LN(a) = g (a - mean a) / sd a + b`, over the units of one example at one step.

    Maps a state `(batch, features)` and inputs `(batch, inputs)` to the next state, which is the output as well. For
    `nn.RNN`, `RecurrentNetwork` and the like. The same g and b at every step.

    Attributes:
      features: units.
      activation_fn: f.
      kernel_init: initializer of W_x.
      recurrent_kernel_init: initializer of W_h.
      bias_init: initializer of b.
      dtype: of the computation; `None` infers it from input and parameters.
      param_dtype: of the parameters, and of the carry that `initialize_carry` makes.

    References:
      Ba, Kiros, Hinton, "Layer Normalization", 2016, equation 4.
    """

    activation_fn: Callable[[jax.Array], jax.Array] = nn.tanh

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The next state, twice."""
        summed = self._dense(1, self.recurrent_kernel_init, "h")(carry) + self._dense(1, self.kernel_init, "i")(inputs)
        state = self.activation_fn(self._norm("norm", self.bias_init)(summed))
        return state, state


class LayerNormGRUCell(_OneState):
    """A gated recurrent unit whose recurrent and input sums are normalized apart.

        (r, z) = sigma(LN(W_h h) + LN(W_x x) + b)
        n = tanh(r (LN(U_h h) + b_h) + LN(U_x x) + b_x),    h' = (1 - z) n + z h

    with a gain for each normalization; those of the gates run over the units of both together. z is what Flax's GRU
    calls so: the share of the old state.

    Attributes:
      features: units.
      kernel_init, recurrent_kernel_init, bias_init, dtype, param_dtype: see `LayerNormSimpleCell`.

    References:
      Ba, Kiros, Hinton, "Layer Normalization", 2016, supplementary material, GRU.
    """

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The next state, twice."""
        gates = self._norm("norm_h", None)(self._dense(2, self.recurrent_kernel_init, "h")(carry))
        gates += self._norm("norm_i", self.bias_init)(self._dense(2, self.kernel_init, "i")(inputs))
        r, z = jnp.split(nn.sigmoid(gates), 2, -1)
        recurrent = self._norm("norm_hn", self.bias_init)(self._dense(1, self.recurrent_kernel_init, "hn")(carry))
        new = self._norm("norm_in", self.bias_init)(self._dense(1, self.kernel_init, "in")(inputs))
        new = nn.tanh(r * recurrent + new)
        state = (1 - z) * new + z * carry
        return state, state


class LayerNormLSTMCell(_OneState):
    """An LSTM whose recurrent sum, input sum and memory are normalized.

        (f, i, o, g) = LN(W_h h; alpha_1) + LN(W_x x; alpha_2) + b
        c' = sigma(f) c + sigma(i) tanh(g),    h' = sigma(o) tanh(LN(c'; alpha_3, beta_3))

    The first two normalizations run over all four gates together, as in the paper. Of the paper's beta_1, beta_2 and b
    only the sum has an effect, and is one vector here, the bias of `norm_i`.

    The carry is `(c, h)`, the output h.

    Attributes:
      features: units.
      forget_bias: the start of b at the forget gate.
      kernel_init, recurrent_kernel_init, bias_init, dtype, param_dtype: see `LayerNormSimpleCell`.

    References:
      Ba, Kiros, Hinton, "Layer Normalization", 2016, equations 20 to 22.
    """

    forget_bias: float = 0.0

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """Zeros for memory and output."""
        zeros = super().initialize_carry(rng, input_shape)
        return zeros, zeros

    @nn.compact
    def __call__(self, carry: Carry, inputs: jax.Array) -> tuple[Carry, jax.Array]:
        """The next `(c, h)`, and h."""
        memory, state = carry

        def bias_init(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
            forget = jnp.arange(shape[0]) < self.features
            return self.bias_init(key, shape, dtype) + jnp.where(forget, self.forget_bias, 0).astype(dtype)

        gates = self._norm("norm_h", None)(self._dense(4, self.recurrent_kernel_init, "h")(state))
        gates += self._norm("norm_i", bias_init)(self._dense(4, self.kernel_init, "i")(inputs))
        f, i, o, g = jnp.split(gates, 4, -1)
        memory = nn.sigmoid(f) * memory + nn.sigmoid(i) * nn.tanh(g)
        state = nn.sigmoid(o) * nn.tanh(self._norm("norm_c", self.bias_init)(memory))
        return (memory, state), state
