"""Thirty thin layers of any activation train after LSUV.

`python -m experiments lsuv_training`                      on the embedded digits
`python -m experiments lsuv_training --dataset mnist`      on a part of MNIST
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.building_blocks.full_length import undecided
from experiments.gradients import lsuv_networks as networks
from experiments.gradients.lsuv_networks import ACTIVATIONS, LSUV, SMALL, STARTS, Trained
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run

LEARNED, TOLERANCE, DEPTH = 0.2, 0.02, 30
MUST_LEARN = ("tanh", "ReLU", "leaky ReLU")


def run(run: Run) -> None:
    """Trains every pair of an activation and a start, and judges variances and losses."""
    settings = run.settings
    data = networks.standardized(run.splits, settings["examples"][run.dataset])
    found = {}
    for activation in settings["activations"]:
        found[activation] = networks.train(
            activation, data, depth=settings["depth"], width=settings["width"][run.dataset], seeds=run.seeds,
            epochs=settings["epochs"][run.dataset], rates=settings["rates"], batch=settings["batch"],
            tolerance=TOLERANCE,
        )  # fmt: skip
        losses = ", ".join(f"{start} {np.median(each.loss):.3g}" for start, each in found[activation].items())
        print(f"  {activation}: training loss {losses}")
        for start, each in found[activation].items():
            for seed in range(run.seeds):
                run.record(
                    activation=activation, start=start, seed=seed, learning_rate=each.rate,
                    train_loss=float(each.loss[seed]), test_percent=float(each.accuracy[seed]),
                    largest_deviation=float(each.deviation[seed]),
                )  # fmt: skip
    judge(run, found)
    tell(run, found)


def judge(run: Run, found: Mapping[str, Mapping[str, Trained]]) -> None:
    """The declared rules."""
    depth = run.settings["depth"]
    rule = (
        f"largest |variance - 1| of the pre-activations of any layer at most {TOLERANCE:g}, every activation and seed"
    )
    for start, control in ((LSUV, False), ("orthogonal", True)):
        off = np.max([by_start[start].deviation for by_start in found.values()], axis=0)
        run.find(
            f"{start} gives every layer of {depth} variance 1 on its batch, whatever the activation"
            + (": negative control, the rule must fail" if control else ""),
            ("must fail: " if control else "") + rule,
            rules.every_seed(off <= TOLERANCE),
            control=control,
            remark=f"largest deviation {off.max():.3g}",
            row="X26",
        )
    rule = f"training loss at the end at most {LEARNED:g}, in every seed"
    must_learn = [activation for activation in MUST_LEARN if activation in found]
    for activation in must_learn:
        run.find(
            f"{depth} thin layers of {activation} train after LSUV",
            rule,
            full_length(run, rules.every_seed(found[activation][LSUV].loss <= LEARNED)),
            remark=_others(found[activation]),
            row="X26",
        )
    run.find(
        f"{depth} thin layers of sigmoids do not train after LSUV either",
        f"training loss at the end above {LEARNED:g}, in every seed",
        full_length(run, rules.every_seed(found["sigmoid"][LSUV].loss > LEARNED)),
        remark=_others(found["sigmoid"]),
        row="X26",
    )
    small = np.max([found[activation][SMALL].loss for activation in must_learn], axis=0)
    run.find(
        f"negative control, the rule must fail: {', '.join(must_learn)} train from {SMALL}",
        f"must fail: {rule}, all of them",
        rules.every_seed(small <= LEARNED),
        control=True,
        remark=f"largest losses {small.min():.3g} to {small.max():.3g}",
        row="X26",
    )


def full_length(run: Run, result: Result) -> Result:
    """The result, without a verdict in runs that are shorter or less deep than what the bounds are meant for."""
    if run.settings["depth"] >= DEPTH:
        return result
    detail = f"meant for {DEPTH} layers; this run has {run.settings['depth']}: use --preset default"
    return undecided(result, detail)


def _others(by_start: Mapping[str, Trained]) -> str:
    return "; ".join(f"{start} {each.loss.min():.2g} to {each.loss.max():.2g}" for start, each in by_start.items())


def tell(run: Run, found: Mapping[str, Mapping[str, Trained]]) -> None:
    """The table and the picture."""
    for what, unit in (("loss", "training loss at the end"), ("accuracy", "test accuracy in percent")):
        run.table(
            f"{unit}: median and range over {run.seeds} seeds",
            ["activation", *STARTS],
            [[name, *(_cell(getattr(each, what)) for each in by_start.values())] for name, by_start in found.items()],
        )
    run.note(
        "Rates chosen: "
        + "; ".join(
            f"{name}: " + ", ".join(f"{start} {each.rate:g}" for start, each in by_start.items())
            for name, by_start in found.items()
        )
        + ". The published rate, 0.002, is the largest of them: on the digits thirty layers of ReLU stay at chance "
        "with it from LSUV's, the orthogonal and the small start, and mostly from He's, so the others were added "
        "before any run on MNIST."
    )
    run.figure(
        "lsuv_training",
        picture(found),
        "Training loss over the epochs by activation and start, one line a seed; grey: chance, dotted: the bound. "
        "Lines end where losses are not finite.",
    )


def _cell(values: np.ndarray) -> str:
    return f"{np.median(values):.3g} ({values.min():.3g} to {values.max():.3g})"


def picture(found: Mapping[str, Mapping[str, Trained]]) -> Figure:
    """One panel an activation."""
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True)
    for axis, (activation, by_start) in zip(axes, found.items(), strict=True):
        for i, (start, each) in enumerate(by_start.items()):
            epochs = np.arange(1, each.curves.shape[1] + 1)
            for number, row in enumerate(each.curves):
                shown = np.where(row < 10, row, np.nan)
                axis.plot(epochs, shown, color=f"C{i}", linewidth=1, label=start if number == 0 else None)
        axis.axhline(np.log(10), color="tab:gray", linewidth=0.8)
        axis.axhline(LEARNED, color="tab:gray", linestyle=":")
        axis.set(xlabel="epoch", yscale="log", title=activation)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("training loss")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STARTS))
    return figure


_DEFAULT = {
    "seeds": 5, "activations": tuple(ACTIVATIONS), "depth": DEPTH, "width": {"digits": 64, "mnist": 64}, "batch": 1024,
    "rates": (2e-3, 5e-4, 1e-4),
    "examples": {"digits": None, "mnist": 5000}, "epochs": {"digits": 80, "mnist": 20},
}  # fmt: skip

EXPERIMENT = Experiment(
    name="lsuv_training",
    lecture="McKay 2017",
    claim="LSUV lets thin deep networks of any activation train",
    setup="30 hidden layers of 64 units (full: 128) of tanh, ReLU, leaky ReLU (0.01), maxout (two pieces) or sigmoids, "
    "ten logits, biases 0; images scaled to mean 0 and variance 1. Starts: LSUV on 1,024 images to within 0.02, "
    "orthogonal, He N(0, 2/fan_in), N(0, 0.01^2). The published run's recipe for all, RMSprop with decay 0.99, "
    "weight decay 5e-4 in the gradient, batches of 64, the rate a tenth from two thirds on; but the rate of every "
    "activation and start is the best of 0.002 (published), 0.0005 and 0.0001 by the validation loss of another "
    "seed. MNIST: 20 epochs of the first 5,000 images (full: 30 of all); digits: 80 epochs. The loss at the end is "
    "that of all images trained on.",
    source="Mishkin and Matas 2016, released run on MNIST (convolutional, 50,000 updates); thresholds proposed",
    seconds={"digits": 110, "mnist": 700},
    presets={
        "smoke": {
            **_DEFAULT, "activations": ("tanh", "sigmoid"), "depth": 3, "batch": 256, "rates": (2e-3,),
            "width": {"digits": 24, "mnist": 24}, "examples": {"digits": None, "mnist": 1000},
            "epochs": {"digits": 2, "mnist": 2},
        },
        "default": _DEFAULT,
        "full": {
            **_DEFAULT, "seeds": 10, "width": {"digits": 128, "mnist": 128},
            "examples": {"digits": None, "mnist": None}, "epochs": {"digits": 80, "mnist": 30},
        },
    },
    run=run,
    rows=("X26",),
)  # fmt: skip
