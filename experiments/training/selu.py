"""SELU against ReLU in a shallow network (X14), and what of it is the start.

`python -m experiments selu`                     on the embedded digits
`python -m experiments selu --dataset mnist`     the tutorial's set-up
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.curves import draw_curves
from experiments.building_blocks.full_length import at_full_length
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.training.selu_networks import RATE, RELU, RELU_HE, SELU, SELU_DEFAULT, Trained, networks, prepared
from experiments.training.selu_networks import train as train_arm

EPOCHS, FLOOR = 20, 0.15
FIRST, FINAL = 15.0, {"digits": 0.0, "mnist": 0.6}
PUBLISHED_TEST = {RELU: 90.76, SELU: 92.04}
PUBLISHED_FIRST, PUBLISHED_LAST = {RELU: 54.21, SELU: 80.90}, {RELU: 89.98, SELU: 91.24}


def run(run: Run) -> None:
    """The two arms of the tutorial in full, the two that part activation from start for as long as is set."""
    splits = prepared(run.splits, run.dataset)
    epochs, shorter = run.settings["epochs"][run.dataset], run.settings["parted_epochs"][run.dataset]
    arms = {
        name: train_arm(run, model, splits, epochs=epochs if name in PUBLISHED_TEST else shorter)
        for name, model in networks().items()
    }
    for name, arm in arms.items():
        for seed in range(run.seeds):
            run.record(
                quantity="accuracy", arm=name, seed=seed, validation=arm.validation[seed].tolist(),
                validation_loss=arm.loss[seed].tolist(), test=float(arm.test[seed]),
            )  # fmt: skip
    judge(run, arms, epochs)
    judge_parts(run, arms)
    run.table(
        "means over seeds, percent",
        ["arm", "validation after the first", "after the last", "loss after the last", "test", "seconds"],
        [row(name, arm) for name, arm in arms.items()],
    )
    caption = (
        "Left: validation accuracy, mean and range over the seeds. Right: loss on the validation images. Two arms are "
        "the tutorial's, two have the other start."
    )
    run.figure("selu", picture(arms, run), caption)
    run.note(
        "The network is far from trained at this rate: what is compared is how soon it learns, not how well in the end."
    )
    if shorter < epochs:
        run.note(
            f"{RELU_HE} and {SELU_DEFAULT} are trained for {shorter} of {epochs} epochs; only the first is judged."
        )
    if run.dataset != "mnist":
        run.note("The published figures are for MNIST; on other data only orderings are tested.")


def row(name: str, arm: Trained) -> list[str]:
    """Cells of the table."""
    columns = arm.validation[:, 0], arm.validation[:, -1], arm.loss[:, -1], arm.test
    return [name, *(f"{values.mean():.4g}" for values in columns), f"{arm.seconds:.0f}"]


def judge(run: Run, arms: Mapping[str, Trained], epochs: int) -> None:
    """X14, as declared: the first epoch, and the test images at the best epoch."""
    relu, selu = arms[RELU], arms[SELU]
    rule = f"lower 95 % limit of the paired difference of validation accuracies above {FIRST:g} points"
    run.find(
        f"SELU learns faster early: its validation accuracy is more than {FIRST:g} points higher {early(run)}",
        rule,
        rules.exceeds(selu.validation[:, 0] - relu.validation[:, 0], FIRST, unit=" points"),
        published=f"{PUBLISHED_FIRST[SELU]:.2f} against {PUBLISHED_FIRST[RELU]:.2f} %",
        row="X14",
    )
    run.find(
        "negative control, the rule must fail: the same after the last epoch",
        f"must fail: {rule}",
        rules.exceeds(selu.validation[:, -1] - relu.validation[:, -1], FIRST, unit=" points"),
        published=f"{PUBLISHED_LAST[SELU]:.2f} against {PUBLISHED_LAST[RELU]:.2f} %",
        control=True,
    )
    bound = FINAL[run.dataset]
    run.find(
        f"SELU is above ReLU on the test images, at the epoch of the best validation accuracy, by more than {bound:g} "
        "points",
        f"lower 95 % limit of the paired difference above {bound:g} points",
        at_full_length(
            run, rules.exceeds(selu.test - relu.test, bound, unit=" points"), length=epochs, published=EPOCHS
        ),
        published=f"{PUBLISHED_TEST[SELU]:.2f} against {PUBLISHED_TEST[RELU]:.2f} %",
        row="X14",
    )
    if run.dataset == "mnist":
        for name, published in PUBLISHED_TEST.items():
            run.find(
                f"{name}: {published:.2f} % of the test images",
                f"the published run lies in the 95 % prediction interval of one run (spread at least {FLOOR:g} points)",
                at_full_length(
                    run, rules.predicts(arms[name].test, published, floor=FLOOR, unit=" %"),
                    length=epochs, published=EPOCHS,
                ),
                published=f"{published:.2f} %",
                row="X14",
            )  # fmt: skip


def judge_parts(run: Run, arms: Mapping[str, Trained]) -> None:
    """Which part of the early lead is the activation's, and which the start's."""
    first = {name: arm.validation[:, 0] for name, arm in arms.items()}
    lead = first[SELU] - first[RELU]
    for claim, upper, lower in (
        ("ReLU from He's start is above ReLU from PyTorch's", RELU_HE, RELU),
        ("SELU is above ReLU where each has its own start, LeCun's and He's", SELU, RELU_HE),
        ("SELU is above ReLU where both have PyTorch's start", SELU_DEFAULT, RELU),
    ):
        difference = first[upper] - first[lower]
        run.find(
            f"{claim}, {early(run)}",
            "lower limit of the paired difference of validation accuracies above 0 (95 % jointly over 3 comparisons)",
            rules.exceeds(difference, 0.0, confidence=1 - 0.05 / 3, unit=" points"),
            remark=f"{difference.mean():.1f} points; the arms of the tutorial differ by {lead.mean():.1f}",
        )


def early(run: Run) -> str:
    """When the first evaluation is."""
    every = run.settings["every"][run.dataset]
    return "after the first epoch" if every == 1 else f"after the first {every} epochs"


def picture(arms: Mapping[str, Trained], run: Run) -> Figure:
    """Left: validation accuracy; right: validation loss."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    every = run.settings["every"][run.dataset]
    for axis, values in (
        (left, {name: arm.validation for name, arm in arms.items()}),
        (right, {name: arm.loss for name, arm in arms.items()}),
    ):
        for name, rows in values.items():
            draw_curves(axis, {name: rows}, every * np.arange(1, rows.shape[1] + 1))
        axis.set(xlabel="epoch")
    if run.dataset == "mnist":
        left.plot([1, 1], list(PUBLISHED_FIRST.values()), "kx", label="published")
        left.plot([EPOCHS, EPOCHS], list(PUBLISHED_LAST.values()), "kx")
        left.legend(fontsize=8)
    left.set(ylabel=f"validation accuracy on {run.dataset} (%)")
    right.set(ylabel="validation loss", yscale="log")
    return figure


