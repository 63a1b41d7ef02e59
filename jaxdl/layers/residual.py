"""The residual block: a layer beside a connection that skips it."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxdl.model import mode_arguments

Layer = nn.Module | Callable[[jax.Array], jax.Array]


class Residual(nn.Module):
    """`y = x + F(x)`, or `y = P(x) + F(x)` where a projection P has to bring the input to the shape of F's output.

    `dy/dx = I + dF/dx`: what is back-propagated reaches x whatever F is. The parameters are those of F and P, under
    `layer` and `projection`; within another module's compact method, under the names that they were given there.

    Input as F takes it, output as F gives it.

    Attributes:
      layer: F, a Linen module or a function; where it has a mode (`train`, `deterministic`, ...), it is told.
      projection: P, likewise; None for the identity.

    Example:
      >>> import jax
      >>> from flax import linen as nn
      >>> y, _ = Residual(nn.Dense(3)).init_with_output(jax.random.key(0), jax.numpy.ones((2, 3)))
      >>> y.shape
      (2, 3)

    References:
      He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015, equations 1 and 2.
    """

    layer: Layer
    projection: Layer | None = None

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`projection(x) + layer(x)`.

        Raises:
          ValueError: the two have different shapes.
        """
        branch = _called(self.layer, x, train)
        shortcut = x if self.projection is None else _called(self.projection, x, train)
        if branch.shape != shortcut.shape:
            source = "x" if self.projection is None else "projection"
            raise ValueError(
                f"layer: expected an output of the shape {shortcut.shape} of {source}, to be added to it; "
                f"got {branch.shape}. Pass a projection that gives the shape of the layer's output."
            )
        return shortcut + branch


def _called(layer: Any, x: jax.Array, train: bool) -> jax.Array:
    return layer(x, **mode_arguments(layer.__call__ if isinstance(layer, nn.Module) else layer, train))
