"""Mini-batch gradients: the mean of those of their examples, and unbiased for that of the population."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.theory.per_example_network import BATCH, centred_losses, losses, start

POPULATION, DRAWN = 6, 3
TOLERANCE = 1e-5


def judge_mean(run: Run) -> None:
    """T08, and a control in which the examples of a mini-batch depend on each other."""
    apart, centred = [], []
    for seed in range(run.seeds):
        params, batch = start(run.splits.train.x, seed=seed).params, drawn(run, seed, BATCH)
        gradients = jaxdl.diagnostics.per_example_gradients(losses, params, batch)
        apart.append(distance(mean_of(gradients), batch_gradient(losses, params, batch)))
        alone = jax.vmap(lambda x, y, p=params: batch_gradient(centred_losses, p, (x[None], y[None])))(*batch)
        centred.append(distance(mean_of(alone), batch_gradient(centred_losses, params, batch)))
        run.record(quantity="mean of per-example gradients", seed=seed, apart=apart[-1], with_centring=centred[-1])
    rule = f"norm of the difference over that of the gradient at most {TOLERANCE:g}, every seed"
    run.find(
        "the gradient of a mini-batch is the mean of the gradients of its examples",
        rule,
        rules.exact(float(np.max(apart)), 0.0, TOLERANCE),
    )
    run.find(
        "negative control, the rule must fail: the same where the mini-batch mean is taken off the hidden units",
        f"must fail: {rule}",
        rules.exact(float(np.min(centred)), 0.0, TOLERANCE),
        control=True,
        remark="so the library raises an error for batch normalization in training mode",
    )


def judge_unbiased(run: Run) -> None:
    """T09, by all mini-batches there are."""
    ways = {
        "without replacement": list(itertools.combinations(range(POPULATION), DRAWN)),
        "with replacement": list(itertools.product(range(POPULATION), repeat=DRAWN)),
    }
    for way, rows in ways.items():
        apart = []
        for seed in range(run.seeds):
            params, (x, y) = start(run.splits.train.x, seed=seed).params, drawn(run, seed, POPULATION)
            batches = (x[np.array(rows)], y[np.array(rows)])
            gradients = jax.vmap(lambda x, y, p=params: batch_gradient(losses, p, (x, y)))(*batches)
            apart.append(distance(mean_of(gradients), batch_gradient(losses, params, (x, y))))
        run.find(
            f"the gradient of a mini-batch drawn {way} is unbiased for that of the population",
            f"mean over all {len(rows)} mini-batches of {DRAWN} of {POPULATION} within {TOLERANCE:g} of it, every seed",
            rules.exact(float(np.max(apart)), 0.0, TOLERANCE),
        )


def drawn(run: Run, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Some training examples."""
    x, y = run.splits.train
    rows = np.random.default_rng([seed, 0]).permutation(len(y))[:count]
    return x[rows], y[rows]


@partial(jax.jit, static_argnums=0)
def batch_gradient(losses_fn: Any, params: Any, batch: Any) -> Any:
    """Gradient of the mean loss."""
    return jax.grad(lambda params: jaxdl.losses.batch_mean(losses_fn(params, batch)))(params)


def mean_of(gradients: Any) -> Any:
    """The mean along the leading axis."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, 0), gradients)


def distance(found: Any, expected: Any) -> float:
    """Norm of the difference of two pytrees over that of the second."""
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, found, expected))
    return float(difference / optax.tree.norm(expected))
