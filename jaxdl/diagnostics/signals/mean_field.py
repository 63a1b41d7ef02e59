"""Signals in random networks of infinite width: the maps of length and correlation, and their phases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.diagnostics.signals import mean_field_report
from jaxdl.diagnostics.signals.gaussian_means import default_dtype, pair_mean, positive, standard_normal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scalar = float | jax.Array
Activation = Callable[[jax.Array], jax.Array]
SMALLEST, LARGEST = 1e-10, 1e10  # of lengths that are told apart from 0 and from infinity


class Curves(NamedTuple):
    """q and c of the pre-activations of layers 1 to depth, `(depth,)` each.

    Attributes:
      length: q, the mean square of the pre-activations.
      correlation: c, between two inputs, in [-1, 1].
    """

    length: jax.Array
    correlation: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MeanField(Stackable):
    """What becomes of signals in very deep and very wide random networks; a pytree of scalars, or arrays under vmap.

    Attributes:
      length: q*, the fixed point of q; infinite where q grows without bound, 0 where it dies.
      correlation: c*, the fixed point of c that two different examples run to; NaN where every c is kept.
      chi: chi_1 = sigma_w^2 E[phi'(sqrt(q*) z)^2], the slope of the correlation map at 1 for 0 < q* < infinity, and the
        factor a layer by which the mean square of a back-propagated error grows: below 1 ordered, above 1 chaotic.
      length_scale, correlation_scale: xi_q and xi_c, layers in which the distance to the fixed point falls by e;
        infinite where it does not fall exponentially.
    """

    length: jax.Array
    correlation: jax.Array
    chi: jax.Array
    length_scale: jax.Array
    correlation_scale: jax.Array

    def phase(self, thresholds: Thresholds = DEFAULTS) -> str:
        """`ordered`, `critical` or `chaotic`, by chi; `unbounded` where lengths grow for ever."""
        return mean_field_report.phase(self, thresholds)

    def table(self) -> str:
        """One line a quantity, as text."""
        return mean_field_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS) -> str:
        """A sentence that names the phase, and how deep a network can be."""
        return mean_field_report.verdict(self, thresholds)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws how distances shrink with depth; see `mean_field_report.plot`."""
        return mean_field_report.plot(self, path, title=title)


def length_map(activation: Activation, length: Scalar, *, sigma_w: Scalar, sigma_b: Scalar = 0.0) -> jax.Array:
    """The length of the next layer: `q' = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2`, z standard normal.

    Exact but for rounding for activations that are smooth on either side of 0; differentiable in all numbers.

    Args:
      activation: phi, entry by entry; any kink at 0.
      length: q >= 0, mean square of the pre-activations.
      sigma_w: weights are drawn with variance `sigma_w^2 / fan_in`.
      sigma_b: standard deviation of the biases.

    Returns:
      A scalar; float64 where jax computes in it.

    References:
      Poole et al. 2016, equation 3.
    """
    z, weights = standard_normal()
    squares = jnp.square(activation(jnp.sqrt(positive(length)) * z))
    return jnp.square(sigma_w) * jnp.sum(weights * squares) + jnp.square(sigma_b)


def correlation_map(
    activation: Activation, correlation: Scalar, length: Scalar, *, sigma_w: Scalar, sigma_b: Scalar = 0.0
) -> jax.Array:
    """The correlation in the next layer of two examples of equal length q and correlation c.

    `c' = (sigma_w^2 E[phi(u1) phi(u2)] + sigma_b^2) / q'`, u1 and u2 normal of variance q and correlation c.

    Args:
      activation: phi, as in `length_map`.
      correlation: c in [-1, 1].
      length: q > 0.
      sigma_w, sigma_b: as in `length_map`.

    Returns:
      A scalar. At q' = 0, where nothing is left to correlate, NaN.

    References:
      Poole et al. 2016, equation 5.
    """
    together = jnp.square(sigma_w) * pair_mean(activation, correlation, length) + jnp.square(sigma_b)
    return together / length_map(activation, length, sigma_w=sigma_w, sigma_b=sigma_b)


def error_factor(activation: Activation, length: Scalar, *, sigma_w: Scalar) -> jax.Array:
    """What the mean square of an error signal is multiplied by on its way back: `sigma_w^2 E[phi'(sqrt(q) z)^2]`.

    Args:
      activation: phi, as in `length_map`.
      length: q of the pre-activations that the error arrives at; at q* this is chi_1.
      sigma_w: as in `length_map`.

    Returns:
      A scalar.

    References:
      Schoenholz et al. 2017, equation 12.
    """
    z, weights = standard_normal()
    slopes = jax.vmap(jax.grad(lambda x: activation(x).sum()))(jnp.sqrt(positive(length)) * z)
    return jnp.square(sigma_w) * jnp.sum(weights * jnp.square(slopes))


def depth_curves(
    activation: Activation,
    depth: int,
    *,
    length: Scalar,
    correlation: Scalar,
    sigma_w: Scalar,
    sigma_b: Scalar = 0.0,
) -> Curves:
    """q and c in layers 1 to depth, which `signal_propagation` measures.

    Args:
      activation: phi, as in `length_map`.
      depth: number of layers, static.
      length: mean square of the entries of the inputs.
      correlation: cosine of two inputs.
      sigma_w, sigma_b: as in `length_map`.

    Returns:
      `Curves` of arrays `(depth,)`.

    Raises:
      ValueError: a depth below 1.
    """
    checks.whole_number(depth=depth, minimum=1, remedy="It is the number of layers.")
    variance = jnp.square(sigma_b)
    first = jnp.square(sigma_w) * length + variance
    alike = (jnp.square(sigma_w) * correlation * length + variance) / first

    def layer(signal: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], Curves]:
        q, c = signal
        following = correlation_map(activation, jnp.clip(c, -1, 1), q, sigma_w=sigma_w, sigma_b=sigma_b)
        return (length_map(activation, q, sigma_w=sigma_w, sigma_b=sigma_b), following), Curves(q, c)

    start = (jnp.asarray(first, default_dtype()), jnp.asarray(alike, default_dtype()))
    return jax.lax.scan(layer, start, None, length=depth)[1]


