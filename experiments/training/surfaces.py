"""Functions of two numbers on which optimizers can be watched: saddles, valleys, Beale's function, a noisy bowl."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

NARROWNESS = 100  # ratio of a valley's curvatures


class Surface(NamedTuple):
    """A function to be minimised, and where to look at it.

    Attributes:
      name, formula: for titles.
      function: `f(point (2,)) -> scalar`.
      start, spread: mean and standard deviation of random starts, for each coordinate.
      minima: all of them; none where the function has no lower bound.
      limits: of a picture, `(left, right, bottom, top)`; a path that leaves them has gone astray.
      noise: standard deviation of what is added to each entry of the gradient at each step.
    """

    name: str
    formula: str
    function: Callable[[jax.Array], jax.Array]
    start: tuple[float, float]
    spread: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    limits: tuple[float, float, float, float]
    noise: float = 0.0

    def draw(self, key: jax.Array, num: int) -> jax.Array:
        """`(num, 2)` random starts."""
        spread, start = jnp.asarray(self.spread)[None], jnp.asarray(self.start)[None]
        return start + spread * jax.random.normal(key, (num, 2))


def _saddle(p: jax.Array) -> jax.Array:
    return p[0] ** 2 - p[1] ** 2


def _bounded_saddle(p: jax.Array) -> jax.Array:
    return p[0] ** 2 - p[1] ** 2 + p[1] ** 4 / 4


def _valley(p: jax.Array) -> jax.Array:
    return (p[0] ** 2 / NARROWNESS + p[1] ** 2) / 2


def _diagonal_valley(p: jax.Array) -> jax.Array:
    return ((p[0] + p[1]) ** 2 / NARROWNESS + (p[0] - p[1]) ** 2) / 4


def _bowl(p: jax.Array) -> jax.Array:
    return (p[0] ** 2 + p[1] ** 2) / 2


def _beale(p: jax.Array) -> jax.Array:
    x, y = p[0], p[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


SADDLE = Surface("saddle", "x² - y²", _saddle, (1.0, 0.0), (0.2, 1e-3), (), (-1.5, 1.5, -2.0, 2.0))
BOUNDED_SADDLE = Surface(
    "saddle with two minima", "x² - y² + y⁴/4", _bounded_saddle, (1.0, 0.0), (0.2, 1e-3),
    ((0.0, 2**0.5), (0.0, -(2**0.5))), (-1.5, 1.5, -2.2, 2.2),
)  # fmt: skip
VALLEY = Surface(
    "long valley", "(x²/100 + y²)/2", _valley, (-9.0, 1.0), (1.0, 0.3), ((0.0, 0.0),), (-12.0, 7.0, -2.5, 2.5)
)
DIAGONAL_VALLEY = Surface(
    "long valley across the axes", "((x+y)²/100 + (x-y)²)/4", _diagonal_valley, (-7.0, -5.6), (0.7, 0.7),
    ((0.0, 0.0),), (-9.0, 5.0, -9.0, 5.0),
)  # fmt: skip
BOWL = Surface("round bowl", "(x² + y²)/2", _bowl, (-9.0, 1.0), (1.0, 0.3), ((0.0, 0.0),), (-12.0, 7.0, -5.0, 5.0))
BEALE = Surface(
    "Beale's function", "Σ (c_i - x + x y^i)²", _beale, (1.0, 1.0), (0.1, 0.1),
    ((3.0, 0.5),), (-0.5, 4.5, -1.5, 2.0),
)  # fmt: skip
NOISY_BOWL = BOWL._replace(name="noisy bowl", formula="(x² + y²)/2, noise in the gradient", noise=1.0)
