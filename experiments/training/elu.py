"""ELU against leaky ReLU and ReLU (X21): unit means near zero, a training loss that falls faster, and what it costs.

`python -m experiments elu`                     on the embedded digits
`python -m experiments elu --dataset mnist`     the paper's network on MNIST
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.curves import draw_curves
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.training.elu_networks import (
    ACTIVATIONS,
    BATCH,
    DEPTH,
    ETA,
    SLOPE,
    WIDTH,
    Trained,
    images_of,
    seconds_per_step,
    train,
)

WINDOW = (5, 25)  # epochs, both included
ORDER = tuple(ACTIVATIONS)  # from the smallest means and loss claimed to the largest


def run(run: Run) -> None:
    """Trains the three networks, times their steps, and judges means and losses."""
    images = images_of(run)
    arms = {name: train(run, name, images) for name in ACTIVATIONS}
    for name, arm in arms.items():
        for seed in range(run.seeds):
            run.record(
                quantity="curves", activation=name, seed=seed, training_loss=arm.loss[seed].tolist(),
                median_unit_mean=arm.medians[seed].tolist(),
            )  # fmt: skip
    judge_means(run, arms)
    judge_losses(run, arms)
    seconds = seconds_per_step(run, images, repeats=run.settings["repeats"])
    report_seconds(run, arms, seconds)
    caption = (
        "Left: median over all hidden units of their mean activation. Middle: training loss. Both by epoch, mean and "
        "range over the seeds; the shaded epochs are judged. Right: the loss against the seconds that its steps take."
    )
    run.figure("elu", picture(arms, seconds, len(images.y) // BATCH[run.dataset]), caption)
    run.note("One rate for all activations, as in the paper's figure: none is tuned.")
    if run.dataset == "mnist" and len(images.y) < len(run.splits.train.y):
        run.note(
            f"Reduced: the first {len(images.y):,} training images for {arms['ELU'].loss.shape[1]} epochs. "
            "`--preset full` has all of them and the paper's 300."
        )


def judge_means(run: Run, arms: Mapping[str, Trained]) -> None:
    """X21: the medians at the end, ordered."""
    ends = {name: np.abs(arm.medians[:, -1]) for name, arm in arms.items()}
    rule = "lower limit of the paired difference of |median over units of their means| above 0"
    for nearer, farther in pairwise(ORDER):
        run.find(
            f"the mean activations of {nearer} units are nearer to zero at the end than those of {farther} units",
            f"{rule} (95 % jointly over 2 comparisons)",
            rules.exceeds(ends[farther] - ends[nearer], 0.0, confidence=1 - 0.05 / 2),
            published="a figure without numbers (Clevert et al. 2016)",
            remark=f"{ends[nearer].mean():.3g} against {ends[farther].mean():.3g}",
            row="X21",
        )
    shifted = np.abs(np.median(arms["ELU"].last_means + 1, (1, 2)))
    run.find(
        "negative control, the rule must fail: the same ELU units raised by 1, as elu(z) + 1 would have them, are "
        "nearer to zero than ReLU units",
        f"must fail: {rule}",
        rules.exceeds(ends["ReLU"] - shifted, 0.0),
        control=True,
        remark="nothing but the mean is changed",
    )


def judge_losses(run: Run, arms: Mapping[str, Trained]) -> None:
    """X21: the training loss over the judged epochs."""
    losses = {name: window(arm.loss) for name, arm in arms.items()}
    first, last = WINDOW[0], min(WINDOW[1], arms["ELU"].loss.shape[1])
    for other in ORDER[1:]:
        everywhere = np.mean([(a < b).all() for a, b in zip(losses["ELU"], losses[other], strict=True)])
        run.find(
            f"ELU has a lower training loss than {other} over epochs {first} to {last}",
            "lower limit of the mean over seeds of ln(loss of the other / loss of ELU), averaged over these epochs, "
            "above 0 (95 % jointly over 2 comparisons)",
            rules.exceeds(np.log(losses[other] / losses["ELU"]).mean(1), 0.0, confidence=1 - 0.05 / 2),
            published="a figure without numbers (Clevert et al. 2016)",
            remark=f"lower in every one of these epochs for {everywhere:.0%} of the seeds",
            row="X21",
        )


def window(loss: np.ndarray) -> np.ndarray:
    """The columns of the judged epochs."""
    return loss[:, WINDOW[0] - 1 : WINDOW[1]]


def report_seconds(run: Run, arms: Mapping[str, Trained], seconds: Mapping[str, np.ndarray]) -> None:
    """S40: converges faster by the epoch, but a step takes longer; told, not judged."""
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    run.table(
        "wall-clock of a step beside it (medians of interleaved chunks; not judged)",
        ["activation", "milliseconds a step", "ratio to ReLU", "last training loss"],
        [
            [name, f"{1000 * value:.3g}", f"{value / medians['ReLU']:.2f}", f"{arms[name].loss[:, -1].mean():.3g}"]
            for name, value in medians.items()
        ],
    )
    run.note(
        f"A step of ELU takes {medians['ELU'] / medians['ReLU']:.2f} times as long as one of ReLU here: 'faster' in "
        "the lecture is by the epoch, 'slower' by the second."
    )


def picture(arms: Mapping[str, Trained], seconds: Mapping[str, np.ndarray], steps_per_epoch: int) -> Figure:
    """Medians and losses by epoch, losses by the second."""
    figure = Figure(figsize=(14, 4.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    epochs = arms["ELU"].loss.shape[1]
    draw_curves(left, {name: arm.medians for name, arm in arms.items()}, np.arange(epochs + 1))
    draw_curves(middle, {name: arm.loss for name, arm in arms.items()})
    for name, arm in arms.items():
        places = np.median(seconds[name]) * steps_per_epoch * np.arange(1, epochs + 1)
        draw_curves(right, {name: arm.loss}, places)
    left.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel="epoch", ylabel="median of the units' means")
    middle.axvspan(WINDOW[0], min(WINDOW[1], epochs), color="black", alpha=0.05)
    middle.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="seconds of training, one network at a time", ylabel="training loss", yscale="log")
    return figure


EXPERIMENT = Experiment(
    name="elu",
    lecture="Misra L3",
    claim="ELU's unit means are nearer to zero, and its training loss falls faster than that of ReLU and leaky ReLU",
    setup=f"{DEPTH} hidden layers of {WIDTH} units, softmax output; ELU (alpha 1), leaky ReLU ({SLOPE:g}), ReLU; "
    f"weights N(0, 2/fan_in) from the same draws, zero biases, descent {ETA:g}, batches of 64, the same for all three. "
    "By default the first 25,000 training images of MNIST for 26 epochs, in full 50,000 for 300; digits: batches of 8. "
    "A unit's mean is taken over the first 500 training images. The loss of an epoch is the mean over its steps.",
    source="Clevert, Unterthiner and Hochreiter 2016, figure of MNIST; curves without numbers",
    seconds={"digits": 40, "mnist": 110},
    presets={
        "smoke": {
            "seeds": 5, "epochs": {"digits": 7, "mnist": 6}, "images": {"digits": 400, "mnist": 2000}, "repeats": 3,
        },
        "default": {
            "seeds": 5, "epochs": {"digits": 26, "mnist": 26}, "images": {"digits": 1197, "mnist": 25_000},
            "repeats": 25,
        },
        "full": {
            "seeds": 5, "epochs": {"digits": 60, "mnist": 300}, "images": {"digits": 1197, "mnist": 50_000},
            "repeats": 25,
        },
    },
    run=run,
    rows=("X21",),
)  # fmt: skip
