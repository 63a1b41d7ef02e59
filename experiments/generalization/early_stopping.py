"""Early stopping: which parameters are kept, and how long it waits.

`python -m experiments early_stopping`                     200 images of the embedded digits
`python -m experiments early_stopping --dataset mnist`     1,000 images of MNIST
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks import book
from experiments.generalization import overfitting_networks as few_images
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from jaxdl import training

# The lecture's Keras callback with patience 0 stops at the first epoch that is no improvement; in jaxdl, where
# patience counts the epochs in a row that are none, that is 1.
AT_ONCE, PATIENT = 1, 20
ROUNDING = 1e-5


class Stopped(NamedTuple):
    """What one way to stop returned, each `(seeds,)`.

    Attributes:
      cost: on the test images.
      test: accuracy on the test images in percent.
      validation: cost on the validation images.
      epochs: done.
    """

    cost: np.ndarray
    test: np.ndarray
    validation: np.ndarray
    epochs: np.ndarray


class Networks(few_images.Networks):
    """The book's network on few images; every way to stop sees the same starts, orders and curves."""

    def stopped(self, patience: int | None, *, restore: bool = True) -> tuple[Stopped, np.ndarray]:
        """By patience, or at the last epoch for None; beside it the validation costs `(seeds, epochs)`."""
        model = few_images.network()
        objective, tx = book.objective(model), self._descent(0.0)
        rule = None if patience is None else training.EarlyStopping(patience=patience, restore_best=restore)
        runs = training.run_many(
            training.make_train_step(objective, tx), book.starter(model, tx, self.few.x), self.few,
            validation=self.validation, early_stopping=rule, **self._options(),
        )  # fmt: skip
        states = [training.member(runs.states, i) for i in range(self.run.seeds)]
        if rule is not None and restore:
            states = [training.best(state) for state in states]  # a run that did not stop has its last state
        curve = np.asarray(runs.history.validation["loss"])
        test, validation = ([training.evaluate(objective, s, data) for s in states]
                            for data in (self.test, self.validation))  # fmt: skip
        return Stopped(
            np.array([each["loss"] for each in test]),
            100 * np.array([each["accuracy"] for each in test]),
            np.array([each["loss"] for each in validation]),
            np.isfinite(curve).sum(1),
        ), curve


def run(run: Run) -> None:
    """Trains to the end, then again with every way to stop."""
    networks = Networks(run)
    last, curve = networks.stopped(None)
    ways = {
        "last epoch": last,
        "at once": networks.stopped(AT_ONCE)[0],
        "patient": networks.stopped(PATIENT)[0],
        "patient, not restored": networks.stopped(PATIENT, restore=False)[0],
    }
    judge(run, ways, curve)
    for name, way in ways.items():
        for seed in range(run.seeds):
            values = {key: float(value[seed]) for key, value in way._asdict().items()}
            run.record(quantity="stopped", way=name, seed=seed, **values)
    for seed in range(run.seeds):
        run.record(quantity="curve", seed=seed, validation_cost=curve[seed].tolist())
    header = ["way", "epochs", "test cost", "test accuracy (%)"]
    rows = [[name, f"{way.epochs.mean():.1f}", f"{way.cost.mean():.3f}", f"{way.test.mean():.2f}"]
            for name, way in ways.items()]  # fmt: skip
    run.table(f"means over seeds; patience {PATIENT}, and none", header, rows)
    caption = "Left: validation cost of every seed, and where each way to stop took its parameters. Right: test cost."
    run.figure("early_stopping", stopping_figure(ways, curve, run.dataset), caption)


