"""Critical points are mostly saddles: the lecture's coin-tossing argument, random matrices, and a small network.

`python -m experiments saddle_points`                     a network on 100 digits
`python -m experiments saddle_points --dataset mnist`     the same on MNIST
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments.building_blocks.propagation import double_precision
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from experiments.theory import critical_search
from jaxdl.diagnostics import CriticalPoint, SignArgument, Thresholds, sign_argument

DIMENSIONS = tuple(range(1, 11))
FAR_FROM = 4  # K from which random matrices must lie far below 2^-K
FAR = 0.1  # of 2^-K
CRITICAL = Thresholds(critical_gradient=1e-8, flat_curvature=1e-6)
PERMUTATIONS = 999


def run(run: Run) -> None:
    """The argument first, then the network."""
    judge_signs(run)
    judge_network(run)


def judge_signs(run: Run) -> None:
    """X39: 2^-K with independent signs, far less with random matrices."""
    draws = [
        sign_argument(jax.random.key(seed), dimensions=DIMENSIONS, num_samples=run.settings["samples"])
        for seed in range(run.seeds)
    ]
    for seed, drawn in enumerate(draws):
        run.record(
            quantity="minima", seed=seed, dimensions=list(DIMENSIONS), samples=drawn.num_samples,
            independent=np.asarray(drawn.independent).tolist(), matrices=np.asarray(drawn.matrices).tolist(),
        )  # fmt: skip
    pooled = SignArgument(
        np.sum([np.asarray(drawn.independent) for drawn in draws], 0),  # pyright: ignore[reportArgumentType]
        np.sum([np.asarray(drawn.matrices) for drawn in draws], 0),  # pyright: ignore[reportArgumentType]
        DIMENSIONS,
        sum(drawn.num_samples for drawn in draws),
    )
    swapped = SignArgument(pooled.matrices, pooled.independent, DIMENSIONS, pooled.num_samples)
    names = [f"K = {k}" for k in DIMENSIONS]
    claim, rule = (
        "the share with positive signs only within 3 binomial errors of 2^-K for every K from 1 to 10",
        f"largest distance over K, all {pooled.num_samples:,} samples together, at most 3 binomial errors (a true "
        "claim fails in 2.7 % of the draws at most)",
    )
    run.find(
        "with independent, fair signs a critical point of K dimensions is a minimum with probability 2^-K: " + claim,
        rule, _within_errors(pooled, names), published="2^-K",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: eigenvalues of random symmetric matrices (GOE) in place of the signs",
        "must fail: " + rule, _within_errors(swapped, names), control=True,
        remark="eigenvalues of one matrix repel each other, so their signs are not independent",
    )  # fmt: skip
    high = [i for i, k in enumerate(DIMENSIONS) if k >= FAR_FROM]
    run.find(
        f"random symmetric matrices are positive definite far less often than 2^-K, for every K from {FAR_FROM} to 10",
        f"upper 95 % limit of their share at most {FAR:g} of 2^-K, for every K",
        rules.shares_at_most(
            np.asarray(pooled.matrices)[high], pooled.num_samples, FAR * pooled.expected[high],
            [names[i] for i in high],
        ),
        remark="their share falls with the square of K in the exponent, not like a power of 2",
    )  # fmt: skip
    caption = (
        "Share of samples without a negative sign: circles, independent signs with their binomial errors, all seeds "
        "together; squares, eigenvalues of random symmetric matrices, where any were positive definite."
    )
    run.figure("signs", pooled.plot(title=""), caption)


def _within_errors(argument: SignArgument, names: Sequence[str]) -> Result:
    offsets = np.abs(argument.offsets())
    worst = int(np.argmax(offsets))
    result = rules.exact(float(offsets[worst]), 0.0, 3.0, " binomial errors")
    return replace(result, detail=f"{result.detail}; the farthest is {names[worst]}")


def judge_network(run: Run) -> None:
    """X39, Dauphin et al. 2014: the higher a critical point of a network, the more of its directions lead down."""
    with double_precision():
        seeds = [
            critical_search.search(
                critical_search.task(run.splits.train, seed), seed,
                starts=run.settings["starts"], iterations=run.settings["iterations"],
            )
            for seed in range(run.seeds)
        ]  # fmt: skip
    searches = len(seeds[0].started_at)
    accepted = [
        [p for p in _single(found) if p.kind(CRITICAL) not in ("not critical", "not finite")] for found in seeds
    ]
    points = [critical_search.distinct(some) for some in accepted]
    heights = [np.array([float(p.loss) for p in some]) for some in points]
    shares = [np.array([p.index(CRITICAL) / p.num_parameters for p in some]) for some in points]
    for seed, (some, loss, share) in enumerate(zip(points, heights, shares, strict=True)):
        run.record(
            quantity="critical_points", seed=seed, searches=searches, accepted=len(accepted[seed]),
            losses=loss.tolist(), negative_share=share.tolist(), kinds=[p.kind(CRITICAL) for p in some],
            gradient_norms=[float(p.gradient_norm) for p in some],
            correlation=_correlation(loss, share),
        )  # fmt: skip
    correlations = [_correlation(loss, share) for loss, share in zip(heights, shares, strict=True)]
    counts = ", ".join(str(len(some)) for some in points)
    run.find(
        "at critical points of a small network the share of negative eigenvalues grows with the loss",
        "Spearman's correlation over the distinct critical points of a seed: lower 95 % limit of its mean above 0",
        rules.exceeds(correlations, 0.0),
        published="Dauphin et al. 2014, figure 1: growing",
        remark=f"{counts} distinct points; gradient norm at most {CRITICAL.critical_gradient:g}",
    )
    rule = f"the correlation larger than 95 % of {PERMUTATIONS} permutations of the losses give, in every seed"
    run.find(
        "that correlation is none that comes about by chance, in any seed", rule,
        rules.every_seed(_beyond_chance(heights, shares)),
    )  # fmt: skip
    shuffled = [np.random.RandomState(1000 + i).permutation(loss) for i, loss in enumerate(heights)]
    run.find(
        "negative control, the rule must fail: the same points with their losses exchanged at random",
        "must fail: " + rule, rules.every_seed(_beyond_chance(shuffled, shares)), control=True,
    )  # fmt: skip
    saddles = np.array([np.mean([p.kind(CRITICAL) == "saddle" for p in some]) for some in points])
    run.find(
        "most of the distinct critical points are saddles", "more than half of them, in every seed",
        rules.every_seed(saddles > 0.5),
        remark=f"shares of {saddles.min():.0%} to {saddles.max():.0%}; of those that the search finds, which is no "
        "uniform sample of all there are",
    )  # fmt: skip
    if min(map(len, points)):
        caption = (
            f"Left: every distinct critical point of every seed, share of negative eigenvalues (of "
            f"{critical_search.PARAMETERS}) against the loss. Right: all eigenvalues at the lowest, the middle and the "
            "highest point of the first seed."
        )
        run.figure("index", picture(points, heights, shares), caption)
    rate = np.mean([len(some) / searches for some in accepted])
    run.note(
        f"{rate:.0%} of {searches} searches a seed ended at a gradient norm of at most "
        f"{CRITICAL.critical_gradient:g}; the others stopped where the norm has a minimum of its own, or had not come "
        "to an end, and are left out. Points that differ by a symmetry of the network count once."
    )


def _single(found: critical_search.Found) -> list[CriticalPoint]:
    """The points of a seed one by one, on the host."""
    points = jax.tree.map(np.asarray, found.points)
    return [points[i] for i in range(len(found.started_at))]


def _correlation(losses: np.ndarray, shares: np.ndarray) -> float:
    """Spearman's; 0 where there is no order to compare."""
    if len(losses) < 3 or np.ptp(losses) == 0 or np.ptp(shares) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(losses), stats.rankdata(shares))[0, 1])


