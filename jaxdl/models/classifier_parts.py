"""What the convolutional classifiers share: pooling, and the dense layers at their end."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxdl import checks, layers

POOLS: dict[str, Callable[..., jax.Array]] = {"max": nn.max_pool, "average": nn.avg_pool}


def halved(x: jax.Array, *, pool: str) -> jax.Array:
    """The maximum or mean of disjoint 2 x 2 squares; a last odd row or column is dropped."""
    checks.one_of(pool=pool, among=list(POOLS), remedy="LeNet-5 averages, later networks take the maximum.")
    return POOLS[pool](x, (2, 2), strides=(2, 2))


def dense_layers(
    x: jax.Array,
    *,
    hidden: Sequence[int],
    num_classes: int,
    activation: Callable[[jax.Array], jax.Array] = nn.relu,
    dropout_rates: Sequence[float],
    train: bool = False,
    kernel_init: nn.initializers.Initializer,
    hidden_bias: float = 0.0,
    dtype: Any = None,
) -> jax.Array:
    """Logits `(batch, num_classes)` of `(batch, ...)`; to be called in a compact method.

    Layers `dense1`, `dense2`, ... with the activation and dropout after each, then the linear layer `logits`.
    """
    x = jax.lax.collapse(x, 1)
    for i, (size, rate) in enumerate(zip(hidden, dropout_rates, strict=True)):
        bias_init = nn.initializers.constant(hidden_bias)
        dense = nn.Dense(size, kernel_init=kernel_init, bias_init=bias_init, dtype=dtype, name=f"dense{i + 1}")
        x = layers.Dropout(rate, deterministic=not train)(activation(dense(x)))
    return nn.Dense(num_classes, kernel_init=kernel_init, dtype=dtype, name="logits")(x)


def check_classifier(*, hidden: Sequence[int], num_classes: int, **rates: Any) -> None:
    """Raises ValueError for what makes no dense layers; `rates` are probabilities of dropout."""
    checks.whole_numbers(hidden=hidden, remedy="They are the units of the hidden dense layers; () for none.")
    checks.whole_number(num_classes=num_classes, minimum=1, remedy="It is the number of outputs.")
    for name, rate in rates.items():
        checks.number(minimum=0, maximum=1, remedy="It is the probability to DROP; 0 for no dropout.", **{name: rate})
