"""Depth against accuracy with sigmoid layers (the table of Allauzen's lecture, from Nielsen 2015, chapter 5).

`python -m experiments depth`                                            orderings on the embedded digits
`python -m experiments depth --dataset mnist --preset full --seeds 5`    the published table; a few minutes on two cores
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks import book, ladder
from experiments.building_blocks.full_length import at_full_length
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

BOOK_EPOCHS = 30
PUBLISHED = {1: 96.48, 2: 96.90, 3: 96.57, 4: 96.53}
PROPOSED = {1: (96.2, 96.8), 2: (96.5, 97.2), 3: (96.1, 97.1), 4: (95.8, 97.1)}
LECTURE_WITHOUT_HIDDEN = 88.0
LEAST_SQUARES, _, _ = ladder.PUBLISHED["least squares"]
GAIN = 0.2


def run(run: Run) -> None:
    """Trains every depth for every seed, and compares validation accuracies after the last epoch."""
    epochs = run.settings["epochs"][run.dataset]
    curves = {d: accuracy_curves(run, d, epochs) for d in run.settings["depths"]}
    last = {d: curve[:, -1] for d, curve in curves.items()}
    for d, curve in curves.items():
        for seed, row in enumerate(curve):
            run.record(quantity="validation_accuracy", hidden_layers=d, seed=seed, percent_by_epoch=row.tolist())
    caption = (
        "Validation accuracy over the epochs (mean and range over the seeds) and after the last one (dots: seeds; "
        "crosses: the book's single runs)."
    )
    run.figure("accuracy_by_depth", depth_figure(curves, run.dataset), caption)
    deeper = [d for d in last if d > 2]
    for d in deeper:
        run.find(
            f"{d} hidden layers are no better than 2 by more than {GAIN:g} points",
            f"upper limit of the paired difference at most +{GAIN:g} (95 % jointly over {len(deeper)} comparisons)",
            rules.at_most(last[d] - last[2], GAIN, confidence=1 - 0.05 / len(deeper), unit=" points"),
        )
    gained = rules.at_most(last[1] - last[0], GAIN, unit=" points")
    run.find(
        f"negative control, the rule must fail: 1 hidden layer is no better than none by more than {GAIN:g} points",
        f"must fail: upper 95 % limit of the paired difference at most +{GAIN:g}",
        gained,
        control=True,
        remark="the first hidden layer does help, so the rule above can fail" if gained.verdict == "FAIL" else "",
    )
    if run.dataset == "mnist":
        judge_published(run, last, epochs)
    else:
        run.note("The published table is for MNIST; on other data only orderings are tested.")


def accuracy_curves(run: Run, num_hidden: int, epochs: int) -> np.ndarray:
    """Validation accuracy in percent after each epoch, `(seeds, epochs)`."""
    train, validation = run.splits.train, run.splits.validation
    model, tx = book.network(num_hidden), book.descent(len(train.x), decay=book.decay_for(len(train.x)))
    trained = book.train(model, book.objective(model), tx, train, validation, seeds=range(run.seeds), epochs=epochs)
    accuracy = trained.watched["accuracy"]
    print(
        f"  hidden layers: {num_hidden}, accuracy: {accuracy[:, -1].mean():.2f} % after {epochs} epochs, "
        f"{trained.seconds:.0f} s for {run.seeds} seeds"
    )
    return accuracy


def judge_published(run: Run, last: Mapping[int, np.ndarray], epochs: int) -> None:
    """X03: the published value of every depth, and the row without a hidden layer put right."""

    full = partial(at_full_length, run, length=epochs, published=BOOK_EPOCHS)

    for d, published in PUBLISHED.items():
        if d not in last:
            continue
        layers = f"{d} hidden layer{'s' if d > 1 else ''}"
        low, high = PROPOSED[d]
        run.find(
            f"{layers}: {published:.2f} % validation accuracy after {BOOK_EPOCHS} epochs",
            "the book's single run lies in the 95 % prediction interval of one run (spread at least 0.10 points)",
            full(rules.predicts(last[d], published, unit=" %")),
            published=f"{published:.2f} %",
        )
        run.find(
            f"{layers}: mean validation accuracy where the set-up puts it",
            f"mean over seeds in [{low:g}, {high:g}] %",
            full(rules.mean_within(last[d], low, high, unit=" %")),
        )
    run.find(
        f"no hidden layer: about {LECTURE_WITHOUT_HIDDEN:.0f} % (first row of the lecture's table)",
        "the lecture's figure lies in the 95 % prediction interval of one run",
        full(rules.predicts(last[0], LECTURE_WITHOUT_HIDDEN, unit=" %")),
        published=f"{LECTURE_WITHOUT_HIDDEN:.0f} % (lecture; not in the book)",
        remark="this row is not in the chapter the table is taken from; 88 % is the linear classifier of LeCun et al. "
        "1998 (12.0 % error), another model trained otherwise",
    )
    run.find(
        "a linear classifier by least squares on one-hot targets, test accuracy (what a linear fit gives)",
        f"{LEAST_SQUARES} % within 0.05 points, no randomness",
        rules.exact(ladder.closed_forms(run.splits)["least squares"], LEAST_SQUARES, 0.05, unit=" %"),
        published=f"{LEAST_SQUARES} % (computed)",
    )


def depth_figure(curves: Mapping[int, np.ndarray], dataset: str) -> Figure:
    """Left: accuracy over the epochs; right: after the last epoch, over depth."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for d, curve in curves.items():
        epochs = np.arange(1, curve.shape[1] + 1)
        (line,) = left.plot(epochs, curve.mean(0), label=f"{d} hidden")
        left.fill_between(epochs, curve.min(0), curve.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
        right.plot(np.full(len(curve), d), curve[:, -1], ".", color=line.get_color())
    depths = list(curves)
    right.plot(depths, [curves[d][:, -1].mean() for d in depths], "-", color="tab:gray", label="mean")
    if dataset == "mnist":
        right.plot(list(PUBLISHED), list(PUBLISHED.values()), "kx", markersize=9, label="Nielsen 2015")
        right.axhline(LECTURE_WITHOUT_HIDDEN, color="tab:red", linestyle=":", label="lecture, no hidden layer")
    final = np.concatenate([curve[:, -1] for curve in curves.values()])
    left.set(xlabel="epoch", ylabel=f"validation accuracy on {dataset} (%)", ylim=(max(0.0, final.min() - 10), 100))
    right.set(xlabel="hidden layers of 30 sigmoids", xticks=depths, title="after the last epoch")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    name="depth",
    lecture="Allauzen, Deep learning basics 2",
    claim="more than two hidden layers of sigmoids do not help (on MNIST 96.5, 96.9, 96.6, 96.5 % for 1 to 4 layers)",
    setup="0 to 4 hidden layers of 30 sigmoids, ten sigmoid outputs with cross-entropy, weights N(0, 1/fan_in), biases "
    "N(0, 1), mini-batches of 10, eta 0.1, decay eta*lambda/n on the weights with n the size of the training set, "
    "lambda 5 and 30 epochs; validation accuracy after the last epoch. MNIST: 50,000 training images, 10,000 for "
    "validation, pixels in [0, 1]. Digits, with 1,197 training images: lambda 0.12, so that lambda/n is the same, and "
    "1,250 epochs, so that the number of updates is.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 5, one run each",
    seconds={"digits": 50, "mnist": 170},
    presets={
        "smoke": {"seeds": 5, "epochs": {"digits": 100, "mnist": 1}, "depths": (0, 1, 2, 3)},
        "default": {"seeds": 5, "epochs": {"digits": 1250, "mnist": 30}, "depths": (0, 1, 2, 3, 4)},
        "full": {"seeds": 10, "epochs": {"digits": 1250, "mnist": 30}, "depths": (0, 1, 2, 3, 4)},
    },
    run=run,
    rows=("X03",),
)
