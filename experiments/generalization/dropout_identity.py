"""Dropout on the inputs of linear regression is a ridge penalty scaled by the inputs (Srivastava et al. 2014, 9.1)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl import regularizers

EXAMPLES, INPUTS, MASKS, RETAIN = 20, 8, 40_000, 0.6
ERRORS = 3.0


class Identity(NamedTuple):
    """Of one draw of inputs, targets and weights.

    Attributes:
      sampled: mean over masks of `|y - (R * X) w|^2`.
      error: its standard error.
      fit: `|y - p X w|^2`.
      penalty: `p (1 - p) |Gamma w|^2`, with `Gamma = diag(X^T X)^(1/2)`.
    """

    sampled: float
    error: float
    fit: float
    penalty: float


def judge_identity(run: Run) -> list[Identity]:
    """X04: the mean over masks is the fit and the penalty together."""
    found = [identity(jax.random.key(seed), MASKS) for seed in range(run.seeds)]
    off = np.array([(each.sampled - each.fit - each.penalty) / each.error for each in found])
    without = np.array([(each.sampled - each.fit) / each.error for each in found])
    run.find(
        "dropout on the inputs of linear regression is, in the mean, a ridge penalty p (1 - p) |diag(X'X)^(1/2) w|^2",
        f"in every seed: mean over {MASKS:,} masks within {ERRORS:g} standard errors (false alarm in "
        f"{100 * 0.0027 * run.seeds:.1f} % of runs)",
        rules.every_seed(np.abs(off) <= ERRORS),
        remark=f"farthest: {np.abs(off).max():.2f} standard errors, {found[0].sampled:.2f} against "
        f"{found[0].fit + found[0].penalty:.2f} in the first seed",
        row="X04",
    )
    run.find(
        "negative control, the rule must fail: the mean over masks is the fit of the scaled weights alone",
        f"must fail: within {ERRORS:g} standard errors in every seed",
        rules.every_seed(np.abs(without) <= ERRORS),
        control=True,
        row="X04",
    )
    return found


def identity(key: jax.Array, masks: int) -> Identity:
    """One draw: standard normal inputs, targets and weights."""
    x_key, y_key, w_key, masks_key = jax.random.split(key, 4)
    x = jax.random.normal(x_key, (EXAMPLES, INPUTS))
    y, w = jax.random.normal(y_key, (EXAMPLES,)), jax.random.normal(w_key, (INPUTS,))
    costs = np.asarray(_costs(jax.random.split(masks_key, masks), x, y, w), np.float64)
    inputs, targets, weights = (np.asarray(each, np.float64) for each in (x, y, w))
    gamma = np.sqrt(np.diag(inputs.T @ inputs))
    return Identity(
        float(costs.mean()),
        float(costs.std(ddof=1) / np.sqrt(masks)),
        float(np.sum((targets - RETAIN * inputs @ weights) ** 2)),
        float(RETAIN * (1 - RETAIN) * np.sum((gamma * weights) ** 2)),
    )


@jax.jit
def _costs(keys: jax.Array, x: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
    masked = jax.vmap(partial(regularizers.classic_dropout, rate=1 - RETAIN), in_axes=(0, None))(keys, x)
    return jnp.sum(jnp.square(y[None] - masked @ w), -1)
