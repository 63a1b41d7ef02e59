"""Exact checks of initializers, and of what passes through networks that start with them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from experiments.theory.exact_table import Check, each, errors_off
from jaxdl import activations, initializers, models

SHAPE = (400, 600)
BOUND = 2 / 0.87962566103423978  # the truncation at 2, rescaled to a variance of 1
WALK, WALKS = 50, 2000
TOLERANCE, NONZERO = 0.02, 15


def variance(seed: int, *, init: Any, expected: float) -> float:
    """I06 to I09: relative deviation of the variance of 240,000 draws; its standard error is 0.3 %."""
    return abs(float(jnp.var(init(jax.random.key(seed), SHAPE))) / expected - 1)


def truncation(seed: int) -> float:
    """Z-01: the largest of the truncated draws, in standard deviations, against 2 / 0.8796."""
    largest = float(jnp.max(jnp.abs(jax.nn.initializers.lecun_normal()(jax.random.key(seed), SHAPE))))
    return abs(largest * np.sqrt(SHAPE[0]) - BOUND)


def orthogonal(seed: int, *, init: Any) -> float:
    """I11, Z-05: the smaller Gram matrix against I, and singular values against 1, of a wide and a tall kernel."""
    worst = 0.0
    for shape in ((30, 50), (50, 30)):
        kernel = np.asarray(init(jax.random.key(seed), shape), np.float64)
        gram = kernel @ kernel.T if shape[0] < shape[1] else kernel.T @ kernel
        singular = np.linalg.svd(kernel, compute_uv=False)
        worst = max(worst, float(np.abs(gram - np.eye(30)).max()), float(np.abs(singular - 1).max()))
    return worst


def lsuv(seed: int) -> float:
    """I13: |Var - 1| of the pre-activations of every layer, by NumPy in float64."""
    model = models.MLP((40, 40, 40, 10), activation=jnp.tanh)
    x = jax.random.normal(jax.random.key(1000 + seed), (300, 20))
    start = model.init(jax.random.key(seed), x)
    params = initializers.lsuv(model, start, x, key=jax.random.key(2000 + seed), tolerance=TOLERANCE).variables[
        "params"
    ]
    a, worst = np.asarray(x, np.float64), 0.0
    for i in range(4):
        z = a @ np.asarray(params[f"Dense_{i}"]["kernel"], np.float64) + np.asarray(params[f"Dense_{i}"]["bias"])
        a, worst = np.tanh(z), max(worst, abs(float(z.var()) - 1))
    return worst


def sparse(seed: int) -> float:
    """I14: how far the number of non-zeros of any unit is from 15."""
    kernel = np.asarray(initializers.sparse(NONZERO)(jax.random.key(seed), SHAPE))
    return float(np.abs((kernel != 0).sum(0) - NONZERO).max())


def self_normalizing(seed: int, *, moment: str, activation: Any = activations.selu) -> float:
    """T45: the worst of 32 layers of width 512, over units and 128 standard normal inputs."""
    x_key, *keys = jax.random.split(jax.random.key(seed), 33)
    a, worst = jax.random.normal(x_key, (128, 512)), 0.0
    for key in keys:
        a = activation(a @ initializers.lecun_normal()(key, (512, 512)))
        worst = max(worst, abs(float(a.mean())) if moment == "mean" else abs(float(a.var()) - 1))
    return worst


def gain(seed: int, *, init: Any, expected: float) -> float:
    """I09: E[relu(x W)^2] over E[x^2], relative deviation, 500 standard normal inputs, width 1000."""
    x = jax.random.normal(jax.random.key(1000 + seed), (500, 1000))
    a = activations.relu(x @ init(jax.random.key(seed), (1000, 1000)))
    return abs(float(jnp.mean(a**2) / jnp.mean(x**2)) / expected - 1)


def log_moments(units: int, *, relu: bool) -> tuple[float, float]:
    """Mean and variance of ln z, z = |D W d|^2 / |d|^2 with W from N(0, 1/N), D all ones or fair coins; exact.

    N z is chi-square with as many degrees of freedom as units are on, and at least one is.
    """
    on = np.arange(1, units + 1) if relu else np.array([units])
    share = stats.binom.pmf(on, units, 0.5) / (1 - 0.5**units) if relu else np.ones(1)
    means = special.digamma(on / 2) + np.log(2 / units)
    mean = float(share @ means)
    return mean, float(share @ special.polygamma(1, on / 2) + share @ (means - mean) ** 2)


def walk_formula(_: int, *, relu: bool) -> float:
    """T50: the paper's moments against the exact ones, N = 50 ... 300; the ReLU's mean without its ln 2."""
    worst = 0.0
    for units in (50, 100, 200, 300):
        mean, variance = log_moments(units, relu=relu)
        formulas = (-2.4 / (units - 2.4), 5 / (units - 4)) if relu else (-1 / units, 2 / units)
        found = (mean + np.log(2) if relu else mean, variance)
        worst = max(worst, *(abs(a / b - 1) for a, b in zip(formulas, found, strict=True)))
    return worst


def walk_sample(seed: int, *, relu: bool, gain: float = 1.0) -> float:
    """T50: the mean of ln z over kernels of `random_walk`, in standard errors from the exact one, N = 50."""
    init = initializers.random_walk("linear", gain=gain)
    keys = jax.random.split(jax.random.key(seed), WALKS)

    @jax.jit
    @jax.vmap
    def log_ratio(key: jax.Array) -> jax.Array:
        kernel_key, d_key, mask_key = jax.random.split(key, 3)
        d = jax.random.normal(d_key, (WALK,))
        after = init(kernel_key, (WALK, WALK)).T @ d
        after = jnp.where(jax.random.bernoulli(mask_key, 0.5, (WALK,)), after, 0) if relu else after
        return jnp.log(jnp.sum(after**2) / jnp.sum(d**2))

    return errors_off(log_ratio(keys), log_moments(WALK, relu=relu)[0])


def checks() -> list[Check]:
    """The lines of this part."""
    fan_in, fan_out = SHAPE
    drawn, normal = "relative deviation of the variance, kernel 400 x 600", jax.nn.initializers
    glorot = 2 / (fan_in + fan_out)
    variances = {
        "Glorot's start has the variance 2/(in + out)": (initializers.glorot_normal(), glorot),
        "He's start has the variance 2/in": (initializers.he_normal(), 2 / fan_in),
        "LeCun's start has the variance 1/in": (initializers.lecun_normal(), 1 / fan_in),
        "the truncated version of Glorot's has it, too": (normal.glorot_normal(), glorot),
        "that of He's": (normal.he_normal(), 2 / fan_in),
        "that of LeCun's": (normal.lecun_normal(), 1 / fan_in),
    }
    printed = normal.normal(np.sqrt(3 / (fan_in + fan_out)))
    errors = f"standard errors of the mean of ln z, {WALKS:,} kernels of 50 units"
    apart, layers, of_gain = "largest deviation", "worst of 32 layers of width 512", "relative deviation, width 1000"
    return [
        *(Check(claim, each(partial(variance, init=init, expected=of)), 0.02, drawn)
          for claim, (init, of) in variances.items()),
        Check("negative control, the rule must fail: the deviation sqrt(3/(in + out)) that a slide prints",
              each(partial(variance, init=printed, expected=glorot)), 0.02, drawn, control=True),
        Check("the truncated draws end at 2.274 deviations", each(truncation), 1e-3,
              "distance of the largest of 240,000 draws, in deviations", "2/0.8796"),
        Check("of an orthogonal kernel the smaller Gram matrix is I and every singular value 1",
              each(partial(orthogonal, init=initializers.orthogonal())), 1e-5, apart, "Saxe et al. 2013"),
        Check("negative control, the rule must fail: LeCun's start in its place",
              each(partial(orthogonal, init=initializers.lecun_normal())), 1e-5, apart, control=True),
        Check("LSUV leaves the pre-activations of every layer with variance 1", each(lsuv), TOLERANCE,
              "largest |Var - 1| of four layers"),
        Check("the sparse start has exactly 15 non-zeros a unit", each(sparse), 0.0, "largest distance from 15"),
        Check("SELU from LeCun's start keeps the mean at 0", each(partial(self_normalizing, moment="mean")), 0.1,
              layers, "Klambauer et al. 2017"),
        Check("and the variance at 1", each(partial(self_normalizing, moment="variance")), 0.2, layers),
        Check("negative control, the rule must fail: ELU with the same start",
              each(partial(self_normalizing, moment="variance", activation=activations.elu)), 0.2, layers,
              control=True),
        Check("He's start: E[a^2] stays as it is through a layer of ReLU",
              each(partial(gain, init=initializers.he_normal(), expected=1.0)), 0.03, of_gain),
        Check("weights of variance 1/n halve it",
              each(partial(gain, init=initializers.lecun_normal(), expected=0.5)), 0.03, of_gain),
        Check("ln z of a linear layer has mean -1/N and variance 2/N", each(partial(walk_formula, relu=False)), 0.05,
              "relative deviation from the exact moments, N = 50 to 300", "Sussillo and Abbott 2014"),
        Check("that of a ReLU layer -ln 2 - 2.4/(N - 2.4) and 5/(N - 4)", each(partial(walk_formula, relu=True)), 0.05,
              "relative deviation from the exact moments (of the mean without ln 2), N = 50 to 300",
              "Sussillo and Abbott 2014"),
        Check("linear layers drawn by the library have that mean", each(partial(walk_sample, relu=False)), 3.0, errors),
        Check("ReLU layers, too", each(partial(walk_sample, relu=True)), 3.0, errors),
        Check("negative control, the rule must fail: weights larger by 2 %",
              each(partial(walk_sample, relu=False, gain=1.02)), 3.0, errors, control=True),
    ]  # fmt: skip
