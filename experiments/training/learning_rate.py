"""Learning rates too small, right and too large (X11; Nielsen 2015, chapter 3).

`python -m experiments learning_rate`                     the embedded digits
`python -m experiments learning_rate --dataset mnist`     the book's network; about a minute
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks import book
from experiments.building_blocks.full_length import at_full_length
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

BOOK_EPOCHS, LAST, SHAKING, RISES = 30, 10, 4.0, 1
SLOW, RIGHT, LARGE = ETAS = (0.025, 0.25, 2.5)
EPOCHS = (1, 2, 5, 10, 15, 20, 30)
STORED = {
    SLOW: (0.878, 0.674, 0.518, 0.431, 0.392, 0.371, 0.339),
    RIGHT: (0.495, 0.406, 0.374, 0.343, 0.349, 0.330, 0.339),
    LARGE: (0.925, 0.839, 0.781, 0.801, 0.799, 0.750, 0.861),
}
FINAL = {SLOW: (0.33, 0.35), RIGHT: (0.31, 0.35), LARGE: (0.70, 1.00)}
EPOCH = {"digits": "epochs of 5,000 updates", "mnist": "epoch"}
COLOURS = {SLOW: "tab:blue", RIGHT: "tab:green", LARGE: "tab:red"}


def run(run: Run) -> None:
    """Trains at the three rates from the same start and with the same batches."""
    curves = {eta: costs(run, eta) for eta in ETAS}
    for eta, values in curves.items():
        for seed, row in enumerate(values):
            run.record(quantity="training_cost", eta=eta, seed=seed, cost_by_epoch=row.tolist())
    judge(run, curves)
    caption = "Training cost with its penalty over the epochs, every seed; crosses, the book's single runs."
    run.figure("learning_rate", rates_figure(curves, run.dataset), caption)
    if run.dataset != "mnist":
        run.note("The published figures are for MNIST; on other data only shapes are tested.")


def costs(run: Run, eta: float) -> np.ndarray:
    """Training cost, `(lambda / 2n) sum w^2` in it, after each epoch of 5,000 updates, `(seeds, epochs)`."""
    train = run.splits.train
    model, decay = book.network(1), book.decay_for(len(train.x))
    objective = book.Monitored(book.objective(model), decay, len(train.x))
    trained = book.train(
        model, objective, book.descent(len(train.x), eta=eta, decay=decay), train, train,
        seeds=range(run.seeds), epochs=run.settings["epochs"][run.dataset],
        evaluate_every=run.settings["every"][run.dataset],
    )  # fmt: skip
    cost = trained.watched["cost"]
    print(f"  rate {eta:g}: cost {cost[:, -1].mean():.3f} at the end, {trained.seconds:.0f} s")
    return cost


def rises(values: np.ndarray) -> np.ndarray:
    """At how many epochs the cost of each seed was not below that of the epoch before."""
    return (np.diff(values, axis=1) >= 0).sum(1)


def judge(run: Run, curves: Mapping[float, np.ndarray]) -> None:
    """X11: the last costs, and the three shapes."""
    mnist, epochs = run.dataset == "mnist", curves[SLOW].shape[1]

    full = partial(at_full_length, run, length=epochs, published=BOOK_EPOCHS, preset="default")

    spread = {eta: values[:, -LAST:].std(1, ddof=1) for eta, values in curves.items()}
    ratio = spread[LARGE] / spread[RIGHT]
    run.find(
        f"at {LARGE:g} the cost keeps jumping: its deviation over the last {LAST} epochs is {SHAKING:g} times that at "
        f"{RIGHT:g} or more",
        "in every seed",
        full(rules.every_seed(ratio >= SHAKING)),
        published="0.054 against 0.006" if mnist else "",
        remark=f"{spread[LARGE].mean():.2g} against {spread[RIGHT].mean():.2g}, smallest ratio {ratio.min():.3g}",
        row="X11",
    )
    counts = rises(curves[SLOW])
    run.find(
        f"at {SLOW:g} the cost falls from epoch to epoch",
        f"in every seed, with at most {RISES} exception",
        full(rules.every_seed(counts <= RISES)),
        published="every epoch" if mnist else "",
        remark=f"exceptions by seed: {', '.join(map(str, counts))} of {epochs - 1}",
        row="X11",
    )
    run.find(
        f"negative control, the rule must fail: at {LARGE:g} the cost falls from epoch to epoch",
        f"must fail: in every seed, with at most {RISES} exception",
        rules.every_seed(rises(curves[LARGE]) <= RISES),
        control=True,
        row="X11",
    )
    run.find(
        f"{SLOW:g} is too small and {LARGE:g} too large: {RIGHT:g} has the lowest cost after a sixth of the epochs",
        "lower 95 % limit of the paired difference to the better of the others above 0",
        rules.exceeds(np.minimum(curves[SLOW], curves[LARGE])[:, epochs // 6] - curves[RIGHT][:, epochs // 6], 0.0),
        remark=f"after epoch {epochs // 6 + 1}",
        row="X11",
    )
    if not mnist:
        return
    for eta, (low, high) in FINAL.items():
        run.find(
            f"rate {eta:g}: training cost after {BOOK_EPOCHS} epochs",
            f"mean over seeds in [{low:g}, {high:g}]",
            full(rules.mean_within(curves[eta][:, -1], low, high)),
            published=f"{STORED[eta][-1]:g}",
            row="X11",
        )


def rates_figure(curves: Mapping[float, np.ndarray], dataset: str) -> Figure:
    """Cost over the epochs on a logarithmic axis."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axis = figure.subplots()
    for eta, values in curves.items():
        lines = axis.plot(np.arange(1, values.shape[1] + 1), values.T, color=COLOURS[eta], alpha=0.6, linewidth=1)
        lines[0].set_label(f"rate {eta:g}")
        if dataset == "mnist":
            axis.plot(EPOCHS, STORED[eta], "x", color=COLOURS[eta], markersize=7)
    axis.set(xlabel=EPOCH[dataset], ylabel=f"training cost on {dataset}, with penalty", yscale="log")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    name="learning_rate",
    lecture="McKay, seminar 2017; Fornax, Introduction to Deep Learning part 1",
    claim="too large a learning rate oscillates, too small a one is slow",
    setup="30 hidden sigmoids, ten sigmoid outputs with cross-entropy, weights N(0, 1/fan_in), biases N(0, 1), batches "
    "of 10, lambda 5, 30 epochs at rates 0.025, 0.25 and 2.5 from the same start; cost over all training images after "
    "every epoch, (lambda/2n) sum w^2 included. Digits: lambda 0.12, so that lambda/n is the same, and 1,260 epochs, "
    "measured at every 42nd, which are as many updates as an epoch of MNIST.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 3, one run each",
    seconds={"digits": 30, "mnist": 110},
    presets={
        "smoke": {"seeds": 5, "epochs": {"digits": 20, "mnist": 4}, "every": {"digits": 1, "mnist": 1}},
        "default": {"seeds": 5, "epochs": {"digits": 1260, "mnist": 30}, "every": {"digits": 42, "mnist": 1}},
        "full": {"seeds": 10, "epochs": {"digits": 1260, "mnist": 30}, "every": {"digits": 42, "mnist": 1}},
    },
    run=run,
    rows=("X11",),
)