def _beyond_chance(losses: Sequence[np.ndarray], shares: Sequence[np.ndarray]) -> np.ndarray:
    def holds(loss: np.ndarray, share: np.ndarray) -> bool:
        draws = np.random.RandomState(0)
        chance = [_correlation(draws.permutation(loss), share) for _ in range(PERMUTATIONS)]
        return bool(_correlation(loss, share) > np.quantile(chance, 0.95))

    return np.array([holds(loss, share) for loss, share in zip(losses, shares, strict=True)])


def picture(
    points: Sequence[Sequence[CriticalPoint]], heights: Sequence[np.ndarray], shares: Sequence[np.ndarray]
) -> Figure:
    """Left: share of negative eigenvalues against loss; right: three spectra of the first seed."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for seed, (loss, share) in enumerate(zip(heights, shares, strict=True)):
        left.plot(loss, share, "o", alpha=0.6, label=f"seed {seed}")
    left.set(xlabel="loss with decay", ylabel="share of negative eigenvalues", xscale="log")
    order = np.argsort(heights[0])
    for place in dict.fromkeys((order[0], order[len(order) // 2], order[-1])):
        values = np.asarray(points[0][place].eigenvalues)
        label = f"loss {heights[0][place]:.3g}, {points[0][place].kind(CRITICAL)}, index {np.sum(values < 0)}"
        right.plot(np.arange(1, len(values) + 1), values, ".-", label=label)
    right.axhline(0, color="black", linewidth=0.8)
    right.set(xlabel="in rising order", ylabel="eigenvalue of the Hessian")
    right.set_yscale("symlog", linthresh=1e-3)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


_DEFAULT = {"seeds": 5, "samples": 100_000, "starts": 20, "iterations": 100}

EXPERIMENT = Experiment(
    name="saddle_points",
    lecture="McKay",
    claim="critical points are mostly saddles: 2^-K of them are minima if signs are tossed, and high ones have more "
    "negative eigenvalues",
    setup="Signs: K fair and independent signs, and the eigenvalues of K x K matrices of the Gaussian orthogonal "
    f"ensemble, for K from 1 to 10. Network: {critical_search.INPUTS} principal components of "
    f"{critical_search.EXAMPLES} images of {critical_search.CLASSES} classes, {critical_search.HIDDEN} tanh units, "
    f"softmax: {critical_search.PARAMETERS} parameters, cross-entropy with weight decay {critical_search.DECAY:g} as "
    "part of the loss, float64. From points along gradient descent (random starts of four scales, after 0 to 3,000 "
    "updates) the squared length of the gradient is minimised, which ends at any kind of critical point; accepted are "
    f"gradient norms up to {CRITICAL.critical_gradient:g}, and an eigenvalue is negative below "
    f"-{CRITICAL.flat_curvature:g} of the largest. A seed has images and starts of its own.",
    source="Dauphin et al. 2014 (another network and search; shape only)",
    seconds={"digits": 45, "mnist": 50},
    presets={
        "smoke": _DEFAULT | {"samples": 20_000, "starts": 8, "iterations": 60},
        "default": _DEFAULT,
        "full": _DEFAULT | {"seeds": 10, "samples": 1_000_000, "starts": 60, "iterations": 200},
    },
    run=run,
    rows=("X39",),
)
