"""Classifiers without randomness: the floor under every network, and the check of the data (X05).

`python -m experiments closed_forms`                     the embedded digits
`python -m experiments closed_forms --dataset mnist`     every figure of the table; most of the time is the SVM's
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.building_blocks import kernel_machine, ladder
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.images.closed_form_figures import closed_forms_figure
from jaxdl.data import Examples

NAMES = tuple(ladder.PUBLISHED)
TRAINING, ALL = 50_000, 60_000  # images, without and with those for validation
MACHINE = 94.35
# (what, images it is fitted to) -> percent, or mean squared error; all of them computed.
FITS = {
    "training accuracy": (85.65, 85.77),
    "validation accuracy": (86.58, None),
    "test accuracy": (86.09, 86.03),
}
ERRORS = (0.03831, 0.03800)
DARKNESS_OF_ALL, DARKNESS_OF_LAST = 22.30, 22.17
POINTS, ERROR_TOLERANCE = 0.05, 1e-5


class Fit(NamedTuple):
    """A least-squares fit: accuracies in percent by name, and its mean squared error on what it was fitted to."""

    accuracies: Mapping[str, float]
    error: float


def run(run: Run) -> None:
    """Every classifier once, then on bootstrap samples of the training images."""
    fixed = ladder.closed_forms(run.splits)
    sampled = [bootstrapped(run, seed) for seed in range(run.seeds)]
    for seed, found in enumerate(sampled):
        run.record(quantity="bootstrap", seed=seed, **found)
    judge_orderings(run, sampled)
    if run.dataset == "mnist":
        judge_published(run, fixed)
        judge_fits(run)
        size = run.settings["machine_images"]
        if size:
            scale = kernel_machine.BOOK_SCALE
            accuracy = kernel_machine.accuracies(run.splits.train, run.splits.test, [size], scale=scale)[size]
            judge_machine(run, accuracy)
            fixed = {**fixed, "SVM of 2013": accuracy}
    else:
        run.note("The published figures are for MNIST; on other data only orderings are tested.")
    rows = [[name, f"{value:.2f}"] for name, value in fixed.items()]
    run.table("test accuracy in percent after all training images", ["classifier", "accuracy"], rows)
    caption = (
        "Above: the mean image of each class and the weights of its least-squares output times the pixels' "
        "deviations (blue negative, red positive). Below: the sum of the pixels by class, which average darkness "
        "goes by, and the test accuracies."
    )
    train = ladder.flat(run.splits.train)
    shape = run.splits.train.x.shape[1:3]
    published = {name: ladder.PUBLISHED[name][0] for name in NAMES} | {"SVM of 2013": MACHINE}
    known = published if run.dataset == "mnist" else {}
    figure = closed_forms_figure(train, ladder.linear_fit(train), shape, fixed, known)
    run.figure("closed_forms", figure, caption)


def bootstrapped(run: Run, seed: int) -> dict[str, float]:
    """Test accuracies after a bootstrap sample of training images; the machine's with both of its kernel widths."""
    train, test = ladder.flat(run.splits.train), ladder.flat(run.splits.test)
    rows = np.random.RandomState(seed).randint(0, len(train.x), run.settings["sample"][run.dataset])
    sample = Examples(train.x[rows], train.y[rows])
    few = run.settings["machine_sample"]
    found = ladder.by_closed_form(sample, test)
    for gamma in ("auto", "scale"):
        found[f"SVM, gamma {gamma}"] = kernel_machine.accuracies(sample, test, [few], gamma)[few]
    return found


def judge_orderings(run: Run, sampled: list[dict[str, float]]) -> None:
    """What holds on any data, paired by bootstrap sample."""
    values = {name: np.array([found[name] for found in sampled]) for name in sampled[0]}
    steps = np.diff(np.stack([values[name] for name in NAMES]), axis=0)
    run.find(
        " < ".join(NAMES),
        "test accuracies, in every bootstrap sample of the training images",
        rules.every_seed(np.all(steps > 0, axis=0)),
        remark=f"means of {', '.join(f'{values[name].mean():.2f}' for name in NAMES)} %",
        row="X05",
    )
    run.find(
        "negative control, the rule must fail: average darkness is above the nearest class mean",
        "must fail: test accuracies, in every bootstrap sample",
        rules.every_seed(values["average darkness"] > values["nearest class mean"]),
        control=True,
        row="X05",
    )
    today, then = values["SVM, gamma scale"], values["SVM, gamma auto"]
    run.find(
        "scikit-learn's default since version 0.22 (gamma='scale') is another support vector machine than that of "
        "2013, and a better one",
        "lower 95 % limit of the paired difference of test accuracies above 0, both after the first "
        f"{run.settings['machine_sample']:,} images of each bootstrap sample",
        rules.exceeds(today - then, 0.0, unit=" points"),
        remark=f"{today.mean():.2f} against {then.mean():.2f} %: published figures need gamma='auto'",
        row="X05",
    )


