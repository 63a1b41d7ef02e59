"""Toy problems of the lectures; each is an example axis first, from an explicit key."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks
from jaxdl.data.splits import Examples


def xor() -> Examples:
    """The four points of exclusive or: x float32 (4, 2) in {0, 1}, y int32 (4,), 1 where exactly one of them is 1.

    Returns:
        `Examples(x, y)`.
    """
    return Examples(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0], np.int32))


def two_dots(
    key: jax.Array, *, num_examples: int, distance: float = 4.0, deviation: float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Two round clouds in the plane, `x = (+-distance / 2, 0) + deviation * N(0, I)`, one for each class.

    No classifier errs less often than the sign of the first coordinate, which does with probability
    `Phi(-distance / (2 deviation))`.

    Args:
        key: one typed PRNG key.
        num_examples: of both classes together, >= 2; half of them, rounded up, are of class 0.
        distance: between the centres, >= 0.
        deviation: of each coordinate, >= 0.

    Returns:
        x float32 (num_examples, 2), y int32 (num_examples,), the classes in turns 0, 1, 0, 1, ...; class 0 is left.

    Raises:
        TypeError: `key` is not one typed key.
        ValueError: a number out of its range.
    """
    checks.one_key(key)
    checks.whole_number(num_examples=num_examples, minimum=2, remedy="Try 200.")
    checks.number(distance=distance, minimum=0, remedy="Use 4.0.")
    checks.number(deviation=deviation, minimum=0, remedy="Use 1.0.")
    y = jnp.arange(num_examples, dtype=jnp.int32) % 2
    centres = jnp.stack([(y.astype(jnp.float32) - 0.5) * distance, jnp.zeros(num_examples, jnp.float32)], -1)
    return centres + deviation * jax.random.normal(key, (num_examples, 2), jnp.float32), y


def noisy_curve(
    key: jax.Array,
    *,
    num_examples: int,
    precision: float,
    function: Callable[[jax.Array], jax.Array] = jnp.sin,
    interval: tuple[float, float] = (-np.pi, np.pi),
) -> tuple[jax.Array, jax.Array]:
    """Regression in one dimension: `y = function(x) + N(0, 1 / precision)`, x uniform.

    Args:
        key: one typed PRNG key.
        num_examples: >= 1.
        precision: beta, the reciprocal of the noise's VARIANCE, > 0; infinity for no noise.
        function: element-wise.
        interval: (low, high) of x.

    Returns:
        x float32 (num_examples, 1), y float32 (num_examples, 1).

    Raises:
        TypeError: `key` is not one typed key.
        ValueError: a number out of its range.
    """
    checks.one_key(key)
    checks.whole_number(num_examples=num_examples, minimum=1, remedy="Try 100.")
    remedy = "It is 1 / variance of the noise."
    checks.number(precision=precision, minimum=0, exclusive=True, finite=False, remedy=remedy)
    if not interval[0] < interval[1]:
        raise ValueError(f"interval: expected (low, high) with low < high; got {interval}. Use (-1.0, 1.0).")
    x_key, noise_key = jax.random.split(key)
    x = jax.random.uniform(x_key, (num_examples, 1), jnp.float32, *interval)
    return x, function(x) + precision**-0.5 * jax.random.normal(noise_key, x.shape, jnp.float32)


def random_regression(
    key: jax.Array, *, num_examples: int = 64, num_inputs: int = 1000, num_outputs: int = 10
) -> tuple[jax.Array, jax.Array]:
    """Nothing to learn but by heart: x and y independent, every entry N(0, 1).

    The defaults are those of the lecture's listing, N, D_in, H, D_out = 64, 1000, 100, 10; H is the width of the one
    hidden layer of its network.

    Args:
        key: one typed PRNG key.
        num_examples: >= 1.
        num_inputs: >= 1.
        num_outputs: >= 1.

    Returns:
        x float32 (num_examples, num_inputs), y float32 (num_examples, num_outputs).

    Raises:
        TypeError: `key` is not one typed key.
        ValueError: a number below 1.
    """
    checks.one_key(key)
    for name, number in (("num_examples", num_examples), ("num_inputs", num_inputs), ("num_outputs", num_outputs)):
        checks.whole_number(minimum=1, remedy="Leave it out for the lecture's.", **{name: number})
    x_key, y_key = jax.random.split(key)
    x = jax.random.normal(x_key, (num_examples, num_inputs), jnp.float32)
    return x, jax.random.normal(y_key, (num_examples, num_outputs), jnp.float32)
