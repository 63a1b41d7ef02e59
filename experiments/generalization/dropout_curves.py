"""What dropout depends on, and what it does to a code (X17; Srivastava et al. 2014, figures 7 to 10; X04).

`python -m experiments dropout_curves`                     on the embedded digits
`python -m experiments dropout_curves --dataset mnist`     networks smaller than the paper's; some minutes on two cores
"""

from collections.abc import Mapping

import numpy as np

from experiments.generalization.dropout_curve_networks import Activity, Curves
from experiments.generalization.dropout_figures import curves_figure
from experiments.generalization.dropout_identity import MASKS, judge_identity
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run

FLAT, LEAST, LARGEST = (0.4, 0.6, 0.8), 0.1, 1.0
SIZES = "three of {width} and {hidden}"
RETAINED = (LEAST, *FLAT, LARGEST)
WITHIN, WORSE, NO_GAIN, FEW, SPARSER = 0.25, 0.8, 1.5, 100, 0.6


def run(run: Run) -> None:
    """Trains the networks of every figure, and samples the masks of the identity."""
    curves = Curves(run)
    identities = judge_identity(run)
    width = curves.of_width(curves.settings["width"], RETAINED)
    product = curves.fixed_product(curves.settings["units"], curves.settings["product_at"])
    by_images = curves.by_images()
    plain, dropped = curves.code(0.0), curves.code(0.5)
    judge_retained(run, width, product)
    judge_images(run, by_images)
    judge_code(run, plain, dropped)
    for seed in range(run.seeds):
        run.record(quantity="identity", seed=seed, **identities[seed]._asdict())
        run.record(
            quantity="curves", seed=seed, mean_activation=[float(each.mean[seed]) for each in (plain, dropped)],
            fixed_width={f"{p:g}": float(errors[seed]) for p, errors in width.items()},
            fixed_product={f"{p:g}": float(errors[seed]) for p, errors in product.items()},
            by_images={f"{count}": errors[:, seed].tolist() for count, errors in by_images.items()},
        )  # fmt: skip
    rows = [[f"{p:g}", f"{errors.mean():.2f}", f"{product[p].mean():.2f}" if p in product else "-"]
            for p, errors in width.items()]  # fmt: skip
    run.table("mean test error (%) by the probability to retain", ["p", "width fixed", "p times width fixed"], rows)
    rows = [[f"{count:,}", f"{errors[0].mean():.2f}", f"{errors[1].mean():.2f}"] for count, errors in by_images.items()]
    run.table("mean test error (%) by the number of images", ["images", "no dropout", "dropout"], rows)
    run.note("Figure 11, Monte-Carlo passes against the scaling of weights, is answered by `ensembles` (X41).")
    if run.dataset == "mnist":
        run.note(
            f"The paper has layers of 2,048 units in figure 9 and 784-1024-1024-2048-10 in figure 10; here they are "
            f"{SIZES.format(**curves.settings)}, trained for {curves.settings['updates']:,} updates."
        )
    caption = (
        "Left: test error over the probability to retain a unit (mean and range over seeds). Middle: without and with "
        "dropout over the number of images. Right: activations of an auto-encoder's code on the test images."
    )
    figure = curves_figure(width, product, by_images, plain.first, dropped.first, run.dataset)
    run.figure("dropout_curves", figure, caption)


def judge_retained(run: Run, width: Mapping[float, np.ndarray], product: Mapping[float, np.ndarray]) -> None:
    """X17, figure 9: flat in the middle, worse at both ends; the left end less so for a fixed product."""
    mnist = run.dataset == "mnist"
    middle = np.stack([width[p] for p in FLAT])
    if mnist:
        spans = np.ptp(middle, axis=0)
        run.find(
            f"the test error is flat for a retain probability of {FLAT[0]:g} to {FLAT[-1]:g}",
            f"in every seed: largest less smallest of the errors at {FLAT} at most {WITHIN:g} points",
            rules.every_seed(spans <= WITHIN),
            published="flat for 0.4 <= p <= 0.8 (secondary)",
            remark=f"spans {', '.join(f'{span:.2f}' for span in spans)}; that of the means over seeds "
            f"{np.ptp(middle.mean(1)):.2f}",
            row="X17",
        )
    run.find(
        f"retaining a tenth of the units of a given width is worse by {WORSE:g} points or more",
        f"in every seed: error at {LEAST:g} less the largest at {FLAT} at least {WORSE:g} points",
        rules.every_seed(width[LEAST] - middle.max(0) >= WORSE),
        published="2.7 % at p = 0.1 (secondary)" if mnist else "",
        remark=f"{width[LEAST].mean():.2f} % at {LEAST:g}, {middle.mean():.2f} % in the middle",
        row="X17",
    )
    run.find(
        "with p times the width held fixed a small retain probability costs less than with the width held fixed",
        f"lower 95 % limit of the mean paired difference of the errors at {LEAST:g} above 0 points",
        rules.exceeds(width[LEAST] - product[LEAST], 0.0, unit=" points"),
        published="1.7 against 2.7 % (secondary)" if mnist else "",
        remark=f"{product[LEAST].mean():.2f} against {width[LEAST].mean():.2f} %",
        row="X17",
    )
    run.find(
        "the test error rises towards a retain probability of 1",
        "lower 95 % limit of the mean of the error at 1 less the mean of the middle above 0 points",
        rules.exceeds(width[LARGEST] - middle.mean(0), 0.0, unit=" points"),
        row="X17",
    )


