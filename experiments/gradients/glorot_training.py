"""Glorot and Bengio's normalized start (X15): what it does to the signals, and to training.

`python -m experiments glorot_training`                     on the embedded digits
`python -m experiments glorot_training --dataset mnist`     a reduced version of the paper's column for MNIST
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.building_blocks.full_length import undecided
from experiments.gradients import glorot_figures as figures
from experiments.gradients import glorot_networks as networks
from experiments.gradients.glorot_networks import DEPTH, LOOKED_AT, NORMALIZED, STANDARD, Trained
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from jaxdl import diagnostics
from jaxdl.data import Examples

RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
PUBLISHED = {"softsign": 1.64, "softsign N": 1.72, "tanh": 1.76, "tanh N": 1.64, "sigmoid": 2.21}  # MNIST, percent
JACOBIANS = {STANDARD: (0.45, 0.52), NORMALIZED: (0.70, 0.85)}
JACOBIANS_PUBLISHED = {STANDARD: "about 0.5; 0.490 for linear units", NORMALIZED: "about 0.8; 0.849 for linear units"}
FALL, KEPT, FACTOR, MARGIN, SATURATED = 0.1, (0.3, 2.0), 2.0, 0.2, 0.5
TANH = {STANDARD: "tanh", NORMALIZED: "tanh N"}


class AtStart(NamedTuple):
    """Five tanh layers before training, one row a seed.

    Attributes:
      jacobian: `(seeds,)`, mean singular value of the Jacobians between neighbouring hidden layers.
      errors: `(seeds, DEPTH)`, variance of the error signals.
      weights: `(seeds, DEPTH)`, mean square of an entry of the kernels' gradients for one image.
    """

    jacobian: np.ndarray
    errors: np.ndarray
    weights: np.ndarray


def run(run: Run) -> None:
    """The start alone, then training."""
    start = {name: at_start(run, TANH[name]) for name in TANH}
    judge_start(run, start)
    arms = {name: networks.train(run, name, RATES) for name in run.settings["arms"]}
    judge_training(run, arms)
    judge_saturation(run, arms["sigmoid"])
    for name, arm in arms.items():
        for seed in range(run.seeds):
            run.record(
                quantity="training", arm=name, rate=arm.rate, seed=seed, test_error=float(arm.test[seed]),
                validation_error=arm.validation[seed].tolist(),
                slopes_at_the_end=arm.watched["slope"][seed, -1].tolist(),
            )  # fmt: skip
    run.table(
        "test error in percent, five hidden layers; the paper's are of 1,000 units and full training",
        ["activation and start", "rate", "ours", "published for MNIST"],
        [[name, f"{arm.rate:g}", f"{arm.test.mean():.2f}", f"{PUBLISHED[name]:.2f}"] for name, arm in arms.items()],
    )
    few = Examples(*(array[:LOOKED_AT] for array in run.splits.train))
    seen = {
        (name, when): networks.signals(name, params, few)
        for name in TANH.values()
        for when, params in (("at the start", arms[name].first), ("after training", arms[name].last))
    }
    caption = (
        "Activations (above) and error signals (below) of every hidden tanh layer, first seed: the standard start, on "
        "the left, loses the error signals towards the input, the normalized one keeps them."
    )
    run.figure("glorot_histograms", figures.histograms(seen), caption)
    caption = (
        "Left: validation error. Middle and right: mean activation and mean slope of the five sigmoid layers, the "
        "slope relative to the largest; mean and range over the seeds."
    )
    run.figure("glorot_training", figures.course(arms, arms["sigmoid"], run.dataset), caption)
    run.note(
        f"Reduced: hidden layers of {run.settings['width'][run.dataset]} units, "
        f"{run.settings['images'][run.dataset]:,} training images, "
        f"{run.settings['epochs'][run.dataset]} epochs. The paper's significance markers are not "
        "reproduced, and its networks of four sigmoid layers, which desaturate after a hundred epochs, are not trained."
    )


def at_start(run: Run, name: str) -> AtStart:
    """Measures every draw."""
    width = run.settings["start_width"][run.dataset]
    objective, model = networks.objective_of(name, width), networks.network(name, width)
    few = Examples(*(array[:LOOKED_AT] for array in run.splits.train))
    draw = jax.jit(lambda key: model.init(key, few.x[:1])["params"])

    @jax.jit
    def look(params: networks.Any) -> tuple[jax.Array, jax.Array]:
        found = networks.signals(name, params, few)
        return networks.error_variances(found), networks.weight_gradient_variances(found, few.x)

    rows = []
    for seed in range(run.seeds):
        params = draw(jax.random.key(seed))
        spectrum = diagnostics.jacobian_spectrum(objective, params, few, max_examples=1, exact_up_to=width)
        between = spectrum.mean[1:DEPTH]  # without input to first layer, last to outputs, and the whole
        rows.append((float(between.mean()), *map(np.asarray, look(params))))
        run.record(
            quantity="start", network=name, seed=seed, mean_singular_value=rows[-1][0],
            error_variance=rows[-1][1].tolist(), weight_gradient_variance=rows[-1][2].tolist(),
        )  # fmt: skip
    return AtStart(*(np.array(column) for column in zip(*rows, strict=True)))


def judge_start(run: Run, start: Mapping[str, AtStart]) -> None:
    """X15, diagnostics at the start."""
    for name, (low, high) in JACOBIANS.items():
        run.find(
            f"five tanh layers, {name} start: the mean singular value of a layer's Jacobian",
            f"mean over draws in [{low:g}, {high:g}]",
            rules.mean_within(start[name].jacobian, low, high),
            published=JACOBIANS_PUBLISHED[name],
            row="X15",
        )
    low, high = JACOBIANS[NORMALIZED]
    run.find(
        "negative control, the rule must fail: the same of the standard start in the normalized one's interval",
        f"must fail: mean over draws in [{low:g}, {high:g}]",
        rules.mean_within(start[STANDARD].jacobian, low, high),
        control=True,
    )
    ratios = {name: found.errors[:, 0] / found.errors[:, -1] for name, found in start.items()}
    run.find(
        "standard start: the variance of the back-propagated gradient falls by more than ten from top to bottom",
        f"ratio of the first hidden layer's to the fifth's below {FALL:g}, in every draw",
        rules.every_seed(ratios[STANDARD] < FALL),
        published="(1/3)^4 = 0.012 for linear units",
        remark=f"mean {ratios[STANDARD].mean():.3g}",
        row="X15",
    )
    run.find(
        "normalized start: the variance of the back-propagated gradient is kept",
        f"mean ratio of the first hidden layer's to the fifth's in [{KEPT[0]:g}, {KEPT[1]:g}]",
        rules.mean_within(ratios[NORMALIZED], *KEPT),
        published="1 for linear units",
        row="X15",
    )
    for name, found in start.items():
        spread = found.weights.max(1) / found.weights.min(1)
        run.find(
            f"{name} start: the gradients of the weights have the same variance in every layer",
            f"largest over smallest of the {DEPTH} hidden layers at most {FACTOR:g}, in every draw",
            rules.every_seed(spread <= FACTOR),
            published="constant (the paper's equation 14 and figure)",
            remark=f"mean {spread.mean():.3g}",
            row="X15",
        )
    spread = start[STANDARD].errors.max(1) / start[STANDARD].errors.min(1)
    run.find(
        "negative control, the rule must fail: the back-propagated gradients under the standard start",
        f"must fail: largest over smallest of the {DEPTH} hidden layers at most {FACTOR:g}, in every draw",
        rules.every_seed(spread <= FACTOR),
        control=True,
        remark="what they lose on the way back the activations have lost on the way up",
    )


def judge_training(run: Run, arms: Mapping[str, Trained]) -> None:
    """X15, the reduced column of MNIST."""
    worse = arms["sigmoid"].test - arms["tanh N"].test
    run.find(
        "five sigmoid layers are worse than five tanh layers from the normalized start",
        "lower 95 % limit of the paired difference of test errors above 0 points",
        where_tuned(rules.exceeds(worse, 0.0, unit=" points"), arms, "sigmoid", "tanh N"),
        published=f"{PUBLISHED['sigmoid']} against {PUBLISHED['tanh N']} %, full training",
        row="X15",
    )
    gain = arms["tanh"].test - arms["tanh N"].test
    better, alike = rules.exceeds(gain, 0.0, unit=" points"), rules.equivalent(gain, MARGIN, unit=" points")
    run.find(
        "tanh: the normalized start has a lower test error than the standard one, or the same",
        f"lower 95 % limit of the paired difference above 0, or its 90 % interval within +-{MARGIN:g} points",
        where_tuned(better if better.verdict == "PASS" else alike, arms, "tanh", "tanh N"),
        published=f"{PUBLISHED['tanh N']} against {PUBLISHED['tanh']} %, full training",
        remark="lower" if better.verdict == "PASS" else "not told apart" if alike.verdict == "PASS" else "",
        row="X15",
    )
    run.find(
        "negative control, the rule must fail: tanh from the normalized start is worse than sigmoid",
        "must fail: lower 95 % limit of the paired difference of test errors above 0 points",
        rules.exceeds(-worse, 0.0, unit=" points"),
        control=True,
    )


def where_tuned(result: Result, arms: Mapping[str, Trained], *names: str) -> Result:
    """Inconclusive where the best rate of an arm is an end of the grid."""
    ends = [name for name in names if not arms[name].tuned]
    if not ends:
        return result
    detail = f"the best rate of {' and '.join(ends)} is an end of the grid, so it is not tuned"
    return undecided(result, detail)


def judge_saturation(run: Run, sigmoid: Trained) -> None:
    """X15: the top hidden layer of five sigmoid layers saturates, and stays so."""
    slope = sigmoid.watched["slope"]
    rule = f"its mean slope the smallest of the {DEPTH} layers' and below {SATURATED:g} of the largest, in every seed"
    for when, place, control in (("at the end of training", -1, False), ("before training", 0, True)):
        top, others = slope[:, place, -1], slope[:, place, :-1]
        run.find(
            ("negative control, the rule must fail: " if control else "")
            + f"the top hidden layer of five sigmoid layers is saturated {when}",
            ("must fail: " if control else "") + rule,
            rules.every_seed((top < others.min(1)) & (top < SATURATED)),
            published="" if control else "a figure: it never leaves saturation (on another data set)",
            remark=f"mean slope {top.mean():.2f}, of the others at least {others.min(1).mean():.2f}; mean activation "
            f"{sigmoid.watched['mean'][:, place, -1].mean():.2f}; lowest mean slope on the way "
            f"{slope[:, :, -1].min(1).mean():.2f}",
            control=control,
            row="" if control else "X15",
        )


_SMALL = {
    "seeds": 5, "arms": ("tanh", "tanh N", "sigmoid"), "width": {"digits": 48, "mnist": 48},
    "start_width": {"digits": 64, "mnist": 784}, "images": {"digits": 400, "mnist": 1000},
    "epochs": {"digits": 4, "mnist": 2}, "looks": 8, "tuning_seeds": 1, "tuning_epochs": {"digits": 2, "mnist": 1},
}  # fmt: skip
_DEFAULT = {
    "seeds": 5, "arms": ("tanh", "tanh N", "sigmoid"), "width": {"digits": 64, "mnist": 200},
    "start_width": {"digits": 64, "mnist": 784}, "images": {"digits": 1197, "mnist": 12_000},
    "epochs": {"digits": 20, "mnist": 10}, "looks": 40, "tuning_seeds": 2, "tuning_epochs": {"digits": 8, "mnist": 2},
}  # fmt: skip
_FULL = {
    **_DEFAULT, "arms": tuple(networks.ARMS), "width": {"digits": 64, "mnist": 1000},
    "start_width": {"digits": 64, "mnist": 1000}, "images": {"digits": 1197, "mnist": 50_000},
    "epochs": {"digits": 60, "mnist": 20}, "tuning_epochs": {"digits": 20, "mnist": 4},
}  # fmt: skip

EXPERIMENT = Experiment(
    name="glorot_training",
    lecture="Misra L3; ECE521 L10; Fornax 2017",
    claim="the standard start changes the scale of signals with depth, the normalized one keeps it; five sigmoid "
    "layers, whose top one saturates, come out worse than tanh",
    setup="Five hidden layers, softmax output with cross-entropy, biases 0, descent in batches of 10; standard start "
    "U(+-1/sqrt(fan_in)), normalized start U(+-sqrt(6/(fan_in + fan_out))), pixels in [0, 1]. At the start: as many "
    "units a layer as there are pixels (in full 1,000), 300 training images, of which the Jacobians take one. Training "
    "by default: 200 units, the first 12,000 images of MNIST, 10 epochs (in full 1,000 units, 50,000 images, 20 "
    f"epochs, softsign, too; digits 64 units); of the rates {', '.join(f'{rate:g}' for rate in RATES)} each arm has "
    "the one of the lowest validation loss, best epoch, over 2 seeds that are not judged; test images at the epoch of "
    "the best validation loss.",
    source="Glorot and Bengio 2010, table 1 (MNIST), figures 2, 6 and 7",
    seconds={"digits": 45, "mnist": 160},
    presets={"smoke": _SMALL, "default": _DEFAULT, "full": _FULL},
    run=run,
    rows=("X15",),
)
