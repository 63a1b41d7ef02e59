"""The gradient noise scale: the batch size at which the gradient is as much signal as noise."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm as standard_normal

from jaxdl import checks
from jaxdl.diagnostics.gradients import noise_report
from jaxdl.diagnostics.gradients.chunks import over_chunks
from jaxdl.diagnostics.gradients.directional import Losses, inner_products, polar, widened
from jaxdl.diagnostics.gradients.gradient_statistics import norms_and_mean, several_examples
from jaxdl.diagnostics.reporting.stacked import Stackable
from jaxdl.diagnostics.reporting.thresholds import DEFAULTS, Thresholds
from jaxdl.tree import divisor, norm, num_examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoiseScale(Stackable):
    """The simple noise scale at one point of the parameters, in examples; a pytree of arrays.

    Attributes:
      scale: tr(Sigma) / |G|^2; infinite where the estimate of |G|^2 is not positive, so that no signal was found.
      low, high: ends of the interval of the scale; the upper one is infinite where the data do not bound it.
      gradient_squared: unbiased estimate of |G|^2, G the expected gradient; by chance it may be negative.
      variance: unbiased estimate of tr(Sigma), the total variance of the gradient of one example.
      num_examples: how many gradients this rests on.
      confidence: of the interval.
    """

    scale: jax.Array
    low: jax.Array
    high: jax.Array
    gradient_squared: jax.Array
    variance: jax.Array
    num_examples: int = field(metadata={"static": True})
    confidence: float = field(metadata={"static": True})

    def steps(self, batch_size: Any) -> jax.Array:
        """Steps to some loss with this batch size, over those with the exact gradient: `1 + scale / batch`."""
        return 1 + self.scale / jnp.asarray(batch_size)

    def examples(self, batch_size: Any) -> jax.Array:
        """Examples to some loss with this batch size, over those with the smallest batches: `1 + batch / scale`."""
        return 1 + jnp.asarray(batch_size) / self.scale

    def table(self) -> str:
        """Scale, interval, signal and noise, and what batch sizes around the scale cost, as text."""
        return noise_report.table(self)

    def verdict(self, thresholds: Thresholds = DEFAULTS, *, batch_size: int | None = None) -> str:
        """A sentence with its numbers; with a batch size, whether that one is small or large for this gradient."""
        return noise_report.verdict(self, thresholds, batch_size=batch_size)

    def plot(self, path: Any = None, *, title: str | None = None) -> "Figure":
        """Draws what a batch size costs in steps and in examples."""
        return noise_report.plot(self, path, title=title)


def noise_scale(
    losses_fn: Losses, params: PyTree, data: PyTree, *, batch_size: int, confidence: float = 0.95
) -> NoiseScale:
    """The gradient noise scale `tr(Sigma) / |G|^2`, about the largest batch size that is no waste.

    With N examples, g_i their gradients and g the mean of all, `S = N / (N - 1) (mean_i |g_i|^2 - |g|^2)` and
    `Q = |g|^2 - S / N` are unbiased for tr(Sigma) and |G|^2: equations A.2 and A.3 of the paper for a batch of N and
    one of 1. The data go through twice, `batch_size` at a time: for norms and the mean gradient, and for
    `<g_i, g>` by a forward-mode pass. From these two numbers of every example follow S and Q without it, hence the
    jackknife covariance of S and Q, and the interval of their ratio by Fieller's theorem. It takes Q for normal, which
    it is not where there is hardly any signal and all the noise lies in one or two directions: too narrow then.

    The scale is that of these parameters: it grows as the loss falls, by orders of magnitude over a training, so
    measure it again as you go and let the batch grow with it. It is in terms of plain gradients and of a Hessian
    like the identity; for Adam and other methods that rescale entries it is an order of magnitude.

    Args:
      losses_fn: `losses_fn(params, batch) -> (batch,)`, pure; see `per_example_gradient_norms`.
      params: pytree of parameters.
      data: pytree of arrays with a leading example axis of three or more, drawn independently.
      batch_size: how many examples are taken at a time; the result does not depend on it.
      confidence: of the interval.

    Returns:
      A `NoiseScale` with scalar arrays, float32 at least.

    Raises:
      ValueError: fewer than three examples, a bad `batch_size`, or a `confidence` outside of 0 to 1; else as
        `per_example_gradient_norms`, for losses that mix examples above all.
      TypeError: as there.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (4000, 3)) + 1
      >>> noise_scale(lambda w, x: x @ w, jnp.ones(3), x, batch_size=500).scale  # of N(1, I): 3 / 3
      Array(1.0032, dtype=float32)

    References:
      McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training", arXiv:1812.06162, 2018,
      eq. (2.9) and appendix A.1. Fieller, "Some problems in interval estimation", JRSS B 16, 1954.
    """
    params, data = jax.tree.map(jnp.asarray, (params, data))
    several_examples(data, argument="data", minimum=3)
    checks.whole_number(batch_size=batch_size, minimum=1, remedy="It is how many examples are taken at a time.")
    checks.number(
        confidence=confidence, minimum=0, below=1, exclusive=True, remedy="0.95 is usual; more makes it wider."
    )
    return _measure(params, data, losses_fn=losses_fn, batch_size=batch_size, confidence=float(confidence))


@partial(jax.jit, static_argnames=("losses_fn", "batch_size", "confidence"))
def _measure(params: PyTree, data: PyTree, *, losses_fn: Losses, batch_size: int, confidence: float) -> NoiseScale:
    count = num_examples(data)
    by_layer, mean = norms_and_mean(losses_fn, params, data, size=batch_size)
    norms = norm(jnp.stack(list(by_layer.values())), axis=0)
    length, direction = polar(mean)

    def along(carry: None, part: PyTree) -> tuple[None, jax.Array]:
        return carry, widened(inner_products(losses_fn, params, part, direction))

    components = over_chunks(along, None, data, size=batch_size)[1]
    # The squares are taken of numbers of ordinary size; a ratio of them does not depend on the unit.
    unit = divisor(jnp.max(norms))
    squares, length = jnp.square(norms / unit), length / unit
    noise = jnp.maximum(count / (count - 1) * (jnp.mean(squares) - length**2), 0)
    signal = length**2 - noise / count
    ratio = noise / jnp.where(signal > 0, signal, 1)
    scale = jnp.where(signal > 0, ratio, jnp.where(noise > 0, jnp.inf, jnp.nan))
    covariance = _jackknife(squares, length * components / unit)
    quantile_square = standard_normal.ppf(0.5 + confidence / 2) ** 2
    low, high = _fieller(noise, signal, quantile_square * covariance)
    low = jnp.where(signal > 0, low, _least_scale(quantile_square, count))
    return NoiseScale(
        scale=scale,
        low=jnp.where(jnp.isnan(scale), jnp.nan, low),
        high=jnp.where(jnp.isnan(scale), jnp.nan, high),
        gradient_squared=signal * unit * unit,
        variance=noise * unit * unit,
        num_examples=count,
        confidence=confidence,
    )


def _jackknife(squares: jax.Array, products: jax.Array) -> jax.Array:
    """Covariance (2, 2) of S and Q from their values without each of the examples in turn.

    With M = mean_i |g_i|^2 and L = |g|^2, `M_(i) = M + (M - |g_i|^2) / (N - 1)` and `L_(i) = |N g - g_i|^2 / (N-1)^2`.
    What is the same for all i is left out: it does not count, and would cost digits.
    """
    count = len(squares)
    others = count - 1
    mean_square, length_square = -squares / others, (squares - 2 * count * products) / others**2
    noise = others / (others - 1) * (mean_square - length_square)
    departures = jnp.stack([noise, length_square - noise / others])
    departures -= jnp.mean(departures, 1, keepdims=True)
    return others / count * jnp.matmul(departures, departures.T, precision=jax.lax.Precision.HIGHEST)


def _fieller(noise: jax.Array, signal: jax.Array, bounds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The ratios r >= 0 for which `(S - r Q)^2` is at most its own bound; `bounds` are those of S and Q.

    Their ends are the roots of `(Q^2 - v_qq) r^2 - 2 (S Q - v_sq) r + (S^2 - v_ss)`.
    """
    a, b, c = signal**2 - bounds[1, 1], noise * signal - bounds[0, 1], noise**2 - bounds[0, 0]
    root = jnp.sqrt(jnp.maximum(b * b - a * c, 0))
    # Without an |G|^2 that is told from 0 the ratio has no upper bound.
    told = (a > 0) & (signal > 0)
    high = jnp.where(told, (b + root) / jnp.where(told, a, 1), jnp.inf)
    # The smaller root, (b - root) / a, in the form that does not cancel.
    below = (c > 0) & (b + root > 0)
    return jnp.where(below, c / jnp.where(below, b + root, 1), 0), high


def _least_scale(quantile_square: jax.Array, count: int) -> jax.Array:
    """The smallest ratio for which finding no signal, Q <= 0, is not yet unlikely.

    The variance of Q is at most `4 |G|^2 S / N + 2 S^2 / N^2`, reached where all the noise lies along G; the jackknife
    sees little of it where the mean gradient happens to be short. With `|G|^2 = k S / N` the bound is
    `k^2 = quantile^2 (4 k + 2)`.
    """
    return count / (2 * quantile_square + jnp.sqrt(4 * quantile_square**2 + 2 * quantile_square))