EXPERIMENT = Experiment(
    name="selu",
    lecture="Misra L3",
    claim="SELU with LeCun's start learns faster early than ReLU; the start has its part in it",
    setup="784-512-256-10; pixels (x - 0.1307) / 0.3081; dropout (ReLU) or alpha dropout (SELU) of "
    f"{RATE:g} after each hidden layer; descent 0.001 without momentum, batches of 128, the last incomplete one "
    "dropped, 20 epochs; 50,000 training and 10,000 validation images drawn once at random; test images at the epoch "
    "of the best validation accuracy. ReLU has PyTorch's default start, weights and biases U(+-1/sqrt(fan_in)); SELU "
    "weights N(0, 1/fan_in) and zero biases. Besides, ReLU from He's start with zero biases, and SELU from PyTorch's "
    "(by default for 5 epochs on MNIST). Digits: descent 0.02, 80 epochs, their own mean and deviation.",
    source="the tutorial of the lecture in PyTorch, one run each",
    seconds={"digits": 40, "mnist": 270},
    presets={
        "smoke": {
            "seeds": 5, "epochs": {"digits": 16, "mnist": 2}, "parted_epochs": {"digits": 8, "mnist": 1},
            "every": {"digits": 4, "mnist": 1},
        },
        "default": {
            "seeds": 5, "epochs": {"digits": 80, "mnist": 20}, "parted_epochs": {"digits": 80, "mnist": 5},
            "every": {"digits": 4, "mnist": 1},
        },
        "full": {
            "seeds": 10, "epochs": {"digits": 80, "mnist": 20}, "parted_epochs": {"digits": 80, "mnist": 20},
            "every": {"digits": 4, "mnist": 1},
        },
    },
    run=run,
    rows=("X14",),
)  # fmt: skip