def judge(run: Run, ways: Mapping[str, Stopped], curve: np.ndarray) -> None:
    """The lecture's claims: stop, restore the best, and not at the first bad epoch."""
    last, at_once, patient, as_it_was = (ways[name] for name in ways)
    run.find(
        f"early stopping of patience {PATIENT} returns the parameters of the lowest validation cost before it stopped",
        f"in every seed: their validation cost is the smallest of its curve, to {ROUNDING:g} relative",
        rules.every_seed(np.abs(patient.validation / smallest(curve, patient.epochs) - 1) <= ROUNDING),
        remark=f"{int(np.sum(patient.epochs < curve.shape[1]))} of {run.seeds} seeds stopped before the end; the "
        f"smallest of the whole curve in {int(np.sum(patient.validation <= curve.min(1) * (1 + ROUNDING)))}",
    )
    comparisons = (
        (f"early stopping of patience {PATIENT} has a lower test cost than training to the end", last, patient),
        ("restoring the best parameters has a lower test cost than keeping those of the epoch at which it stopped",
         as_it_was, patient),
        (f"stopping at the first epoch that is no better has a higher test cost than patience {PATIENT}",
         at_once, patient),
    )  # fmt: skip
    for claim, worse, better in comparisons:
        run.find(
            claim,
            "lower limit of the mean of ln(cost of the one / cost of the other), paired by seed, above 0 (95 % jointly "
            f"over {len(comparisons)} comparisons)",
            rules.exceeds(np.log(worse.cost / better.cost), 0.0, confidence=1 - 0.05 / len(comparisons)),
            remark=f"cost {worse.cost.mean():.3f} and {better.cost.mean():.3f}, epochs {worse.epochs.mean():.1f} and "
            f"{better.epochs.mean():.1f}, test accuracy {worse.test.mean():.2f} and {better.test.mean():.2f} %",
        )
    early = at_once.epochs - 1 < curve.argmin(1)
    run.find(
        "without patience training stops before the validation cost has reached its minimum, for the curve is noisy",
        "in every seed",
        rules.every_seed(early),
        remark=f"the cost rises {upturns(curve).mean():.1f} times on the way down to its minimum, at epoch "
        f"{np.median(curve.argmin(1)) + 1:.0f}; without patience it stops after {np.median(at_once.epochs):.0f}",
    )
    run.find(
        "negative control, the rule must fail: the last epoch has a lower test cost than early stopping",
        "must fail: lower 95 % limit of the mean of ln(cost of the one / cost of the other) above 0",
        rules.exceeds(np.log(patient.cost / last.cost), 0.0),
        control=True,
    )


def smallest(curve: np.ndarray, epochs: Sequence[int] | np.ndarray) -> np.ndarray:
    """The smallest value of each row among the epochs that were done."""
    return np.array([row[:count].min() for row, count in zip(curve, epochs, strict=True)])


def upturns(curve: np.ndarray) -> np.ndarray:
    """How often each row rises from one epoch to the next before its minimum."""
    return np.array([(np.diff(row[: row.argmin() + 1]) > 0).sum() for row in curve])


def stopping_figure(ways: Mapping[str, Stopped], curve: np.ndarray, dataset: str) -> Figure:
    """Left: the validation costs and where parameters were taken; right: test costs."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs, colours = np.arange(1, curve.shape[1] + 1), {"at once": "tab:red", "patient": "tab:green"}
    left.plot(epochs, curve.T, color="tab:gray", alpha=0.5, linewidth=0.8)
    for name, colour in colours.items():
        taken = [int(np.argmin(row[:count])) for row, count in zip(curve, ways[name].epochs, strict=True)]
        left.plot(np.array(taken) + 1, curve[np.arange(len(curve)), taken], "o", color=colour, fillstyle="none",
                  label=f"{name}: parameters of")  # fmt: skip
    left.set(xlabel="epoch", ylabel=f"validation cost on {dataset}", xscale="log")
    left.legend(fontsize=8)
    for i, (name, way) in enumerate(ways.items()):
        right.barh(i, way.cost.mean(), color=colours.get(name, "tab:gray"), alpha=0.5)
        right.plot(way.cost, np.full(len(way.cost), i), ".", color="black")
        right.annotate(f" {way.test.mean():.1f} %", (way.cost.max(), i), va="center", fontsize=8)
    right.set(xlabel="test cost (beside it: test accuracy)", yticks=range(len(ways)), yticklabels=list(ways))
    right.set_xlim(0, 1.15 * max(way.cost.max() for way in ways.values()))
    right.invert_yaxis()
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def settings(seeds: int, digits: int, mnist: int) -> Mapping[str, Any]:
    """Of a preset."""
    return {"seeds": seeds, "images": {"digits": 200, "mnist": 1000}, "epochs": {"digits": digits, "mnist": mnist}}


EXPERIMENT = Experiment(
    name="early_stopping",
    lecture="ECE521, lecture 10; Fornax, Introduction to Deep Learning part 2",
    claim="stopping at the lowest validation cost and restoring its parameters helps; without patience it is too early",
    setup=f"The book's network as in `overfitting`: {few_images.WIDTH} sigmoids and ten sigmoid outputs with "
    "cross-entropy, weights and biases N(0, 1), eta 0.5, batches of 10, the first 1,000 training images of MNIST for "
    "100 epochs (digits: 200 images, a fifth of whose labels are drawn at random, 200 epochs). The validation cost is "
    f"looked at after every epoch. Four ways to end: the last epoch; patience {PATIENT} with the best parameters "
    "restored, and with those of the epoch at which it stopped; and no patience: a stop at the first epoch that is no "
    "better than the best before, which is `patience=0` of Keras and of the slide and 1 here, the best restored. "
    "Starts and orders are the same for all, so are the curves. The test images are seen once.",
    source="the lectures; Prechelt 1998",
    seconds={"digits": 15, "mnist": 20},
    presets={"smoke": settings(5, 150, 6), "default": settings(10, 200, 100), "full": settings(20, 400, 400)},
    run=run,
)