def judge_published(run: Run, fixed: Mapping[str, float]) -> None:
    """The first column of the table."""
    for name, (published, tolerance, source) in ladder.PUBLISHED.items():
        run.find(
            f"{name}: {published:.2f} % of the test images",
            f"within {tolerance:g} points, no randomness",
            rules.exact(fixed[name], published, tolerance, unit=" %"),
            published=f"{published:.2f} % ({source})",
            remark="2,225 of 10,000; all 60,000 images and the last 50,000 give other values"
            if name == "average darkness"
            else "",
            row="X05",
        )


def judge_fits(run: Run) -> None:
    """What the choice of training images changes."""
    train, validation, test = map(ladder.flat, run.splits)
    everything = Examples(*(np.concatenate(pair) for pair in zip(train, validation, strict=True)))
    last = Examples(everything.x[-TRAINING:], everything.y[-TRAINING:])
    for name, images, published in (
        (f"all {ALL:,} images", everything, DARKNESS_OF_ALL),
        (f"the last {TRAINING:,} images", last, DARKNESS_OF_LAST),
    ):
        run.find(
            f"average darkness of {name}: {published:.2f} % of the test images",
            "exactly, no randomness",
            rules.exact(ladder.percent(ladder.by_darkness(images, test.x), test.y), published, 1e-9, unit=" %"),
            published=f"{published:.2f} % (computed)",
            row="X05",
        )
    sets = {"training accuracy": train, "validation accuracy": validation, "test accuracy": test}
    for column, (count, images) in enumerate(((TRAINING, train), (ALL, everything))):
        fit = fitted(images, sets | {"training accuracy": images})
        expected = {name: figures[column] for name, figures in FITS.items()}
        judge_fit(run, count, fit, {name: value for name, value in expected.items() if value}, ERRORS[column])


def judge_fit(run: Run, count: int, fit: Fit, expected: Mapping[str, float], error: float) -> None:
    """A least-squares fit against its figures."""
    farthest = max(abs(fit.accuracies[name] - value) for name, value in expected.items())
    run.find(
        f"least squares on {count:,} images: {', '.join(expected)}",
        f"the farthest within {POINTS:g} points, no randomness",
        rules.exact(farthest, 0.0, POINTS, unit=" points"),
        published=", ".join(f"{value:.2f}" for value in expected.values()) + " % (computed)",
        remark=", ".join(f"{fit.accuracies[name]:.2f}" for name in expected) + " %",
        row="X05",
    )
    run.find(
        f"least squares on {count:,} images: mean squared error over examples and outputs",
        f"within {ERROR_TOLERANCE:g}, no randomness",
        rules.exact(fit.error, error, ERROR_TOLERANCE),
        published=f"{error:.5f} (computed)",
        row="X05",
    )


def fitted(train: Examples, sets: Mapping[str, Examples]) -> Fit:
    """Least squares on `train`, its accuracies on all the sets."""
    weights = ladder.linear_fit(train)
    outputs = {name: ladder.design(examples.x) @ weights for name, examples in sets.items()}
    found = {name: ladder.percent(outputs[name].argmax(1), examples.y) for name, examples in sets.items()}
    return Fit(found, float(np.mean((ladder.design(train.x) @ weights - np.eye(10)[train.y]) ** 2)))


def judge_machine(run: Run, accuracy: float) -> None:
    """The support vector machine after the training images of the split."""
    run.find(
        f"support vector machine with scikit-learn's defaults of 2013: {MACHINE:.2f} % of the test images",
        f"within {POINTS:g} points, no randomness",
        rules.exact(accuracy, MACHINE, POINTS, unit=" %"),
        published=f"{MACHINE:.2f} % (Nielsen 2015, chapter 1)",
        remark="radial kernel, gamma 1/784, C 1; bytes divided by 256, as in the book's data",
        row="X05",
    )


EXPERIMENT = Experiment(
    name="closed_forms",
    lecture="Fornax, Introduction to Deep Learning part 1",
    claim="trivial classifiers fix the floor: one class 11 %, darkness 22 %, mean images 82 %, least squares 86 %",
    setup="Majority class; class of the nearest mean sum of pixels; class of the nearest mean image; minimum-norm "
    "least squares on one-hot rows with intercept; support vector machine with a radial kernel, gamma 1/784, C 1. "
    "MNIST's first 50,000 images (all 60,000, the last 50,000 where it says so), pixels in [0, 1]. Orderings: the same "
    "on bootstrap samples of the training images, one a seed.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 1; the others computed",
    seconds={"digits": 10, "mnist": 190},
    presets={
        "smoke": {"seeds": 5, "sample": {"digits": 1197, "mnist": 10_000}, "machine_sample": 200, "machine_images": 0},
        "default": {
            "seeds": 5,
            "sample": {"digits": 1197, "mnist": 10_000},
            "machine_sample": 1000,
            "machine_images": TRAINING,
        },
        "full": {
            "seeds": 10,
            "sample": {"digits": 1197, "mnist": 50_000},
            "machine_sample": 1000,
            "machine_images": TRAINING,
        },
    },
    run=run,
    rows=("X05",),
)
