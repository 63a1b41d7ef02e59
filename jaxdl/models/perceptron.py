"""Rosenblatt's perceptron: one threshold unit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl.activations import sign_pm1


class Perceptron(nn.Module):
    """`f(x) = x . w + b`, decided by its sign: +1 where f > 0, else -1.

    A threshold has no derivative, so the unit is called for its score f and trained by `jaxdl.losses.perceptron`:
    gradient descent with rate 1, one example a step, is then the perceptron rule, `w <- w + t x` for every mistake.
    Input `(batch, ...)` is flattened; output `(batch,)`. The parameters are those of `Dense_0`.

    Attributes:
      kernel_init: initializer of the weights; zero, as in the convergence theorem.
      dtype: of the computation; None infers it from input and parameters.

    References:
      Rosenblatt, "The perceptron", Psychological Review 65, 1958; Novikoff, "On convergence proofs on perceptrons",
      1962.
    """

    kernel_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scores `(batch,)` of inputs `(batch, ...)`."""
        x = jnp.reshape(x, (jnp.shape(x)[0], -1))
        return nn.Dense(1, kernel_init=self.kernel_init, dtype=self.dtype)(x)[:, 0]

    def decide(self, x: jax.Array) -> jax.Array:
        """+1 or -1 for each example, `(batch,)`: `Perceptron().apply(variables, x, method="decide")`."""
        return sign_pm1(self(x))
