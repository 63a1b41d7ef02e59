"""Linear regression under Gaussian noise in closed form: most likely weights, and all weights by their probability.

    t = X w + noise,    noise ~ N(0, 1/beta),    w ~ N(0, 1/alpha)

`X` is the design matrix, (examples, weights): one column for each basis function, a column of ones for an intercept.
beta is the precision of the noise, alpha that of the prior; each is the reciprocal of a VARIANCE. Targets are
`(examples,)`; several outputs that share a design are `jax.vmap(linear_posterior, in_axes=(None, 1))(X, T)` and alike.

Everything is computed in float32 at least, and without the product X^T X, whose condition number is the square of X's:
the triangular factor of S^-1 = alpha I + beta X^T X comes from a QR decomposition.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jaxdl import checks
from jaxdl.losses import gaussian_nll


class LinearFit(NamedTuple):
    """Weights `(weights,)`, and the precision of the noise, `()`.

    Attributes:
      weights: `(weights,)`.
      precision: beta, 1 / variance of the noise, `()`.
    """

    weights: jax.Array
    precision: jax.Array


class LinearPosterior(NamedTuple):
    """The Gaussian N(m, S) of the weights, given data.

    Attributes:
      mean: m, (weights,); it is the most probable value, too.
      factor: upper triangular R with R^T R = S^-1, (weights, weights).
      noise_precision: beta, ().
    """

    mean: jax.Array
    factor: jax.Array
    noise_precision: jax.Array

    @property
    def covariance(self) -> jax.Array:
        """S, (weights, weights)."""
        root = solve_triangular(self.factor, jnp.eye(len(self.factor), dtype=self.factor.dtype))
        return root @ root.T


class Predictive(NamedTuple):
    """Mean and variance of the Gaussian of each target, `(examples,)` both.

    Attributes:
      mean: `(examples,)`.
      variance: `(examples,)`, of noise and weights together.
    """

    mean: jax.Array
    variance: jax.Array


def linear_log_likelihood(weights: jax.Array, design: jax.Array, targets: jax.Array, *, precision: Any) -> jax.Array:
    """`ln p(t | w, beta) = N/2 ln(beta / 2 pi) - beta/2 sum_i (t_i - x_i w)^2`, a scalar (Bishop 2006, eq. 3.11).

    Args:
      weights: w, (weights,).
      design: X, (examples, weights).
      targets: t, (examples,).
      precision: beta > 0.

    Returns:
      The logarithm, `()`.

    Raises:
      ValueError: shapes that do not fit, or a precision out of its range.
    """
    design, targets = _checked(design, targets, fewest=0)
    checks.number(precision=precision, minimum=0, exclusive=True, remedy="It is 1 / variance of the noise.")
    if jnp.shape(weights) != design.shape[1:]:
        raise ValueError(
            f"weights: expected one for each column of design, {design.shape[1:]}; got {jnp.shape(weights)}. "
            "Give a column of ones its weight, too."
        )
    weights = jnp.asarray(weights, design.dtype)
    return -jnp.sum(gaussian_nll(design @ weights, targets, log_precision=jnp.log(precision)))


def linear_maximum_likelihood(design: jax.Array, targets: jax.Array) -> LinearFit:
    """The weights and the precision that make the targets most likely.

        w = argmin sum_i (t_i - x_i w)^2        1/beta = 1/N sum_i (t_i - x_i w)^2

    Least squares is maximum likelihood under Gaussian noise, whatever beta is. 1/beta estimates the noise together with
    what the model misses; it is too small on average, by the factor 1 - weights/N.

    Args:
      design: X, (examples, weights), at least one example.
      targets: t, (examples,).

    Returns:
      The weights, those of smallest norm where several fit equally well, and beta. Where the fit is exact, beta is
      infinite, or as large as rounding makes it.

    Raises:
      ValueError: shapes that do not fit.

    References:
      Bishop 2006, eq. 3.15 and 3.21.
    """
    design, targets = _checked(design, targets, fewest=1)
    weights = jnp.linalg.lstsq(design, targets)[0]
    return LinearFit(weights, 1 / jnp.mean(jnp.square(targets - design @ weights)))


def ridge_regression(design: jax.Array, targets: jax.Array, *, strength: Any) -> jax.Array:
    """`argmin_w 1/2 sum_i (t_i - x_i w)^2 + lambda/2 sum_j w_j^2`, shape `(weights,)`.

    With lambda = alpha/beta these are the most probable weights under the prior N(0, 1/alpha) and noise of precision
    beta (Bishop 2006, eq. 3.55). As a penalty beside the MEAN of half the squares lambda is alpha / (beta N).

    Args:
      design: X, (examples, weights).
      targets: t, (examples,).
      strength: lambda >= 0; 0 needs a design with independent columns.

    Returns:
      The weights, `(weights,)`.

    Raises:
      ValueError: shapes that do not fit, or a strength out of its range.
    """
    design, targets = _checked(design, targets, fewest=0)
    checks.number(strength=strength, minimum=0, remedy="It is alpha / beta.")
    return _solved(design, targets, jnp.sqrt(jnp.asarray(strength, design.dtype)))[0]


def linear_posterior(
    design: jax.Array, targets: jax.Array, *, prior_precision: Any, noise_precision: Any
) -> LinearPosterior:
    """Every weight by its probability, given the data: `p(w | t) = N(m, S)`.

        S^-1 = alpha I + beta X^T X        m = beta S X^T t

    Args:
      design: X, (examples, weights); without examples the posterior is the prior.
      targets: t, (examples,).
      prior_precision: alpha > 0.
      noise_precision: beta > 0.

    Returns:
      Mean m `(weights,)` and covariance S `(weights, weights)`.

    Raises:
      ValueError: shapes that do not fit, or a precision out of its range.

    Example:
      >>> x = jnp.linspace(-1.0, 1.0, 5)
      >>> design = jnp.stack([jnp.ones(5), x], axis=1)
      >>> found = linear_posterior(design, 2 * x, prior_precision=1e-3, noise_precision=100.0)
      >>> found.mean.round(2).tolist()
      [0.0, 2.0]

    References:
      Bishop 2006, eq. 3.53 and 3.54.
    """
    design, targets = _checked(design, targets, fewest=0)
    alpha, beta = _precisions(prior_precision, noise_precision, design.dtype)
    mean, factor = _solved(jnp.sqrt(beta) * design, jnp.sqrt(beta) * targets, jnp.sqrt(alpha))
    return LinearPosterior(mean, factor, beta)


def posterior_predictive(posterior: LinearPosterior, design: jax.Array) -> Predictive:
    """A new target by its probability, over all weights: `p(t | x) = N(x m, 1/beta + x S x^T)`.

    The first part of the variance is the noise, the second what is not known of the weights; it goes to 0 as examples
    come in, and grows away from them.

    Args:
      posterior: from `linear_posterior`.
      design: X of the new examples, (examples, weights), by the same basis functions.

    Returns:
      Mean and variance, (examples,) both.

    Raises:
      ValueError: a design with another number of columns.

    References:
      Bishop 2006, eq. 3.58 and 3.59.
    """
    width = posterior.mean.shape[0]
    if jnp.ndim(design) != 2 or jnp.shape(design)[1] != width:
        raise ValueError(
            f"design: expected (examples, {width}), as the posterior was made with; got {jnp.shape(design)}. "
            "Apply the same basis functions to the new inputs."
        )
    design = jnp.asarray(design, posterior.mean.dtype)
    spread = solve_triangular(posterior.factor, design.T, trans="T")
    return Predictive(design @ posterior.mean, 1 / posterior.noise_precision + jnp.sum(jnp.square(spread), 0))


def linear_log_evidence(
    design: jax.Array, targets: jax.Array, *, prior_precision: Any, noise_precision: Any
) -> jax.Array:
    """How likely the targets are before any weight is known: `ln p(t | alpha, beta)`, a scalar.

        M/2 ln alpha + N/2 ln beta - beta/2 |t - X m|^2 - alpha/2 |m|^2 - 1/2 ln |S^-1| - N/2 ln 2 pi

    Its maximum chooses alpha, beta or the basis functions by the training data alone.

    Args:
      design: X, (examples, weights): N examples, M weights.
      targets: t, (examples,).
      prior_precision: alpha > 0.
      noise_precision: beta > 0.

    Returns:
      The logarithm, `()`.

    Raises:
      ValueError: shapes that do not fit, or a precision out of its range.

    References:
      Bishop 2006, eq. 3.86; MacKay, "Bayesian interpolation", 1992.
    """
    mean, factor, beta = linear_posterior(
        design, targets, prior_precision=prior_precision, noise_precision=noise_precision
    )
    design, targets = _checked(design, targets, fewest=0)
    alpha = jnp.asarray(prior_precision, design.dtype)
    num_examples, num_weights = design.shape
    misfit = beta * jnp.sum(jnp.square(targets - design @ mean)) + alpha * jnp.sum(jnp.square(mean))
    half_log_determinant = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factor))))
    scale = num_weights * jnp.log(alpha) + num_examples * (jnp.log(beta) - math.log(2 * math.pi))
    return 0.5 * (scale - misfit) - half_log_determinant


def _solved(design: jax.Array, targets: jax.Array, diagonal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Least squares of the design with `diagonal * I` below it and zeros as its targets, and the factor R."""
    width = design.shape[1]
    below = diagonal * jnp.eye(width, dtype=design.dtype)
    orthogonal, factor = jnp.linalg.qr(jnp.concatenate([design, below]))
    return solve_triangular(factor, orthogonal[: len(targets)].T @ targets), factor


def _precisions(prior: Any, noise: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    checks.number(prior_precision=prior, minimum=0, exclusive=True, remedy="It is 1 / variance of the weights.")
    checks.number(noise_precision=noise, minimum=0, exclusive=True, remedy="It is 1 / variance of the noise.")
    return jnp.asarray(prior, dtype), jnp.asarray(noise, dtype)


def _checked(design: Any, targets: Any, *, fewest: int) -> tuple[jax.Array, jax.Array]:
    shape, answers = jnp.shape(design), jnp.shape(targets)
    if len(shape) != 2 or shape[0] < fewest or shape[1] < 1:
        raise ValueError(
            f"design: expected shape (examples, weights), at least ({fewest}, 1); got {shape}. "
            "Make a column of each input or basis function: x[:, None] for one."
        )
    if answers != shape[:1]:
        raise ValueError(
            f"targets: expected one for each row of design, {shape[:1]}; got {answers}. "
            "Pass t[:, 0] where t is (examples, 1), and see jax.vmap for several outputs."
        )
    dtype = jnp.promote_types(jnp.result_type(design, targets), jnp.float32)
    return jnp.asarray(design, dtype), jnp.asarray(targets, dtype)
