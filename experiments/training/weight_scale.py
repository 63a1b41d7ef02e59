"""Weights from N(0, 1) against N(0, 1/fan_in) (X08; Nielsen 2015, chapter 3).

`python -m experiments weight_scale`                     the embedded digits
`python -m experiments weight_scale --dataset mnist`     the book's networks of 30 and 100 hidden units; some minutes
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks import book
from experiments.building_blocks.full_length import at_full_length
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

BOOK_EPOCHS, LAST, MARGIN = 30, 10, 0.6
LEADS = {30: 3.0, 100: 1.5}
STARTS = {"1/sqrt(fan_in)": None, "1": book.large_start}
# The book's stored single runs: epochs, their validation accuracies, and the mean of the last ten.
EPOCHS = (1, 2, 3, 5, 10, 20, 30)
STORED = {
    (30, "1/sqrt(fan_in)"): ((92.70, 94.14, 94.70, 95.37, 95.94, 96.34, 96.50), 96.46),
    (30, "1"): ((86.43, 90.44, 91.41, 92.99, 94.49, 95.92, 96.37), 96.21),
    (100, "1/sqrt(fan_in)"): ((92.95, 94.81, 95.47, 96.64, 97.26, 97.66, 97.81), 97.68),
    (100, "1"): ((89.94, 91.81, 92.60, 94.27, 95.78, 97.08, 97.42), 97.34),
}
COLOURS = {"1/sqrt(fan_in)": "tab:green", "1": "tab:red"}


def run(run: Run) -> None:
    """Trains both starts at both widths, from the same draws and with the same batches."""
    curves = {(width, start): accuracies(run, width, start) for width in run.settings["widths"] for start in STARTS}
    for (width, start), values in curves.items():
        for seed, row in enumerate(values):
            run.record(
                quantity="validation_accuracy", width=width, deviation=start, seed=seed, percent_by_epoch=row.tolist()
            )
    judge(run, curves)
    caption = (
        "Validation accuracy over the epochs by deviation of the weights at the start, mean and range over the seeds; "
        "crosses, the book's single runs."
    )
    run.figure("weight_scale", scale_figure(curves, run.dataset), caption)
    if run.dataset != "mnist":
        run.note(
            "The published figures are for MNIST, whose 784 inputs saturate units of N(0, 1); on other data only "
            "orderings are tested."
        )


def accuracies(run: Run, width: int, start: str) -> np.ndarray:
    """Validation accuracy in percent after each epoch of 5,000 updates, `(seeds, epochs)`."""
    train, validation, _ = run.splits
    epochs, every = (run.settings[name][run.dataset] for name in ("epochs", "every"))
    make = STARTS[start]
    model = book.network(1, width=width, start=make and make())
    trained = book.train(
        model, book.objective(model), book.descent(len(train.x), decay=book.decay_for(len(train.x))), train, validation,
        seeds=range(run.seeds), epochs=epochs, evaluate_every=every,
    )  # fmt: skip
    accuracy = trained.watched["accuracy"]
    print(f"  {width} hidden, deviation {start}: {accuracy[:, -1].mean():.2f} %, {trained.seconds:.0f} s")
    return accuracy


def judge(run: Run, curves: Mapping[tuple[int, str], np.ndarray]) -> None:
    """X08: ahead after one epoch, level after the last, and the stored means."""
    mnist = run.dataset == "mnist"
    widths = sorted({width for width, _ in curves})
    epochs = next(iter(curves.values())).shape[1]

    full = partial(at_full_length, run, length=epochs, published=BOOK_EPOCHS, preset="default")

    gains = {width: curves[width, "1/sqrt(fan_in)"] - curves[width, "1"] for width in widths}
    for width in widths:
        bound = LEADS[width] if mnist else 0.0
        small, large = (STORED[width, start][0][0] for start in STARTS)
        run.find(
            f"{width} hidden units: after one epoch the careful start is ahead by more than {bound:g} points",
            f"lower 95 % limit of the paired difference of validation accuracies above {bound:g} points",
            rules.exceeds(gains[width][:, 0], bound, unit=" points"),
            published=f"{small:.2f} against {large:.2f} %" if mnist else "",
            row="X08",
        )
    run.find(
        f"30 hidden units: after the last epoch both starts are within {MARGIN:g} points of one another",
        f"EQ({MARGIN:g}): 90 % interval of the paired difference within +-{MARGIN:g} points",
        full(rules.equivalent(gains[30][:, -1], MARGIN, unit=" points")),
        published="96.50 against 96.37 %" if mnist else "",
        row="X08",
    )
    careful = curves[30, "1/sqrt(fan_in)"]
    run.find(
        f"negative control, the rule must fail: after one epoch the careful start is {MARGIN:g} points from its end",
        f"must fail: EQ({MARGIN:g}) of the paired difference, 30 hidden units",
        rules.equivalent(careful[:, -1] - careful[:, 0], MARGIN, unit=" points"),
        control=True,
        row="X08",
    )
    if not mnist:
        return
    for (width, start), values in curves.items():
        published = STORED[width, start][1]
        run.find(
            f"{width} hidden units, weights of deviation {start}: mean accuracy of the last {LAST} epochs",
            "the book's single run lies in the 95 % prediction interval of one run (spread at least 0.10 points)",
            full(rules.predicts(values[:, -LAST:].mean(1), published, unit=" %")),
            published=f"{published:.2f} %",
            row="X08",
        )


def scale_figure(curves: Mapping[tuple[int, str], np.ndarray], dataset: str) -> Figure:
    """One panel for each width."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    widths = sorted({width for width, _ in curves})
    axes = np.ravel(figure.subplots(1, len(widths), sharey=True))
    for axis, width in zip(axes, widths, strict=True):
        for start, colour in COLOURS.items():
            values = curves[width, start]
            epochs = np.arange(1, values.shape[1] + 1)
            axis.plot(epochs, values.mean(0), color=colour, label=f"deviation {start}")
            axis.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
            if dataset == "mnist":
                axis.plot(EPOCHS, STORED[width, start][0], "x", color=colour, markersize=7)
        axis.set(xlabel="epoch of 5,000 updates", title=f"{width} hidden units", xscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    lowest = min(values.min() for values in curves.values())
    axes[0].set(ylabel=f"validation accuracy on {dataset} (%)", ylim=(lowest - 1, 100))
    return figure


_EACH, _BLOCKS = {"digits": 1, "mnist": 1}, {"digits": 42, "mnist": 1}

EXPERIMENT = Experiment(
    name="weight_scale",
    lecture="Misra, lecture 3; ECE521, lecture 10; McKay, seminar 2017",
    claim="weights from N(0, 1/fan_in) start much faster than from N(0, 1); small networks end nearly level",
    setup="30 and 100 hidden sigmoids, ten sigmoid outputs with cross-entropy, batches of 10, eta 0.1, lambda 5 (decay "
    "eta*lambda/n), 30 epochs; weights N(0, 1/fan_in) or N(0, 1) of the same draws, biases N(0, 1) in both; validation "
    "accuracy after every epoch. Digits: lambda 0.12, so that lambda/n is the same, and 1,260 epochs, "
    "measured at every 42nd, which are as many updates as an epoch of MNIST.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 3, one run each",
    seconds={"digits": 50, "mnist": 150},
    presets={
        "smoke": {"seeds": 5, "widths": (30,), "epochs": {"digits": 30, "mnist": 3}, "every": _EACH},
        "default": {"seeds": 5, "widths": (30, 100), "epochs": {"digits": 1260, "mnist": 30}, "every": _BLOCKS},
        "full": {"seeds": 10, "widths": (30, 100), "epochs": {"digits": 1260, "mnist": 30}, "every": _BLOCKS},
    },
    run=run,
    rows=("X08",),
)
