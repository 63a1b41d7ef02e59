"""The multi-layer perceptron of every lecture."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdl import checks
from jaxdl.layers import Dropout
from jaxdl.model import mode_arguments

Activation = Callable[[jax.Array], jax.Array]
MOMENTUM = 0.9  # of running statistics: Flax's 0.99 has forgotten its start only after some 500 steps


class MLP(nn.Module):
    """`z_l = a_{l-1} W_l + b_l`, `a_l = activation(z_l)`; the last layer is linear, because losses take logits.

    With everything that a hidden layer may have, in this order:
    `a_l = [a_{l-1} +] dropout(activation(normalization(a_{l-1} W_l + b_l)))`.

    Input `(batch, ...)` is flattened to `(batch, features)`; output `(batch, sizes[-1])`. The layers are named
    `Dense_0`, `Dense_1`, ... with a `kernel` of shape `(in, out)` and a `bias` of shape `(out,)`; before batch
    normalization there is no bias, since that takes off every mean. The normalizations of hidden layers are
    `BatchNorm_0`, ... or `LayerNorm_0`, .... `MLP((10,))` is a linear classifier.
    `capture_intermediates=True` gives the pre-activations by these names.

    Attributes:
      sizes: units of each layer, the output last: `(30, 30, 10)` has two hidden layers.
      activation: applied after every layer but the last; a sequence has one for each hidden layer.
      kernel_init: initializer of every kernel; Flax's default, a truncated LeCun normal.
      bias_init: initializer of every bias.
      dtype: of the computation; `None` infers it from input and parameters.
      normalization: of the pre-activations of hidden layers: "batch" (running statistics of momentum 0.9), "layer", or
        what makes another one, such as `functools.partial(nn.BatchNorm, momentum=0.99)` or `jaxdl.layers.BatchRenorm`.
      dropout_rate: probability to DROP a hidden activation; a sequence has one for each hidden layer.
      input_dropout_rate: probability to drop an input.
      residual: adds the input of a hidden layer to its output wherever the two are of one size.

    Raises:
      ValueError: when called: sizes that make no network, or sequences of another length than there are hidden layers.

    References:
      Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986; Ioffe and Szegedy,
      "Batch normalization", 2015; Srivastava et al., "Dropout", 2014; He et al., "Deep residual learning", 2015.
    """

    sizes: Sequence[int]
    activation: Activation | Sequence[Activation] = nn.relu
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    normalization: str | Callable[..., nn.Module] | None = None
    dropout_rate: Any = 0.0
    input_dropout_rate: Any = 0.0
    residual: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, sizes[-1])` of inputs `(batch, ...)`; `train` is the mode of dropout and normalization."""
        check_sizes(self.sizes)
        hidden = len(self.sizes) - 1
        activations = each_layer(hidden, activation=self.activation)
        rates = each_layer(hidden, dropout_rate=self.dropout_rate)
        normalization = self._normalization()
        x = jnp.reshape(x, (jnp.shape(x)[0], -1))
        x = dropped(x, self.input_dropout_rate, train)
        for size, activation, rate in zip(self.sizes[:-1], activations, rates, strict=True):
            below = x
            x = self._dense(size, below, use_bias=self.normalization != "batch")
            if normalization is not None:
                layer = normalization()
                x = layer(x, **mode_arguments(layer.__call__, train))
            x = dropped(activation(x), rate, train)
            if self.residual and below.shape == x.shape:
                x = below + x
        return self._dense(self.sizes[-1], x)

    def _dense(self, size: int, x: jax.Array, *, use_bias: bool = True) -> jax.Array:
        return nn.Dense(
            size, use_bias=use_bias, kernel_init=self.kernel_init, bias_init=self.bias_init, dtype=self.dtype
        )(x)

    def _normalization(self) -> Callable[[], Any] | None:
        given = self.normalization
        if given is None:
            return None
        if given == "batch":
            return lambda: nn.BatchNorm(momentum=MOMENTUM, dtype=self.dtype)
        if given == "layer":
            return lambda: nn.LayerNorm(dtype=self.dtype)
        if isinstance(given, nn.Module) or not callable(given):
            raise ValueError(
                f"normalization: expected None, 'batch', 'layer' or what makes a module when called; got {given!r}. "
                "Pass for example functools.partial(flax.linen.BatchNorm, momentum=0.99)."
            )
        return given


def check_sizes(sizes: Sequence[int]) -> None:
    """Raises ValueError for sizes of layers that make no network."""
    if not sizes or any(size < 1 for size in sizes):
        raise ValueError(
            f"sizes: expected at least one positive number of units; got {tuple(sizes)}. "
            "Give the units of each layer, the output last, such as (30, 10)."
        )


def each_layer(hidden: int, **argument: Any) -> Sequence[Any]:
    """One value for each hidden layer, of one for all of them or of a sequence."""
    ((name, value),) = argument.items()
    if not isinstance(value, (tuple, list)):
        return (value,) * hidden
    if len(value) != hidden:
        raise ValueError(
            f"{name}: expected one for all, or one for each of the {hidden} hidden layers; got {len(value)}. "
            "The output layer has none."
        )
    return value


def dropped(x: jax.Array, rate: Any, train: bool) -> jax.Array:
    """Dropout inside of a compact module; without a layer, and so without need of a key, for a rate of 0."""
    checks.number(rate=rate, minimum=0, maximum=1, remedy="It is the probability to drop, such as 0.5.")
    if isinstance(rate, (int, float)) and rate == 0:
        return x
    return Dropout(rate, deterministic=not train)(x)
