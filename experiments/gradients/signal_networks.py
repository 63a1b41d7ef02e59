"""Fully connected networks without training, measured by `jaxdl.diagnostics.signal_propagation`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl
from experiments.building_blocks.propagation import double_precision
from jaxdl import diagnostics

Activation = Callable[[jax.Array], jax.Array]


class Measured(NamedTuple):
    """Of random networks, arrays `(..., depth)`.

    Attributes:
      log_square: ln q of the pre-activations.
      correlation: c of different examples.
      log_error: ln of the mean square norm of the error signals.
      log_variance: ln of the variance of the error signals' entries.
      saturation: share of entries with a small derivative.
    """

    log_square: Any
    correlation: Any
    log_error: Any
    log_variance: Any
    saturation: Any


class Expected(NamedTuple):
    """What mean-field theory says of them, `(depth,)` each; `log_error` relative to the last layer."""

    log_square: np.ndarray
    correlation: np.ndarray
    log_error: np.ndarray


class Draws(NamedTuple):
    """Standard normal numbers for one network: first kernel, the others, biases, readout."""

    first: jax.Array
    kernels: jax.Array
    biases: jax.Array
    readout: jax.Array


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _draws(key: jax.Array, fan_in: int, width: int, depth: int) -> Draws:
    shapes = ((fan_in, width), (depth - 1, width, width), (depth, width), (width, 1))
    return Draws(*(jax.random.normal(k, s, jnp.float64) for k, s in zip(jax.random.split(key, 4), shapes, strict=True)))


@functools.cache
def _program(activation: Activation) -> Callable[..., Measured]:
    """Measures one network, whose weights are the draws scaled; compiled once for all deviations and seeds."""

    def losses(params: Any, x: jax.Array) -> jax.Array:
        for layer in params["layers"]:
            x = activation(x @ layer["w"] + layer["b"][None, :])
        return (x @ params["readout"]).sum(1)

    @jax.jit
    def look(draws: Draws, sigma_w: jax.Array, sigma_b: jax.Array, x: jax.Array) -> Measured:
        kernels = [draws.first, *draws.kernels]
        layers = [
            {"w": sigma_w * kernel / jnp.sqrt(len(kernel)), "b": sigma_b * bias}
            for kernel, bias in zip(kernels, draws.biases, strict=True)
        ]
        signals = diagnostics.signal_propagation(losses, {"layers": layers, "readout": draws.readout}, x)
        rows = (
            jnp.log(signals.length), signals.correlation, 2 * jnp.log(signals.error_norm),
            jnp.log(signals.error_variance), signals.saturation,
        )  # fmt: skip
        return Measured(*(row[: len(layers)] for row in rows))

    return look


def measure(
    activation: Activation, sigmas: Sequence[tuple[float, float]], x: Any, *, width: int, depth: int, seeds: int
) -> Measured:
    """Networks of Gaussian weights of variance sigma_w^2 / fan_in and biases of deviation sigma_b, in float64.

    Args:
      activation: of every layer.
      sigmas: pairs `(sigma_w, sigma_b)`.
      x: `(batch, inputs)`, the same for all.
      width: of every layer.
      depth: number of layers.
      seeds: number of draws, those of the seeds 0, 1, ..., each the same for all pairs.

    Returns:
      Arrays `(seeds, pairs, depth)`.
    """
    look = _program(activation)
    with double_precision():
        inputs = jnp.asarray(x, jnp.float64)
        found = []
        for seed in range(seeds):
            draws = _draws(jax.random.key(seed), inputs.shape[1], width, depth)
            found.append([look(draws, *pair, inputs) for pair in sigmas])
        return Measured(
            *(np.array([[np.asarray(one[i]) for one in row] for row in found]) for i in range(len(Measured._fields)))
        )


@functools.cache
def _theory(activation: Activation, depth: int) -> Callable[..., Any]:
    def curves(sigma_w: jax.Array, sigma_b: jax.Array, length: jax.Array, correlation: jax.Array) -> Any:
        found = diagnostics.depth_curves(
            activation, depth, length=length, correlation=correlation, sigma_w=sigma_w, sigma_b=sigma_b
        )
        factors = jax.vmap(lambda q: diagnostics.error_factor(activation, q, sigma_w=sigma_w))(found.length)
        return found, factors

    return jax.jit(curves)


def expected(
    activation: Activation, sigma_w: float, sigma_b: float, *, depth: int, length: float, correlation: float
) -> Expected:
    """The curves of mean-field theory for inputs of this mean square and cosine."""
    with double_precision():
        curves, factors = _theory(activation, depth)(*map(float, (sigma_w, sigma_b, length, correlation)))
        # From the last layer back to the first; the last layer's own slope belongs to all of them.
        back = np.append(np.cumsum(np.log(np.asarray(factors))[-2::-1])[::-1], 0.0)
        return Expected(np.log(np.asarray(curves.length)), np.asarray(curves.correlation), back)


def critical_line(activation: Activation, lengths: np.ndarray | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """sigma_w and sigma_b of the networks with chi_1 = 1 and these fixed points q*.

    `sigma_w^2 = 1 / E[phi'(sqrt(q*) z)^2]` and `sigma_b^2 = q* - sigma_w^2 E[phi(sqrt(q*) z)^2]`.
    """
    with double_precision():
        at = jax.jit(jax.vmap(lambda q: (diagnostics.error_factor(activation, q, sigma_w=1.0),
                                         diagnostics.length_map(activation, q, sigma_w=1.0))))  # fmt: skip
        slopes, squares = (np.asarray(values) for values in at(jnp.asarray(lengths)))
    return np.sqrt(1 / slopes), np.sqrt(np.maximum(np.asarray(lengths) - squares / slopes, 0))


def alike_inputs(count: int, width: int, correlation: float) -> np.ndarray:
    """Inputs `(count, width)` of mean square 1 and about this cosine between any two."""
    draws = np.random.RandomState(0)
    shared, own = draws.randn(1, width), draws.randn(count, width)
    x = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return x / np.sqrt(np.square(x).mean(1, keepdims=True))


def mean_cosine(x: np.ndarray) -> float:
    """Over all pairs of different rows."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    gram = unit @ unit.T
    return float((gram.sum() - len(x)) / (len(x) * (len(x) - 1)))


def images(splits: jaxdl.data.Splits, count: int) -> np.ndarray:
    """The first training images as rows of pixels in [0, 1]."""
    return np.asarray(splits.train.x[:count], np.float64).reshape(count, -1)
