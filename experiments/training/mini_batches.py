"""The gradient of a random mini-batch is that of all examples on average, in both conventions of the cost."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run

NUM_EXAMPLES, BATCH, DRAWS = 500, 10, 2000
FEW, PAIR = 6, 2
SIZES = (1, 2, 5, 10, 20, 50, 100, 200)
DIRECTION_SEED = 1_000_000  # none of those judged


class Sampled(NamedTuple):
    """The mean of many batch gradients along the full gradient and across it, in units of its length."""

    along: float
    across: float


def judge_unbiasedness(run: Run) -> None:
    """E[g] = gradient: exactly over all batches of a small set, and over random batches of a large one."""
    gradients = gradients_of_batches(run)
    whole = gradients(np.arange(NUM_EXAMPLES)[None], "mean")[0]
    few = gradients(np.arange(FEW)[None], "mean")[0]
    all_batches = (itertools.combinations(range(FEW), PAIR), itertools.product(range(FEW), repeat=PAIR))
    apart = [np.abs(gradients(np.array(list(batches)), "mean").mean(0) - few).max() for batches in all_batches]
    run.find(
        f"the mean gradient over all batches of {PAIR} of {FEW} examples is the gradient of all, drawn with and "
        "without replacement",
        "largest difference of an entry at most 1e-6 of the largest entry",
        rules.exact(float(max(apart) / np.abs(few).max()), 0.0, 1e-6),
    )
    arms = [(cost, replace) for cost in ("mean", "sum") for replace in (False, True)]
    names = [f"{cost} cost {'with' if replace else 'without'} replacement" for cost, replace in arms]
    singles = gradients(np.arange(NUM_EXAMPLES)[:, None], "mean")
    direction = direction_across(singles, whole)
    rows, slips = [], []
    for seed in range(run.seeds):
        draws, found = np.random.RandomState(seed), []
        for name, (cost, replace) in zip(names, arms, strict=True):
            # C = 1/n sum C_i goes with the factor 1/m, C = sum C_i with n/m.
            target = whole if cost == "mean" else NUM_EXAMPLES * whole
            factor = 1.0 if cost == "mean" else NUM_EXAMPLES / BATCH
            found.append(compare(factor * gradients(sample(draws, replace=replace), cost), target, direction))
            run.record(quantity="mean_batch_gradient", convention=name, seed=seed, **found[-1]._asdict())
        rows.append([value for each in found for value in each])
        slip = NUM_EXAMPLES / BATCH * gradients(sample(draws, replace=False), "sum")
        slips.append([compare(slip, whole, direction).along])
    quantities = [f"{name}, {part}" for name in names for part in ("along the gradient", "across it")]
    run.find(
        f"the mean over {DRAWS} random batches of {BATCH} of {NUM_EXAMPLES} examples is the gradient: 1 along it and "
        "0 in one random direction across it, in both conventions (factor 1/m for the mean cost, n/m for the sum)",
        "all expectations in the intervals of the means over seeds, jointly 95 %",
        rules.matches(np.array(rows), np.array([1.0, 0.0] * len(names)), quantities, tolerance=0.0),
        published="equality (McKay 2017)",
    )
    run.find(
        "negative control, the rule must fail: the factor n/m of the sum cost while the cost is the mean, as on one "
        "slide",
        "must fail: the expectation 1 in the interval of the mean over seeds",
        rules.matches(np.array(slips), np.ones(1), ["along the gradient"], tolerance=0.0),
        control=True,
        remark=f"it steps n = {NUM_EXAMPLES} times too far",
    )
    run.figure("mini_batches", noise_figure(singles), "Noise of a mini-batch gradient against its size.")


def gradients_of_batches(run: Run) -> Callable[[np.ndarray, str], np.ndarray]:
    """`gradients(rows (batches, size), "mean" | "sum") -> (batches, parameters)` float64, of logistic regression."""
    x, y = (jnp.asarray(leaf[:NUM_EXAMPLES]) for leaf in run.splits.train)
    model = jaxdl.as_model(jaxdl.models.MLP((10,)))
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    params = model.init(jax.random.key(0), x[:1])["params"]

    @partial(jax.jit, static_argnames="cost")
    def compiled(rows: jax.Array, cost: str) -> jax.Array:
        def of_batch(rows: jax.Array) -> jax.Array:
            def loss(params: Any) -> jax.Array:
                losses, _ = objective(params, (x[rows], y[rows]), model_state={}, key=None, train=False)
                return losses.sum() if cost == "sum" else losses.mean()

            return ravel_pytree(jax.grad(loss)(params))[0]

        return jax.lax.map(of_batch, rows, batch_size=min(100, len(rows)))

    return lambda rows, cost: np.asarray(compiled(jnp.asarray(rows), cost), np.float64)


def sample(draws: np.random.RandomState, *, replace: bool, size: int = BATCH, count: int | None = None) -> np.ndarray:
    """Indices `(count, size)` of random batches."""
    count = DRAWS if count is None else count
    if replace:
        return draws.randint(0, NUM_EXAMPLES, (count, size))
    return np.argsort(draws.rand(count, NUM_EXAMPLES), 1)[:, :size]


def direction_across(singles: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A random unit vector across the whole gradient, among the parameters that the gradients of examples move.

    It is drawn once for all seeds: along one of its own in every seed, any bias would be 0 on average.
    """
    direction = np.random.RandomState(DIRECTION_SEED).randn(len(whole)) * singles.std(0)
    direction -= direction @ whole / (whole @ whole) * whole
    return direction / np.linalg.norm(direction)


def compare(batch_gradients: np.ndarray, whole: np.ndarray, direction: np.ndarray) -> Sampled:
    """The mean of batch gradients `(batches, parameters)` along and across the whole one, in units of its length."""
    mean, length = batch_gradients.mean(0), np.linalg.norm(whole)
    return Sampled(float(mean @ whole / length**2), float(mean @ direction / length))


def noise_figure(singles: np.ndarray) -> Figure:
    """Root mean square distance to the full gradient by batch size, with the two laws."""
    full, draws = singles.mean(0), np.random.RandomState(0)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    sizes = np.array(SIZES)
    single = np.sqrt(np.square(singles - full).sum(1).mean())
    laws = {
        "with replacement": (True, single / np.sqrt(sizes)),
        "without replacement": (False, single / np.sqrt(sizes) * np.sqrt((len(singles) - sizes) / (len(singles) - 1))),
    }
    for name, (replace, law) in laws.items():
        found = []
        for size in SIZES:
            means = np.stack([singles[rows].mean(0) for rows in sample(draws, replace=replace, size=size, count=200)])
            found.append(np.sqrt(np.square(means - full).sum(1).mean()))
        (line,) = axes.plot(SIZES, law, label=f"{name}: law")
        axes.plot(SIZES, found, "o", color=line.get_color(), label=f"{name}: measured")
    length = float(np.linalg.norm(full))
    axes.axhline(length, color="k", linestyle=":", linewidth=1, label="length of the full gradient")
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="distance to the full gradient (r.m.s.)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure
