"""A network that predicts a target and how precisely it does."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdl import checks
from jaxdl.models.mlp import MLP


class MeanAndPrecision(nn.Module):
    """Mean and log precision of a Gaussian, both functions of the input: `t ~ N(y(x), exp(-s(x)))`.

        h = MLP(x),    y = h W_y + b_y,    s = ln beta = h W_s + b_s

    Train it by `jaxdl.losses.gaussian_nll`, which takes the pair. Input `(batch, ...)` is flattened to
    `(batch, features)`; output a pair `(mean, log_precision)`, `(batch, num_outputs)` each. The layers are named
    `hidden` (an `MLP`), `mean` and `log_precision`; the last starts at zero, so that every precision starts at 1: scale
    the targets to about unit variance.

    Attributes:
      sizes: units of the hidden layers, which mean and precision share; () for a linear model.
      num_outputs: targets of an example.
      activation: after every hidden layer.
      kernel_init: initializer of the kernels, but that of `log_precision`.
      dtype: of the computation; `None` infers it from input and parameters.

    References:
      Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994; Bishop 2006,
      section 5.6.
    """

    sizes: Sequence[int]
    num_outputs: int = 1
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means and log precisions, `(batch, num_outputs)` each, of inputs `(batch, ...)`."""
        checks.whole_number(num_outputs=self.num_outputs, minimum=1, remedy="It is the targets of an example.")
        x = x.reshape(x.shape[0], -1)
        if self.sizes:
            hidden = MLP(
                self.sizes, activation=self.activation, kernel_init=self.kernel_init, dtype=self.dtype, name="hidden"
            )
            x = self.activation(hidden(x))
        mean = nn.Dense(self.num_outputs, kernel_init=self.kernel_init, dtype=self.dtype, name="mean")(x)
        zeros = nn.initializers.zeros_init()
        log_precision = nn.Dense(self.num_outputs, kernel_init=zeros, dtype=self.dtype, name="log_precision")(x)
        return mean, log_precision
