"""Quadratic cost against cross-entropy (X07; Nielsen 2015, chapters 1 and 3).

`python -m experiments costs`                     one neuron, and the embedded digits
`python -m experiments costs --dataset mnist`     the book's networks of 30 and 100 hidden units; some minutes
"""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import jaxdl
from experiments.building_blocks import book
from experiments.building_blocks.full_length import at_full_length, undecided
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from experiments.training.cost_figures import networks_figure, neuron_figure
from experiments.training.one_neuron import judge_neuron

BOOK_EPOCHS, RUNS, MARGIN, STUCK = 30, 3, 0.5, 90.0
LOSSES = {"quadratic": book.quadratic, "cross-entropy": jaxdl.losses.sigmoid_cross_entropy}
ETAS = {"quadratic": 3.0, "cross-entropy": 0.5}
# Best epoch on the test images: single runs, but for the quadratic cost the best of three.
PUBLISHED = {(30, "quadratic"): 95.42, (30, "cross-entropy"): 95.49, (100, "cross-entropy"): 96.82}
PEAKS = {(30, "quadratic"): (95.0, 95.8), (30, "cross-entropy"): (95.1, 95.9), (100, "cross-entropy"): (96.4, 97.1)}
UNJUDGED = 96.59
GRIDS = {"quadratic": tuple(0.75 * 2.0**i for i in range(8)), "cross-entropy": tuple(0.125 * 2.0**i for i in range(8))}
TUNING_SEEDS = range(1000, 1003)


def run(run: Run) -> None:
    """One neuron without randomness, then both costs on images, then their first updates at their own rates."""
    neuron = judge_neuron(run)
    run.figure("neuron", neuron_figure(neuron), "Output of one neuron that has to turn 1 into 0, over the steps.")
    curves = {(w, c): accuracies(run, w, c) for w in run.settings["widths"] for c in LOSSES}
    for (width, cost), values in curves.items():
        for seed, row in enumerate(values):
            run.record(quantity="test_accuracy", width=width, cost=cost, seed=seed, percent_by_epoch=row.tolist())
    judge_peaks(run, curves)
    tuning = {cost: tune(run, cost) for cost in LOSSES}
    best = {cost: max(found, key=lambda eta: found[eta]) for cost, found in tuning.items()}
    early = {
        cost: after_first_updates(run, cost, [eta], range(run.seeds), run.splits.test)[0] for cost, eta in best.items()
    }
    for cost, values in early.items():
        for seed, value in enumerate(values):
            run.record(quantity="early_accuracy", cost=cost, eta=best[cost], seed=seed, percent=float(value))
    judge_speed(run, early, best)
    caption = (
        "Left: test accuracy of every seed over the epochs. Right: accuracy after the first updates against the rate, "
        "mean of the tuning seeds on validation images; crosses, the judged seeds on test images."
    )
    run.figure("costs", networks_figure(curves, tuning, early, run.dataset), caption)
    if run.dataset != "mnist":
        run.note("The published figures are for MNIST; on other data only orderings are tested.")


def accuracies(run: Run, width: int, cost: str) -> np.ndarray:
    """Test accuracy in percent after each epoch, `(seeds, epochs)`: the book watches the test images."""
    train, _, test = run.splits
    model = book.network(1, width=width, start=book.large_start())
    trained = book.train(
        model, book.objective(model, loss=LOSSES[cost]), book.descent(len(train.x), eta=ETAS[cost], decay=0.0), train,
        test, seeds=range(run.seeds), epochs=run.settings["epochs"][run.dataset],
    )  # fmt: skip
    accuracy = trained.watched["accuracy"]
    print(f"  {width} hidden, {cost}: best epochs {np.round(accuracy.max(1), 2)} %, {trained.seconds:.0f} s")
    return accuracy


def after_first_updates(run: Run, cost: str, etas: Any, seeds: Any, watched: Any) -> np.ndarray:
    """Accuracy in percent after a tenth of an epoch of MNIST, `(rates, seeds)`."""
    train = run.splits.train
    model = book.network(1, start=book.large_start())
    objective = book.objective(model, loss=LOSSES[cost])

    def make_step(eta: Any) -> jaxdl.training.TrainStep:
        return jaxdl.training.make_train_step(objective, book.descent(len(train.x), eta=eta, decay=0.0))

    def init(key: jax.Array, eta: Any) -> jaxdl.training.TrainState:
        return jaxdl.training.init_state(model, book.descent(len(train.x), eta=eta, decay=0.0), train.x[:1], key=key)

    _, history = jaxdl.training.run_many(
        make_step, init, train, hyperparameters={"eta": list(etas)}, seeds=list(seeds), validation=watched,
        steps=run.settings["updates"][run.dataset], batch_size=book.BATCH, mode="vmap", progress=False,
    )  # fmt: skip
    return 100 * np.reshape(history.validation["accuracy"][:, -1], (len(etas), len(seeds)))


def tune(run: Run, cost: str) -> dict[float, float]:
    """Mean validation accuracy of every rate, over seeds that are not judged."""
    found = after_first_updates(run, cost, GRIDS[cost], TUNING_SEEDS, run.splits.validation)
    return dict(zip(GRIDS[cost], found.mean(1).tolist(), strict=True))


def best_of_three(peaks: np.ndarray, low: float, high: float) -> Result:
    """IV on the maximum over three of the seeds: its mean over every choice of three, and its range over them."""
    maxima = np.array([max(chosen) for chosen in itertools.combinations(peaks.tolist(), RUNS)])
    ends = (float(maxima.min()), float(maxima.max()))
    detail = f"mean and range over all {len(maxima)} choices of {RUNS} of {len(peaks)} seeds"
    outside = ends[1] < low or ends[0] > high
    verdict = "PASS" if low <= maxima.mean() <= high else "FAIL" if outside else "INCONCLUSIVE"
    if len(peaks) < rules.MIN_SEEDS:
        verdict, detail = "INCONCLUSIVE", f"{detail}; needs {rules.MIN_SEEDS} seeds, got {len(peaks)}"
    return Result(verdict, f"{maxima.mean():.4g} %", ends, detail)