def mean_field(activation: Activation, *, sigma_w: Scalar, sigma_b: Scalar = 0.0, start: Scalar = 1.0) -> MeanField:
    """Fixed points, depth scales and phase of random networks of one activation.

    `1/xi_q = -ln |dq'/dq|` at q*; `1/xi_c = -ln(sigma_w^2 E[phi'(u1) phi'(u2)] q/q')` at q*, c*, where q' = q unless q*
    is 0 or infinite.

    Args:
      activation: phi, as in `length_map`.
      sigma_w: weights are drawn with variance `sigma_w^2 / fan_in`: 1 for LeCun's start, sqrt(2) for He's.
      sigma_b: standard deviation of the biases.
      start: the length to stay at where the map keeps every length, as ReLU's does at its critical point.

    Returns:
      A `MeanField` of scalars, float64 where jax computes in it.

    Raises:
      ValueError: a negative or infinite deviation, or a start that is not positive.

    Example:
      >>> mean_field(jax.nn.relu, sigma_w=2**0.5).phase()
      'critical'

    References:
      Poole et al., "Exponential expressivity in deep neural networks through transient chaos", 2016; Schoenholz et al.,
      "Deep information propagation", 2017, equations 4 to 9.
    """
    checks.number(sigma_w=sigma_w, minimum=0, remedy="It is a standard deviation.")
    checks.number(sigma_b=sigma_b, minimum=0, remedy="It is a standard deviation.")
    checks.number(start=start, minimum=0, exclusive=True, remedy="It is a mean square.")
    return _mean_field(
        *(jnp.asarray(value, default_dtype()) for value in (sigma_w, sigma_b, start)), activation=activation
    )


@partial(jax.jit, static_argnames="activation")
def _mean_field(sigma_w: jax.Array, sigma_b: jax.Array, start: jax.Array, *, activation: Activation) -> MeanField:
    sigmas: dict[str, Any] = dict(sigma_w=sigma_w, sigma_b=sigma_b)
    following = lambda q: length_map(activation, q, **sigmas)  # noqa: E731
    slope = jax.vmap(jax.grad(lambda x: activation(x).sum()))
    length = _fixed_length(following, start)
    # At 0 and at infinity the maps are those of the smallest and the largest length told apart.
    q = jnp.clip(length, SMALLEST, LARGEST)
    chi = error_factor(activation, q, sigma_w=sigma_w)
    growth = q / following(q)
    rounding = 10 * jnp.finfo(q.dtype).eps

    def gap(c: jax.Array) -> jax.Array:
        return correlation_map(activation, c, q, **sigmas) - c

    # Up to a slope of 1 the only fixed point is 1, where the gap drowns in rounding before it closes.
    found = _bisected(lambda c: gap(c) > 0, jnp.zeros_like(q), jnp.ones_like(q))
    correlation = jnp.where(chi * growth <= 1 + rounding, 1, found)
    steepness = jnp.square(sigma_w) * growth * pair_mean(slope, correlation, q)
    return MeanField(
        length=length,
        correlation=jnp.where(jnp.abs(gap(jnp.full_like(q, 0.5))) < 1e-6, jnp.nan, correlation),
        chi=chi,
        length_scale=_scale(jnp.abs(jax.grad(following)(q)), rounding),
        correlation_scale=_scale(jnp.where(correlation == 1, chi * growth, steepness), rounding),
    )


def _scale(factor: jax.Array, rounding: Any) -> jax.Array:
    falls = factor < 1 - rounding
    return jnp.where(falls, -1 / jnp.log(jnp.where(falls, factor, 0.5)), jnp.inf)


def _fixed_length(following: Callable[[jax.Array], jax.Array], start: jax.Array) -> jax.Array:
    """The length that the map leads to; by halving, since near the critical point the map takes for ever."""
    low, high = (jnp.full_like(start, value) for value in (SMALLEST, LARGEST))
    rounding = 100 * jnp.finfo(start.dtype).eps
    kept = lambda q: jnp.abs(following(q) / q - 1) < rounding  # noqa: E731
    grows = lambda log_q: following(jnp.exp(log_q)) > jnp.exp(log_q)  # noqa: E731
    length = jnp.exp(_bisected(grows, jnp.log(low), jnp.log(high)))
    length = jnp.where(following(low) < low, 0, jnp.where(following(high) > high, jnp.inf, length))
    return jnp.where(kept(start) & kept(2 * start) & kept(start / 2), start, length)


def _bisected(above: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """Where `above` stops being true."""

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        up = above(middle)
        return jnp.where(up, middle, low), jnp.where(up, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
    return (low + high) / 2
