"""Per-example gradients: their mean is the mini-batch gradient, and their norms find wrong labels.

`python -m experiments per_example`                     one hidden layer on the embedded digits
`python -m experiments per_example --dataset mnist`     the same on MNIST; a minute or two on two cores
"""

from typing import NamedTuple

import numpy as np

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.theory import batch_gradients, detection, per_example_figures
from experiments.theory.per_example_network import BATCH, HIDDEN, RATE, losses, outputs, start, trained
from jaxdl.data import Examples

FLIPPED, LEAST_AREA = 0.05, 0.8
CHUNK = 500


def run(run: Run) -> None:
    """The two identities on fresh networks, then the hunt for flipped labels, then the pictures."""
    batch_gradients.judge_mean(run)
    batch_gradients.judge_unbiased(run)
    judge_detection(run)
    show_images(run)


class Hunt(NamedTuple):
    """Areas under the ROC curve after each epoch, `(epochs,)`, and the scores and flags after the last."""

    by_norm: list[float]
    by_loss: list[float]
    norms: np.ndarray
    flags: np.ndarray


def judge_detection(run: Run) -> None:
    """Wrong labels by the norm of their gradient, and a control that looks for others."""
    hunts = [hunt(run, seed) for seed in range(run.seeds)]
    shuffled = [np.random.default_rng([seed, 2]).permutation(found.flags) for seed, found in enumerate(hunts)]
    areas = [found.by_norm[-1] for found in hunts]
    epochs = len(hunts[0].by_norm)
    rule = f"lower 95 % limit of the mean area under the ROC curve above {LEAST_AREA:g} after {epochs} epochs"
    run.find(
        f"gradient norms find the {FLIPPED:.0%} of the labels that are wrong", rule, rules.exceeds(areas, LEAST_AREA)
    )
    run.find(
        "negative control, the rule must fail: they find as many examples picked at random",
        f"must fail: {rule}",
        rules.exceeds([detection.area(h.norms, flags) for h, flags in zip(hunts, shuffled, strict=True)], LEAST_AREA),
        control=True,
    )
    picked = [np.mean(h.flags[np.argsort(h.norms)[::-1][: h.flags.sum()]]) for h in hunts]
    by_loss = np.mean([found.by_loss[-1] for found in hunts])
    means = [
        [f"{area:.3f}" for area in np.mean(of, 0)] for of in ([h.by_norm for h in hunts], [h.by_loss for h in hunts])
    ]
    run.table(
        "area under the ROC curve, mean over seeds",
        ["epoch", "gradient norm", "loss"],
        [[str(epoch), *cells] for epoch, *cells in zip(range(1, epochs + 1), *means, strict=True)],
    )
    run.note(
        f"Of the {FLIPPED:.0%} with the largest norms {np.mean(picked):.0%} are wrong labels. The loss alone, without "
        f"any gradient, has an area of {by_loss:.3f} against {np.mean(areas):.3f}."
    )
    run.figure(
        "label_noise",
        per_example_figures.detection(hunts, shuffled, run.dataset),
        "Left: ROC curves of the gradient norm after the last epoch, one a seed, and of the control. Right: area under "
        "the curve after each epoch, mean and range over seeds, for the norm and for the loss.",
    )


def hunt(run: Run, seed: int) -> Hunt:
    """Flips labels, trains on them, and looks for them after every epoch."""
    x, y = run.splits.train
    data_draws = np.random.default_rng([seed, 1])
    flags = np.zeros(len(y), bool)
    flags[data_draws.permutation(len(y))[: round(FLIPPED * len(y))]] = True
    # Another label than the right one, each with the same probability.
    noisy = Examples(x, np.where(flags, (y + data_draws.integers(1, 10, len(y))) % 10, y).astype(np.int32))
    state, norms, by_norm, by_loss = start(x, seed=seed), np.zeros(len(y)), [], []
    for epoch in range(run.settings["epochs"][run.dataset]):
        state = trained(state, noisy, epochs=epoch + 1)
        norms = norms_of(state.params, noisy)
        by_norm.append(detection.area(norms, flags))
        by_loss.append(detection.area(np.asarray(losses(state.params, tuple(noisy))), flags))
    run.record(quantity="area under the ROC curve", seed=seed, by_norm=by_norm, by_loss=by_loss)
    return Hunt(by_norm, by_loss, norms, flags)


def show_images(run: Run) -> None:
    """Which images of the training split have the largest gradients, all labels being right."""
    data = run.splits.train
    state = trained(start(data.x, seed=0), data, epochs=run.settings["epochs"][run.dataset])
    norms, answers = norms_of(state.params, data), np.asarray(outputs(state.params, data.x)).argmax(1)
    run.figure(
        "largest_gradients",
        per_example_figures.images(data, norms, answers),
        "Training images, all with their own labels, of the largest gradient norms after training (two rows) and of "
        "the smallest (last row): the label, the network's answer where it is another, and the norm.",
    )
    largest, wrong = np.argsort(norms)[::-1][: max(1, len(norms) // 100)], answers != data.y
    run.note(
        f"With right labels the network is wrong on {wrong[largest].mean():.0%} of the 1 % of training images with "
        f"the largest gradients, and on {wrong.mean():.2%} of all."
    )


def norms_of(params: object, data: Examples) -> np.ndarray:
    """Gradient norm of every example, `(examples,)`."""
    return np.asarray(jaxdl.diagnostics.per_example_gradient_norms(losses, params, tuple(data), microbatch_size=CHUNK))


EXPERIMENT = Experiment(
    name="per_example",
    lecture="Fornax, McKay",
    claim="a mini-batch gradient is the mean of its examples' gradients, which tell the examples apart",
    setup=f"An MLP of one hidden layer of {HIDDEN} ReLU and ten softmax outputs. The identities are checked at the "
    f"start, in float32, on mini-batches of {BATCH} and on all mini-batches of {batch_gradients.DRAWN} of "
    f"{batch_gradients.POPULATION} examples. Then {FLIPPED:.0%} of the training labels are exchanged for another one, "
    f"the network is trained on them by plain SGD (rate {RATE:g}, mini-batches of {BATCH}), and every training example "
    "is scored by the norm of its gradient over all parameters. Each seed has its own labels, start and order.",
    source="the decks give no figure for the detection of labels",
    seconds={"digits": 20, "mnist": 15},
    presets={
        "smoke": {"seeds": 5, "epochs": {"digits": 5, "mnist": 1}},
        "default": {"seeds": 5, "epochs": {"digits": 10, "mnist": 2}},
        "full": {"seeds": 20, "epochs": {"digits": 40, "mnist": 10}},
    },
    run=run,
    rows=("X04",),
)