def judge_peaks(run: Run, curves: Mapping[tuple[int, str], np.ndarray]) -> None:
    """X07 b and c: the best epoch of every seed, those that are stuck among them."""
    peaks = {arm: values.max(1) for arm, values in curves.items()}
    for arm, (low, high) in PEAKS.items():
        if arm in peaks and run.dataset == "mnist":
            result = best_of_three(peaks[arm], low, high)
            length = curves[arm].shape[1]
            result = at_full_length(run, result, length=length, published=BOOK_EPOCHS, preset="default")
            run.find(
                f"{arm[0]} hidden units, {arm[1]}: test accuracy of the best epoch, best of three runs",
                f"the maximum over {RUNS} of the seeds in [{low:g}, {high:g}] %; the test images choose the epoch, as "
                "the published figure has it",
                result,
                published=f"{PUBLISHED[arm]:.2f} %",
                row="X07",
            )
    run.find(
        f"the two costs, each at the book's rate, end within {MARGIN:g} points of one another (30 hidden units)",
        f"EQ({MARGIN:g}): 90 % interval of the paired difference of the best epochs within +-{MARGIN:g} points",
        rules.equivalent(peaks[30, "cross-entropy"] - peaks[30, "quadratic"], MARGIN, unit=" points"),
        published="95.42 and 95.49 %" if run.dataset == "mnist" else "",
        row="X07",
    )
    first = curves[30, "cross-entropy"][:, 0]
    run.find(
        "negative control, the rule must fail: after one epoch cross-entropy is where its best epoch is",
        f"must fail: EQ({MARGIN:g}) of the paired difference",
        rules.equivalent(peaks[30, "cross-entropy"] - first, MARGIN, unit=" points"),
        control=True,
        row="X07",
    )
    rows = []
    for (width, cost), values in peaks.items():
        stuck = int((values < STUCK).sum())
        cells = [f"{v:.2f}" for v in (curves[width, cost][:, 0].mean(), values.min(), np.median(values), values.max())]
        rows.append([f"{width}", cost, *cells, f"{stuck} of {len(values)}"])
    header = ["hidden", "cost", "first epoch, mean", "best epoch: lowest seed", "median", "highest", "stuck"]
    run.table(f"test accuracy in percent; stuck: best epoch below {STUCK:g} %", header, rows)
    if (100, "quadratic") in peaks and run.dataset == "mnist":
        values = np.sort(peaks[100, "quadratic"])
        run.note(
            f"100 hidden units with the quadratic cost at rate 3 are reported, not judged: best epochs of all seeds "
            f"{', '.join(f'{v:.2f}' for v in values)} % (the book's best of three: {UNJUDGED:.2f}); output units that "
            "are stuck at 0 leave a seed far below the others, as the book's footnote admits."
        )


def judge_speed(run: Run, early: Mapping[str, np.ndarray], best: Mapping[str, float]) -> None:
    """Initial speed, each cost at the rate that is best for it."""
    result = rules.exceeds(early["cross-entropy"] - early["quadratic"], 0.0, unit=" points")
    ends = [cost for cost, eta in best.items() if eta in (GRIDS[cost][0], GRIDS[cost][-1])]
    if ends:
        detail = f"the best rate of {' and '.join(ends)} is an end of its grid, so it is not tuned"
        result = undecided(result, detail)
    updates = run.settings["updates"][run.dataset]
    run.find(
        f"cross-entropy is ahead after {updates} updates, each cost at its own tuned rate",
        "lower 95 % limit of the paired difference of test accuracies above 0",
        result,
        remark=f"rates {best['cross-entropy']:g} and {best['quadratic']:g}, "
        f"accuracies {early['cross-entropy'].mean():.2f} and {early['quadratic'].mean():.2f} %",
        row="X07",
    )


EXPERIMENT = Experiment(
    name="costs",
    lecture="McKay, seminar 2017",
    claim="squared error behind a sigmoid learns slowly when badly wrong; cross-entropy does not",
    setup="One neuron, input 1 and target 0, from two starts, 300 steps of gradient descent at 0.15 (and 0.005). "
    "Networks: 30 and 100 hidden sigmoids, ten sigmoid outputs, weights and biases N(0, 1), batches of 10, no decay, "
    "30 epochs; quadratic cost at rate 3, cross-entropy at 0.5; the test images are watched after every epoch and "
    "choose the best one, as the published figures do. First updates: 500 on MNIST, a tenth of an epoch (digits: "
    "100), 30 hidden units, the rate of each cost from a grid of factors of 2 by validation accuracy over three other "
    "seeds. Digits: 100 epochs.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapters 1 and 3; one neuron computed",
    seconds={"digits": 30, "mnist": 160},
    presets={
        "smoke": {
            "seeds": 5,
            "widths": (30,),
            "epochs": {"digits": 10, "mnist": 3},
            "updates": {"digits": 100, "mnist": 500},
        },
        "default": {
            "seeds": 5,
            "widths": (30, 100),
            "epochs": {"digits": 100, "mnist": 30},
            "updates": {"digits": 100, "mnist": 500},
        },
        "full": {
            "seeds": 10,
            "widths": (30, 100),
            "epochs": {"digits": 100, "mnist": 30},
            "updates": {"digits": 100, "mnist": 500},
        },
    },
    run=run,
    rows=("X07",),
)
