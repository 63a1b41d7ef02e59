"""Activation functions that jax.nn lacks: thresholds, randomised and learned slopes, maxout."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxdl import checks

SlopeMode = Literal["slope", "divisor"]


def step(z: jax.Array) -> jax.Array:
    """The threshold unit `1[z > 0]`.

    A tie, z = 0, gives 0. The derivative is 0 everywhere: nothing behind it is trained by back-propagation.

    Args:
      z: pre-activations of any shape.

    Returns:
      0 or 1 in the shape and dtype of z; NaN stays NaN.

    References:
      Rosenblatt, "The perceptron", Psychological Review 65, 1958.
    """
    # Not jnp.heaviside, which gives 0 for NaN in some versions of jax.
    return jnp.where(jnp.isnan(z), z, jnp.asarray(z > 0, jnp.result_type(z, float)))


def sign_pm1(z: jax.Array) -> jax.Array:
    """The threshold unit with outputs -1 and +1: `2 step(z) - 1`.

    A tie, z = 0, gives -1, as with `step`; `jnp.sign` would give a third value, 0. The derivative is 0 everywhere.

    Args:
      z: pre-activations of any shape.

    Returns:
      -1 or +1 in the shape and dtype of z; NaN stays NaN.
    """
    return 2 * step(z) - 1


def prelu(x: jax.Array, negative_slope: jax.Array | float) -> jax.Array:
    """Parametric ReLU: `x` where x >= 0, `negative_slope * x` where x < 0.

    At x = 0 the derivative by x is 1 and that by the slope is 0.

    Args:
      x: inputs `(..., channels)`.
      negative_slope: a scalar, or one slope per channel, `(channels,)`.

    Returns:
      Outputs in the shape and dtype of x.

    Raises:
      ValueError: slopes that are neither one nor one per channel.

    References:
      He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, equation 1.
    """
    slopes, shape = jnp.shape(negative_slope), jnp.shape(x)
    if slopes not in ((), shape[-1:]):
        raise ValueError(
            f"negative_slope: expected a scalar or one slope per channel, shape {shape[-1:]}; got shape {slopes}. "
            "Channels are the last axis of x."
        )
    slope = jnp.asarray(negative_slope, jnp.result_type(x, float))
    return jax.nn.leaky_relu(x, jnp.reshape(slope, (1,) * (len(shape) - 1) + slopes) if slopes else slope)


def rrelu(
    x: jax.Array,
    *,
    key: jax.Array | None = None,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    mode: SlopeMode = "slope",
) -> jax.Array:
    """Randomised leaky ReLU: `x` where x >= 0, `s x` where x < 0, with a slope s drawn for every activation.

    Two conventions are in use. Both keep s within [lower, upper], and they are NOT the same distribution:

    | mode | training (a key is given) | evaluation (no key) | with the default bounds |
    |---|---|---|---|
    | "slope" | s ~ U(lower, upper) | s = (lower + upper) / 2 | 11/48 = 0.2292 |
    | "divisor" | s = 1/a, a ~ U(1/upper, 1/lower) | s = 1 / mean of a | a ~ U(3, 8), s = 1/5.5 = 0.1818 |

    Args:
      x: inputs of any shape.
      key: a typed key, in training; None in evaluation.
      lower: least slope; positive where the mode is "divisor".
      upper: greatest slope, at least `lower`.
      mode: what is uniform, the slope or its reciprocal.

    Returns:
      Outputs in the shape and dtype of x. At x = 0 the derivative is 1.

    Raises:
      ValueError: bounds in the wrong order, or an unknown mode.
      TypeError: `key` is not one typed key.

    References:
      Xu, Wang, Chen, Li, "Empirical evaluation of rectified activations in convolutional network", 2015.
    """
    if mode not in get_args(SlopeMode):
        raise ValueError(f"mode: expected 'slope' or 'divisor'; got {mode!r}. Use 'slope' for a uniform slope.")
    reciprocal = mode == "divisor"
    if not lower <= upper or (reciprocal and not lower > 0):
        raise ValueError(
            f"lower, upper: expected {'0 < ' if reciprocal else ''}lower <= upper for mode={mode!r}; "
            f"got {lower!r} and {upper!r}. They bound the slope in both modes, such as 1/8 and 1/3."
        )
    low, high = (1 / upper, 1 / lower) if reciprocal else (lower, upper)
    dtype = jnp.result_type(x, float)
    if key is None:
        drawn = jnp.asarray((low + high) / 2, jnp.float32)
    else:
        checks.one_key(key)
        # In float32, because a uniform of eight significant bits has the wrong mean.
        drawn = jax.random.uniform(key, jnp.shape(x), jnp.promote_types(dtype, jnp.float32), low, high)
    return jax.nn.leaky_relu(x, (1 / drawn if reciprocal else drawn).astype(dtype))


def maxout(z: jax.Array, *, pieces: int) -> jax.Array:
    """The greatest of each unit's pieces: `h_i = max_k z_(i, k)`.

    Unit i owns the features `i * pieces ... (i + 1) * pieces - 1`. Pieces that tie share the derivative equally.

    Args:
      z: pre-activations `(..., units * pieces)`, such as the output of a dense or convolutional layer.
      pieces: pre-activations of one unit.

    Returns:
      Activations `(..., units)` in the dtype of z.

    Raises:
      ValueError: `pieces` is no whole number >= 1, or does not divide the features.

    References:
      Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout networks", 2013, section 3.
    """
    checks.whole_number(pieces=pieces, minimum=1, remedy="The lectures use 2.")
    shape = jnp.shape(z)
    if not shape or shape[-1] % pieces:
        raise ValueError(
            f"z: expected a last axis of units * pieces features, a multiple of {pieces}; got shape {shape}. "
            "Give the layer before it units * pieces features."
        )
    return jnp.max(jnp.reshape(z, (*shape[:-1], shape[-1] // pieces, pieces)), axis=-1)
