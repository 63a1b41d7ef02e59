"""Small against large batches, and the width of the basins they end in (X33; Keskar et al. 2017).

`python -m experiments batch_size`                     on the embedded digits
`python -m experiments batch_size --dataset mnist`     10,000 images of MNIST; some minutes on two cores
"""

import numpy as np

from experiments.generalization.batch_size_figures import batch_size_figure
from experiments.generalization.batch_size_networks import RADII, Networks, Trained
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from jaxdl.training import mean_interval

BETTER, LEARNED = 0.05, 99.0


def run(run: Run) -> None:
    """Trains with both batch sizes to convergence, and with the large one for two epochs as the control."""
    networks = Networks(run)
    settings = networks.settings
    sizes = (settings["batch"], networks.large)
    small = networks.of_batch(sizes[0], settings["epochs"])
    large = networks.of_batch(sizes[1], settings["epochs_large"])
    unfinished = networks.of_batch(sizes[1], 2)
    judge_accuracies(run, small, large, unfinished)
    judge_basins(run, small, large)
    for size, trained in zip(sizes, (small, large), strict=True):
        for seed in range(run.seeds):
            run.record(
                quantity="trained", batch=size, seed=seed, train=float(trained.train[seed]),
                test=float(trained.test[seed]), loss=float(trained.loss[seed]), top=float(trained.top[seed]),
                rise=trained.rise[seed].tolist(),
            )  # fmt: skip
    run.table(
        "both batch sizes at the end: means over seeds, 95 % intervals",
        ["batch", "updates", "training accuracy (%)", "test accuracy (%)", "training loss", "largest eigenvalue",
         *(f"rise at {radius:g}" for radius in RADII)],
        [row(networks, size, trained) for size, trained in zip(sizes, (small, large), strict=True)],
    )  # fmt: skip
    for size, trained in zip(sizes, (small, large), strict=True):
        run.note(f"Batches of {size:,}: {converged(trained)}")
    run.note(
        "Sharpness depends on the parametrization (Dinh et al. 2017): the rise is taken relative to the length of each "
        "unit's weights, the eigenvalue is not."
    )
    caption = (
        "Left: training loss over the epochs (median and range over seeds). Middle: test accuracies, paired by seed. "
        "Right: how much the training loss rises around the end of training."
    )
    run.figure("batch_size", batch_size_figure(small, large, sizes, run.dataset), caption)


def judge_accuracies(run: Run, small: Trained, large: Trained, unfinished: Trained) -> None:
    """X33: better on the test images, worse on the training images."""
    mnist = run.dataset == "mnist"
    run.find(
        f"small batches have a test accuracy more than {BETTER:g} points above that of large ones",
        f"lower 95 % limit of the mean paired difference above {BETTER:g} points",
        rules.exceeds(small.test - large.test, BETTER, unit=" points"),
        published="98.03 +- 0.07 against 97.81 +- 0.07 %" if mnist else "",
        remark=f"{small.test.mean():.2f} against {large.test.mean():.2f} %",
        row="X33",
    )
    run.find(
        "the training accuracies are the other way round",
        "lower 95 % limit of the mean paired difference, large less small, above 0 points",
        rules.exceeds(large.train - small.train, 0.0, unit=" points"),
        published="99.92 +- 0.01 against 99.66 +- 0.05 %" if mnist else "",
        remark=f"{large.train.mean():.3f} against {small.train.mean():.3f} %"
        + ("; both learn every image, so nothing is left to differ" if both_complete(small, large) else ""),
        row="X33",
    )
    run.find(
        "negative control, the rule must fail: large batches stopped after two epochs are better on the test images",
        "must fail: lower 95 % limit of the mean paired difference above 0 points",
        rules.exceeds(unfinished.test - small.test, 0.0, unit=" points"),
        control=True,
        remark=f"{unfinished.test.mean():.2f} against {small.test.mean():.2f} %",
        row="X33",
    )


def both_complete(small: Trained, large: Trained) -> bool:
    """Whether every network has learned all training images."""
    return bool(np.all(np.stack([small.train, large.train]) == 100))


