"""Exact checks of dropout, normalizations, counts of signs, XOR and regression."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments.theory.exact_table import Check, each, errors_off, relative
from experiments.theory.xor import best_linear_accuracy, relu_xor, threshold_xor
from jaxdl import diagnostics, layers, procedures, regularizers
from jaxdl.data import toy

RATE, MASKS = 0.3, 4000
ALPHA, BETA = 2.0, 9.0
SAMPLES = 20_480


def ridge_of_dropout(seed: int, *, spread: float = 1.0) -> float:
    """R09: the mean of |y - (R o X) w|^2 against |y - p X w|^2 + p (1 - p) |Gamma w|^2, in standard errors."""
    draws = np.random.RandomState(seed)
    x, y, w = draws.randn(20, 8), draws.randn(20), draws.randn(8)
    keep = 1 - RATE
    expected = ((y - keep * x @ w) ** 2).sum() + spread * keep * RATE * ((x**2).sum(0) * w**2).sum()
    keys, inputs = jax.random.split(jax.random.key(seed), MASKS), jnp.asarray(x, jnp.float32)
    masked = jax.jit(jax.vmap(lambda key: regularizers.classic_dropout(key, inputs, rate=RATE)))(keys)
    return errors_off(((y - np.asarray(masked, np.float64) @ w) ** 2).sum(1), float(expected))


def same_expectation(seed: int, *, kind: str) -> float:
    """R09, R10: the mean of a weighted sum of what dropout lets pass against its value in evaluation."""
    draws = np.random.RandomState(seed)
    # Positive, or the sum might be near 0, where a wrong factor would not show.
    x, weights = jnp.asarray(draws.rand(50), jnp.float32), draws.rand(50)
    keys = jax.random.split(jax.random.key(seed), MASKS)
    drop = regularizers.dropout if kind == "inverted" else regularizers.classic_dropout
    evaluated = regularizers.classic_dropout(None, x, rate=RATE) if kind == "classic" else x
    passed = np.asarray(jax.vmap(lambda key: drop(key, x, rate=RATE))(keys), np.float64)
    return errors_off(passed @ weights, float(np.asarray(evaluated, np.float64) @ weights))


def alpha_moments(seed: int, *, drop: Any) -> float:
    """R12: the larger deviation of mean and variance from 0 and 1 over 2,000,000 standard normal inputs."""
    x_key, key = jax.random.split(jax.random.key(seed))
    y = np.asarray(drop(key, jax.random.normal(x_key, (2_000_000,)), rate=0.1), np.float64)
    return max(abs(float(y.mean())), abs(float(y.var()) - 1))


def _batch(seed: int) -> Any:
    return 3 + 2 * jax.random.normal(jax.random.key(1000 + seed), (64, 10))


def batch_norm(seed: int, *, mode: str) -> float:
    """N04: batch outputs of mean 0 and variance 1; in evaluation (x - running mean) / sqrt(running var + eps)."""
    layer, x = (
        nn.BatchNorm(momentum=0.9, use_fast_variance=False, use_running_average=mode == "evaluation"),
        _batch(seed),
    )
    running = {"mean": _batch(seed + 7)[0], "var": jnp.abs(_batch(seed + 8)[0]) + 0.1}
    variables = {"params": layer.init(jax.random.key(0), x)["params"], "batch_stats": running}
    y = np.asarray(layer.apply(variables, x, mutable=["batch_stats"])[0], np.float64)
    if mode == "evaluation":
        mean, var = (np.asarray(running[name], np.float64) for name in ("mean", "var"))
        return float(np.abs(y - (np.asarray(x, np.float64) - mean) / np.sqrt(var + 1e-5)).max())
    return max(float(np.abs(y.mean(0)).max()), float(np.abs(y.var(0) - 1).max()))


def renorm_is_norm(seed: int, *, r_max: float, d_max: float) -> float:
    """N08: batch renormalization against batch normalization from the same running statistics."""
    x = _batch(seed)
    ours = layers.BatchRenorm(momentum=0.9, use_running_average=False, r_max=r_max, d_max=d_max)
    plain = nn.BatchNorm(momentum=0.9, use_running_average=False, use_fast_variance=False)
    variables = ours.init(jax.random.key(0), x)
    (y, _), (z, _) = (layer.apply(variables, x, mutable=["batch_stats"]) for layer in (ours, plain))
    return float(jnp.max(jnp.abs(y - z)))


def _weight_norm(seed: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]:
    """A layer, its x, v and g, and parameters with a g that is not 1."""
    layer, x = nn.WeightNorm(nn.Dense(4, use_bias=False)), _batch(seed)
    drawn = layer.init(jax.random.key(seed), x)["params"]
    leaves, structure = jax.tree.flatten(drawn)
    g = jnp.exp(jax.random.normal(jax.random.key(2000 + seed), (4,)))
    params = jax.tree.unflatten(structure, [leaf if leaf.ndim == 2 else g for leaf in leaves])
    (v,) = (leaf for leaf in leaves if leaf.ndim == 2)
    return layer, np.asarray(x, np.float64), np.asarray(v, np.float64), np.asarray(g, np.float64), params


def column_norms(seed: int) -> float:
    """N07: the norms of the columns of the kernel that weight normalization multiplies with, against g."""
    layer, x, _, g, params = _weight_norm(seed)
    kernel = np.asarray(layer.apply({"params": params}, jnp.eye(x.shape[1])))
    return float(np.abs(np.linalg.norm(kernel, axis=0) - g).max())


def weight_norm_gradients(seed: int, *, projected: bool) -> float:
    """N07: gradients of sum(c o (x w)), whose dw is x^T c, against the identities."""
    layer, x, v, g, params = _weight_norm(seed)
    c = np.random.RandomState(seed).randn(len(x), len(g))
    loss = lambda p: jnp.sum(jnp.asarray(c, jnp.float32) * layer.apply({"params": p}, jnp.asarray(x, jnp.float32)))  # noqa: E731
    found = {leaf.ndim: leaf for leaf in jax.tree.leaves(jax.grad(loss)(params))}
    dw, norm = x.T @ c, np.linalg.norm(v, axis=0)
    dg = (dw * v).sum(0) / norm
    dv = g / norm * dw - projected * g * dg / norm**2 * v
    return max(relative(found[1], dg), relative(found[2], dv))


def cosine_range(seed: int) -> float:
    """N09: how far the largest output exceeds 1, some units being examples or their negatives, at any scale."""
    x = np.asarray(_batch(seed))
    drawn = np.random.RandomState(seed).randn(10, 40)
    kernel = np.concatenate([100 * x[:5].T, -0.01 * x[5:10].T, drawn], 1).astype(np.float32)
    y = layers.CosineDense(kernel.shape[1]).apply({"params": {"kernel": kernel}}, x)
    return max(0.0, float(np.abs(np.asarray(y)).max()) - 1)


def minima(seed: int) -> float:
    """T18: shares of points all of whose K fair signs are positive against 2^-K, K = 1 ... 10, in binomial errors."""
    found = diagnostics.sign_argument(jax.random.key(seed), dimensions=range(1, 11), num_samples=SAMPLES)
    expected = 0.5 ** np.arange(1, 11)
    errors = np.sqrt(expected * (1 - expected) / found.num_samples)
    return float((np.abs(np.asarray(found.independent) / found.num_samples - expected) / errors).max())


def xor(_: int) -> float:
    """T01: two ReLU units, and three threshold units, against the labels."""
    x, y = toy.xor()
    return max(float(jnp.max(jnp.abs(net(jnp.asarray(x)) - y))) for net in (relu_xor, threshold_xor))


def linear_share(_: int) -> float:
    """T02: the best linear accuracy on XOR against 3/4."""
    return abs(best_linear_accuracy(*toy.xor()) - 0.75)


def regression(seed: int, *, what: str, strength: float = ALPHA / BETA) -> float:
    """E03, E04: 1/beta_ML against the mean squared residual, or the MAP weights against ridge regression."""
    draws = np.random.RandomState(seed)
    design, targets = draws.randn(30, 5), draws.randn(30)
    x, t = jnp.asarray(design, jnp.float32), jnp.asarray(targets, jnp.float32)
    if what == "precision":
        weights = np.linalg.solve(design.T @ design, design.T @ targets)
        precision = procedures.linear_maximum_likelihood(x, t).precision
        return relative(1 / precision, ((targets - design @ weights) ** 2).mean())
    ridge = np.linalg.solve(design.T @ design + strength * np.eye(5), design.T @ targets)
    mean = procedures.linear_posterior(x, t, prior_precision=ALPHA, noise_precision=BETA).mean
    return max(relative(mean, ridge), relative(procedures.ridge_regression(x, t, strength=strength), ridge))


def checks() -> list[Check]:
    """The lines of this part."""
    errors, apart, off = f"standard errors, {MASKS:,} masks", "largest deviation", "relative deviation"
    return [
        Check("dropout on linear regression adds p (1 - p) |Gamma w|^2", each(ridge_of_dropout), 3.0, errors,
              "Srivastava et al. 2014, section 9"),
        Check("negative control, the rule must fail: with half of that term",
              each(partial(ridge_of_dropout, spread=0.5)), 3.0, errors, control=True),
        Check("inverted dropout has the expectation of evaluation", each(partial(same_expectation, kind="inverted")),
              3.0, errors),
        Check("and so has classic dropout", each(partial(same_expectation, kind="classic")), 3.0, errors),
        Check("negative control, the rule must fail: classic dropout, evaluated without its factor",
              each(partial(same_expectation, kind="unscaled")), 3.0, errors, control=True),
        Check("alpha dropout keeps mean 0 and variance 1",
              each(partial(alpha_moments, drop=regularizers.alpha_dropout)), 0.005, "2,000,000 samples"),
        Check("negative control, the rule must fail: inverted dropout",
              each(partial(alpha_moments, drop=regularizers.dropout)), 0.005, "2,000,000 samples", control=True),
        Check("batch normalization: outputs of a batch have mean 0 and variance 1",
              each(partial(batch_norm, mode="training")), 1e-4, apart),
        Check("and in evaluation it takes its running statistics", each(partial(batch_norm, mode="evaluation")), 1e-4,
              apart),
        Check("batch renormalization with r = 1 and d = 0 is batch normalization",
              each(partial(renorm_is_norm, r_max=1.0, d_max=0.0)), 1e-4, apart),
        Check("negative control, the rule must fail: with r up to 3 and d up to 5",
              each(partial(renorm_is_norm, r_max=3.0, d_max=5.0)), 1e-4, apart, control=True),
        Check("the columns of a weight-normalized kernel have the norms g", each(column_norms), 1e-4, apart),
        Check("gradients of weight normalization are those of its identities",
              each(partial(weight_norm_gradients, projected=True)), 1e-5, off, "Salimans and Kingma 2016"),
        Check("negative control, the rule must fail: dv = g/|v| dw",
              each(partial(weight_norm_gradients, projected=False)), 1e-5, off, control=True),
        Check("cosine normalization puts out no more than 1", each(cosine_range), 1e-4, "excess over 1"),
        Check("K fair signs are all positive with probability 2^-K, K = 1 to 10", each(minima), 3.0,
              f"largest distance in binomial errors, {SAMPLES:,} samples", "2^-K"),
        Check("two ReLU units, or three threshold units, compute XOR", each(xor), 0.0, apart),
        Check("the best linear accuracy on XOR is 3/4", each(linear_share), 0.0, apart, "3/4"),
        Check("1/beta of maximum likelihood is the mean squared residual", each(partial(regression, what="precision")),
              1e-5, off),
        Check("the most probable weights are those of ridge regression, lambda = alpha/beta",
              each(partial(regression, what="map")), 1e-5, off),
        Check("negative control, the rule must fail: lambda = alpha",
              each(partial(regression, what="map", strength=ALPHA)), 1e-5, off, control=True),
    ]  # fmt: skip
