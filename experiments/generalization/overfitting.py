"""Overfitting and its cures (X09; Nielsen 2015, chapter 3).

`python -m experiments overfitting`                     200 images of the embedded digits
`python -m experiments overfitting --dataset mnist`     1,000 images of MNIST, the book's set-up; some minutes
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.building_blocks.full_length import at_full_length, undecided
from experiments.generalization.overfitting_figures import overfitting_figure
from experiments.generalization.overfitting_networks import DECAY, MORE, PATIENCE, WIDTH, Curves, Networks, Reached
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

BOOK_EPOCHS, LATEST_MINIMUM, RISE, PEAK_GAIN = 400, 40, 1.25, 2.0
PEAKS = {"none": (80.5, 84.0), "L2": (85.5, 88.5)}
PUBLISHED_PEAKS = {"none": 82.27, "L2": 87.10}
FEWER_UNITS, WIDTHS, LEARNED = 10, (10, 30, 100, 300), 98


def run(run: Run) -> None:
    """Trains without and with weight decay, then every other cure, then networks of several widths."""
    networks = Networks(run)
    none, decayed = networks.pair()
    dropped, rate = networks.dropped_out()
    arms = {
        "none": none.reached,
        "L2": decayed.reached,
        f"dropout {rate:g}": dropped,
        "early stopping": networks.stopped_early(),
        "augmentation": networks.augmented(),
        f"{MORE} times the images": networks.arm(more=True),
        f"{FEWER_UNITS} units": networks.arm(width=FEWER_UNITS),
    }
    widths = sorted({networks.narrow(), *WIDTHS})
    sweep = {(w, name): networks.of_width(w, decay) for w in widths for name, decay in
             (("none", 0.0), ("L2", DECAY))}  # fmt: skip
    judge_curves(run, none, decayed)
    judge_cures(run, arms, none)
    judge_power(run, networks, sweep)
    for seed in range(run.seeds):
        run.record(
            quantity="curves", seed=seed, test_accuracy=none.test[seed].tolist(), test_cost=none.cost[seed].tolist(),
            decayed_test_accuracy=decayed.test[seed].tolist(), decayed_test_cost=decayed.cost[seed].tolist(),
        )  # fmt: skip
        for name, arm in arms.items():
            run.record(quantity="cure", arm=name, seed=seed, **{k: float(v[seed]) for k, v in arm._asdict().items()})
        for (width, name), arm in sweep.items():
            run.record(quantity="width", width=width, arm=name, seed=seed, test=float(arm.test[seed]))
    rows = [[name, *(f"{values.mean():.4g}" for values in arm)] for name, arm in arms.items()]
    header = ["cure", "training accuracy (%)", "test accuracy (%)", "test cost", "norm of the weights"]
    run.table("means over seeds at the end", header, rows)
    caption = (
        "Above: accuracy and cost on the test images over the epochs, without and with weight decay (mean and range "
        "over seeds). Below: cost at the end for each cure, and accuracy against the width."
    )
    run.figure("overfitting", overfitting_figure(none, decayed, arms, sweep, run.dataset), caption)
    if run.dataset != "mnist":
        run.note("The published figures are for MNIST; on other data only orderings and shapes are tested.")


def judge_curves(run: Run, none: Curves, decayed: Curves) -> None:
    """X09: the shape of the curves, on MNIST also its peaks."""
    full = partial(at_full_length, run, length=none.cost.shape[1], published=BOOK_EPOCHS, preset="default")
    rises = none.cost[:, -1] / none.cost.min(1)
    shaped = (none.reached.train == 100) & (rises >= RISE)
    early = none.cost.argmin(1) < LATEST_MINIMUM if run.dataset == "mnist" else np.ones(len(rises), bool)
    within = f" before epoch {LATEST_MINIMUM}" if run.dataset == "mnist" else ""
    run.find(
        "without a cure every training image is learned, while the cost of the test images falls and then rises",
        f"in every seed: training accuracy 100 %, the smallest test cost{within}, the last at least {RISE:g} times it",
        full(rules.every_seed(shaped & early)),
        published="100 % from epoch 67; smallest cost 1.203 at epoch 15, 1.773 at the end: 1.47 times it",
        remark=f"the last cost is {rises.mean():.3g} times the smallest, reached at epoch "
        f"{np.median(none.cost.argmin(1)) + 1:.0f}",
    )
    peaks = {"none": none.test.max(1), "L2": decayed.test.max(1)}
    bound = PEAK_GAIN if run.dataset == "mnist" else 0.0
    run.find(
        f"weight decay raises the best test accuracy by more than {bound:g} points",
        f"lower 95 % limit of the paired difference of the best epochs above {bound:g} points",
        full(rules.exceeds(peaks["L2"] - peaks["none"], bound, unit=" points")),
        published="87.10 against 82.27 %",
        remark="best epochs by the test images themselves, as the published figures are",
    )
    if run.dataset == "mnist":
        run.find(
            "with weight decay the last test cost lies below the smallest without",
            "in every seed; the cost holds its penalty, divided by the number of test images, as the book's does",
            full(rules.every_seed(decayed.cost[:, -1] < none.cost.min(1))),
            published="0.891 against 1.203",
        )
        for name, (low, high) in PEAKS.items():
            run.find(
                f"best test accuracy, {'without a cure' if name == 'none' else 'with weight decay'}",
                f"mean over seeds of the best epoch in [{low:g}, {high:g}] %",
                full(rules.mean_within(peaks[name], low, high, unit=" %")),
                published=f"{PUBLISHED_PEAKS[name]:.2f} %",
            )


def judge_cures(run: Run, arms: Mapping[str, Reached], none: Curves) -> None:
    """Each cure against none by the test cost, and what the weights tell where training accuracies do not."""
    worst = arms["none"].cost
    cures = [name for name in arms if name != "none"]
    for name in cures:
        run.find(
            f"{name}: a lower test cost at the end than without a cure",
            "lower limit of the mean of ln(cost without / cost with), paired by seed, above 0 (95 % jointly over "
            f"{len(cures)} cures)",
            rules.exceeds(np.log(worst / arms[name].cost), 0.0, confidence=1 - 0.05 / len(cures)),
            remark=f"cost {arms[name].cost.mean():.3g} against {worst.mean():.3g}, test accuracy "
            f"{arms[name].test.mean():.2f} against {arms['none'].test.mean():.2f} %",
        )
    half = none.cost[:, none.cost.shape[1] // 2]  # no penalty in it: the decay is 0
    run.find(
        "negative control, the rule must fail: twice the epochs lower the test cost",
        "must fail: lower 95 % limit of the mean of ln(cost at half time / cost at the end) above 0",
        rules.exceeds(np.log(half / none.cost[:, -1]), 0.0),
        control=True,
    )
    both = [arms["none"], arms["L2"]]
    alike = bool((np.stack([arm.train for arm in both]) >= LEARNED).all())
    result = rules.exceeds(arms["L2"].test - arms["none"].test, 0.0, unit=" points")
    if not alike:
        result = undecided(result, "training accuracies differ, so nothing is compared")
    run.find(
        "of two networks that make hardly any training error the one of smaller weights has the better test accuracy",
        f"both at {LEARNED} % of the training images or more in every seed; lower 95 % limit of the difference above 0",
        result,
        remark=f"norms {both[0].norm.mean():.3g} and {both[1].norm.mean():.3g}",
    )


def judge_power(run: Run, networks: Networks, sweep: Mapping[tuple[int, str], Reached]) -> None:
    """More parameters than examples: the classical rule against the widest network with weight decay."""
    narrow, widest = networks.narrow(), max(WIDTHS)
    few, many = networks.parameters(narrow), networks.parameters(widest)
    run.find(
        f"{many:,} parameters and weight decay do better on {networks.images:,} images than the {few:,} of the "
        "classical rule, fewer than there are images",
        "lower 95 % limit of the paired difference of test accuracies above 0",
        rules.exceeds(sweep[widest, "L2"].test - sweep[narrow, "none"].test, 0.0, unit=" points"),
        remark=f"{widest} units at {sweep[widest, 'L2'].test.mean():.2f} %, {narrow} at "
        f"{sweep[narrow, 'none'].test.mean():.2f} %",
    )
    run.find(
        f"weight decay helps the network of {widest} units",
        "lower 95 % limit of the paired difference of test accuracies above 0",
        rules.exceeds(sweep[widest, "L2"].test - sweep[widest, "none"].test, 0.0, unit=" points"),
    )


EXPERIMENT = Experiment(
    name="overfitting",
    lecture="Fornax, ECE521, Allauzen",
    claim="on few images training accuracy reaches 100 % and the test cost rises; decay, dropout and data cure it",
    setup=f"{WIDTH} sigmoids and ten sigmoid outputs with cross-entropy, weights and biases N(0, 1), eta 0.5, batches "
    "of 10, the first 1,000 training images of MNIST for 400 epochs (digits, which are easy: 200 images, a fifth of "
    "whose labels are drawn at random, 400 epochs). Cures: weight decay lambda/n with lambda 0.1; dropout of hidden "
    "units at the rate, of 0.1, 0.25 and 0.5, of the lowest validation cost for other seeds; the best parameters by "
    f"validation cost, patience {PATIENCE}; rotations up to 10 degrees and shifts up to 5 % at each step; {MORE} times "
    f"the images for as many updates; {FEWER_UNITS} units. The two curves monitor the test split, as the book does; "
    "everything else sees it once. Widths: weights N(0, 1/fan_in), a quarter of the epochs.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 3, one run each",
    seconds={"digits": 50, "mnist": 170},
    presets={
        "smoke": {"seeds": 5, "images": {"digits": 200, "mnist": 1000}, "epochs": {"digits": 100, "mnist": 8}},
        "default": {"seeds": 8, "images": {"digits": 200, "mnist": 1000}, "epochs": {"digits": 400, "mnist": 400}},
        "full": {"seeds": 12, "images": {"digits": 200, "mnist": 1000}, "epochs": {"digits": 400, "mnist": 400}},
    },
    run=run,
    rows=("X09",),
)