def judge_images(run: Run, by_images: Mapping[int, np.ndarray]) -> None:
    """X17, figure 10: nothing gained on 100 images."""
    gains = {count: errors[0] - errors[1] for count, errors in by_images.items()}
    run.find(
        f"on {FEW} training images dropout neither helps nor harms by {NO_GAIN:g} points",
        f"90 % interval of the mean paired difference inside +-{NO_GAIN:g} points (two one-sided tests)",
        rules.equivalent(gains[FEW], NO_GAIN, unit=" points"),
        published="no gain at 100 and 500 images (secondary)" if run.dataset == "mnist" else "",
        remark=", ".join(f"{count:,} images: {gain.mean():+.2f}" for count, gain in gains.items()),
        row="X17",
    )
    most = max(gains)
    if most > FEW:
        run.find(
            f"on {most:,} training images dropout lowers the test error",
            "lower 95 % limit of the mean paired difference above 0 points",
            rules.exceeds(gains[most], 0.0, unit=" points"),
        )


def judge_code(run: Run, plain: Activity, dropped: Activity) -> None:
    """X17, figures 7 and 8: a sparser code."""
    run.find(
        "dropout makes the code of an auto-encoder of 256 ReLU units sparser",
        f"mean over seeds of the ratio of mean activations at most {SPARSER:g}, its upper 95 % limit, too",
        rules.at_most(dropped.mean / plain.mean, SPARSER),
        published="mean activation from about 2.0 to about 0.7 (secondary)" if run.dataset == "mnist" else "",
        remark=f"mean activation {plain.mean.mean():.2f} and {dropped.mean.mean():.2f}, active units "
        f"{plain.active.mean():.0%} and {dropped.active.mean():.0%}",
        row="X17",
    )


EXPERIMENT = Experiment(
    name="dropout_curves",
    lecture="Fornax, Introduction to Deep Learning part 2; ECE521, lecture 10; Allauzen",
    claim="half the units dropped is near the best, few images gain nothing, codes become sparser",
    setup="Networks as in `dropout` with the norm of each unit's weights bounded by 3, 1,500 updates of batches of "
    "100. Three hidden layers of 256, no input dropout, retaining 0.1, 0.4, 0.6, 0.8 and 1 of "
    "the units, and with 51 units retained in the mean; 5,000 images. Two hidden layers of 256 on 100, 500, 1,000 and "
    "5,000 images, dropping half of the hidden units and a fifth of the inputs, or none. Auto-encoders 784-256-784, "
    "ReLU and sigmoid outputs with cross-entropy, momentum 0.9, rate 0.01, the code dropped at 0.5 or not. The "
    f"identity: 20 x 8 standard normal inputs, {MASKS:,} masks that retain 0.6. Digits: smaller ones.",
    source="Srivastava et al. 2014, sections 7 and 9 (secondary)",
    seconds={"digits": 60, "mnist": 380},
    presets={
        "smoke": {
            "seeds": 5, "images": {"digits": 500, "mnist": 1000}, "batch": {"digits": 50, "mnist": 100},
            "updates": {"digits": 300, "mnist": 50}, "width": {"digits": 32, "mnist": 32},
            "units": {"digits": 13, "mnist": 13}, "product_at": {"digits": (0.1,), "mnist": (0.1,)},
            "hidden": {"digits": (32, 32), "mnist": (32, 32)}, "counts": {"digits": (100,), "mnist": (100,)},
            "code_epochs": {"digits": 10, "mnist": 2},
        },
        "default": {
            "seeds": 5, "images": {"digits": 1197, "mnist": 5000}, "batch": {"digits": 50, "mnist": 100},
            "updates": {"digits": 1500, "mnist": 1500}, "width": {"digits": 128, "mnist": 256},
            "units": {"digits": 26, "mnist": 51}, "product_at": {"digits": RETAINED, "mnist": RETAINED},
            "hidden": {"digits": (128, 128), "mnist": (256, 256)},
            "counts": {"digits": (100, 300, 1000), "mnist": (100, 500, 1000, 5000)},
            "code_epochs": {"digits": 60, "mnist": 20},
        },
        "full": {
            "seeds": 5, "images": {"digits": 1197, "mnist": 50_000}, "batch": {"digits": 50, "mnist": 100},
            "updates": {"digits": 4000, "mnist": 20_000}, "width": {"digits": 256, "mnist": 2048},
            "units": {"digits": 51, "mnist": 256}, "product_at": {"digits": RETAINED, "mnist": RETAINED},
            "hidden": {"digits": (256, 256), "mnist": (1024, 1024, 2048)},
            "counts": {"digits": (100, 300, 1000), "mnist": (100, 500, 1000, 5000, 10_000, 50_000)},
            "code_epochs": {"digits": 200, "mnist": 50},
        },
    },
    run=run,
    rows=("X17", "X04"),
)  # fmt: skip