def judge_basins(run: Run, small: Trained, large: Trained) -> None:
    """The lecture's reason; the reference reports it without a rule, these are ours."""
    far = len(RADII) - 1
    for what, ratio, shown in (
        ("the training loss rises more around the end of training with large batches",
         np.log(large.rise[:, far] / small.rise[:, far]), (small.rise[:, far], large.rise[:, far])),
        ("the largest eigenvalue of the Hessian is larger with large batches",
         np.log(large.top / small.top), (small.top, large.top)),
    ):  # fmt: skip
        run.find(
            what,
            "lower 95 % limit of the mean of ln(large / small), paired by seed, above 0"
            + (f"; weights moved by {RADII[far]:g} of their length" if "rises" in what else ""),
            rules.exceeds(ratio, 0.0),
            remark=f"{shown[1].mean():.3g} with large batches, {shown[0].mean():.3g} with small ones",
        )


def converged(trained: Trained) -> str:
    """How far the training loss still moves: the last epoch against that at three quarters of the run."""
    epochs = trained.curve.shape[1]
    before = trained.curve[:, max(0, 3 * epochs // 4 - 1)].mean()
    learned = "all of" if (trained.train >= LEARNED).all() else "not all of"
    return (
        f"training loss {trained.curve[:, 0].mean():.3g} in the first epoch, {before:.3g} at three quarters of "
        f"{epochs} epochs, {trained.curve[:, -1].mean():.3g} in the last; {learned} the seeds have learned {LEARNED:g} "
        "% of the training images."
    )


def row(networks: Networks, size: int, trained: Trained) -> list[str]:
    """A line of the table."""
    updates = trained.curve.shape[1] * (len(networks.train.y) // size)
    accuracies = [mean_interval(values) for values in (trained.train, trained.test)]
    shown = [f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in accuracies]
    rises = [f"{rise:.3g}" for rise in trained.rise.mean(0)]
    return [f"{size:,}", f"{updates:,}", *shown, f"{trained.loss.mean():.3g}", f"{trained.top.mean():.3g}", *rises]


EXPERIMENT = Experiment(
    name="batch_size",
    lecture="ECE521, lecture 10",
    claim="small batches end in wider basins and generalise better than large ones",
    setup="784-256-256-10 ReLU with batch normalization, He's start, Adam 1e-3 at a constant rate, the first 10,000 "
    "images of MNIST: 30 epochs of batches of 64, and 60 epochs of batches of a tenth of the images, each until the "
    "training loss hardly moves; the last state is evaluated, on the test images once. On 2,000 training images the "
    "rise of the loss is measured along 10 filter-normalised random directions, and the largest eigenvalue of the "
    "Hessian by 20 Lanczos iterations. Full: five layers of 512, all 50,000 images, batches of 256. Digits: 64-64.",
    source="Keskar et al. 2017",
    seconds={"digits": 40, "mnist": 130},
    presets={
        "smoke": {
            "seeds": 5, "images": {"digits": 600, "mnist": 1000}, "hidden": {"digits": (32,), "mnist": (32,)},
            "batch": {"digits": 20, "mnist": 20}, "epochs": {"digits": 10, "mnist": 2},
            "epochs_large": {"digits": 20, "mnist": 4}, "probed": {"digits": 200, "mnist": 200},
            "directions": {"digits": 3, "mnist": 3}, "lanczos": {"digits": 5, "mnist": 5},
        },
        "default": {
            "seeds": 8, "images": {"digits": 1197, "mnist": 10_000},
            "hidden": {"digits": (64, 64), "mnist": (256, 256)}, "batch": {"digits": 16, "mnist": 64},
            "epochs": {"digits": 60, "mnist": 30},
            "epochs_large": {"digits": 200, "mnist": 60}, "probed": {"digits": 1000, "mnist": 2000},
            "directions": {"digits": 10, "mnist": 10}, "lanczos": {"digits": 20, "mnist": 20},
        },
        "full": {
            "seeds": 5, "images": {"digits": 1197, "mnist": 50_000},
            "hidden": {"digits": (64,) * 5, "mnist": (512,) * 5}, "batch": {"digits": 16, "mnist": 256},
            "epochs": {"digits": 100, "mnist": 100},
            "epochs_large": {"digits": 400, "mnist": 300}, "probed": {"digits": 1000, "mnist": 5000},
            "directions": {"digits": 20, "mnist": 20}, "lanczos": {"digits": 20, "mnist": 20},
        },
    },
    run=run,
    rows=("X33",),
)  # fmt: skip
