"""Activations at equal budget, each with its own initializer and its own tuned learning rate.

`python -m experiments activations`                     three hidden layers of 64 on the embedded digits
`python -m experiments activations --dataset mnist`     the same on MNIST; a few minutes on two cores
"""

from collections.abc import Mapping

import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.hyperparameter_grid import Grid, train_grid
from experiments.building_blocks.tuned_comparison import TUNING_SEEDS, faster, judge_faster, judged
from experiments.harness.claims import Experiment, Run
from jaxdl.activations import FACTS, Facts
from jaxdl.procedures import best_cell

WIDTH, HIDDEN, BATCH = 64, 3, 32
RATES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


# Each with the initializer it is paired with.
COMPARED = {name: FACTS[name] for name in ("sigmoid", "tanh", "soft_sign", "relu", "leaky_relu", "elu", "selu")}
FAMILY = ("relu", "leaky_relu", "elu", "selu")


def run(run: Run) -> None:
    """Trains every activation at every rate, chooses the rate by validation, and compares training losses."""
    sweeps = {name: sweep(run, kind) for name, kind in COMPARED.items()}
    chosen = {name: best_cell(found.validation["loss"][:, :TUNING_SEEDS]) for name, found in sweeps.items()}
    losses = {name: judged(found.training)[chosen[name]] for name, found in sweeps.items()}
    for name, found in sweeps.items():
        for seed, (training, validation) in enumerate(
            zip(judged(found.training).T, judged(found.validation["loss"]).T, strict=True)
        ):
            run.record(
                quantity="loss_by_rate", activation=name, seed=seed, rates=list(RATES), training=training.tolist(),
                validation=validation.tolist(), chosen_rate=RATES[chosen[name]],
            )  # fmt: skip
    caption = (
        "Left: mean training loss of each epoch at the chosen rate (mean over seeds). Right: validation loss against "
        "the learning rate, mean over the tuning seeds; the ring is the rate chosen."
    )
    run.figure("activations", picture(sweeps, chosen, run.dataset), caption)
    untuned_names = [name for name, rate in chosen.items() if rate in (0, len(RATES) - 1)]
    for name in FAMILY:
        judge_faster(run, name, "sigmoid", losses, untuned_names, share=len(FAMILY))
    judge_faster(run, "relu", "tanh", losses, untuned_names)
    untuned = judged(sweeps["relu"].training)[0]
    control = faster(untuned, losses["sigmoid"])
    run.find(
        f"negative control, the rule must fail: relu at the untuned rate {RATES[0]:g} reaches a lower training loss "
        "than the tuned sigmoid",
        "must fail: lower 95 % limit of the mean log ratio of the losses above 0",
        control,
        control=True,
        remark="without tuning the order is another, so the comparison can fail" if control.verdict == "FAIL" else "",
    )
    reached = {name: np.exp(np.log(values).mean()) for name, values in losses.items()}
    listed = (f"{name} (eta {RATES[chosen[name]]:g}) {value:.3g}" for name, value in reached.items())
    run.note(f"Geometric means of the judged training losses: {', '.join(listed)}.")


def sweep(run: Run, kind: Facts) -> Grid:
    """All rates times all seeds of one activation as one program; every rate starts from the same draws."""
    model = jaxdl.models.MLP(
        (WIDTH,) * HIDDEN + (10,),
        activation=kind.function,
        kernel_init=kind.initializer(),
    )
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    return train_grid(
        model, objective, optax.sgd, [{"learning_rate": rate} for rate in RATES],
        seeds=range(TUNING_SEEDS + run.seeds), train=run.splits.train, validation=run.splits.validation,
        epochs=run.settings["epochs"][run.dataset], batch_size=BATCH,
    )  # fmt: skip


def picture(sweeps: Mapping[str, Grid], chosen: Mapping[str, int], dataset: str) -> Figure:
    """Left: training loss over the epochs; right: validation loss over the rates."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in sweeps.items():
        curve = judged(found.curves)[chosen[name]].mean(0)
        (line,) = left.plot(np.arange(1, len(curve) + 1), curve, label=f"{name}, eta {RATES[chosen[name]]:g}")
        tuning = found.validation["loss"][:, :TUNING_SEEDS].mean(1)
        right.plot(RATES, tuning, ".-", color=line.get_color())
        right.plot(RATES[chosen[name]], tuning[chosen[name]], "o", color=line.get_color(), fillstyle="none")
    left.set(xlabel="epoch", ylabel=f"training loss on {dataset}", yscale="log")
    right.set(xlabel="learning rate", ylabel="validation loss", xscale="log", yscale="log")
    left.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


EXPERIMENT = Experiment(
    name="activations",
    lecture="McKay, Misra, ECE521, Fornax",
    claim="the ReLU family trains faster than sigmoids: lower training loss after the same budget",
    setup=f"{HIDDEN} hidden layers of {WIDTH} units, ten softmax outputs, plain SGD in mini-batches of {BATCH}, zero "
    "biases, untruncated Gaussian kernels of the variance that goes with each activation (Glorot for sigmoid, tanh and "
    "softsign; He for ReLU, leaky ReLU and ELU; LeCun for SELU). Of the learning rates "
    f"{', '.join(f'{rate:g}' for rate in RATES)} each activation has the one of the lowest mean validation loss over "
    f"{TUNING_SEEDS} seeds that are not judged. Judged is the loss over the whole training set after the last epoch.",
    source="Krizhevsky, Sutskever and Hinton 2012 (ReLU against tanh, another network); the decks give no figure",
    seconds={"digits": 25, "mnist": 250},
    presets={
        "smoke": {"seeds": 5, "epochs": {"digits": 20, "mnist": 1}},
        "default": {"seeds": 5, "epochs": {"digits": 40, "mnist": 2}},
        "full": {"seeds": 10, "epochs": {"digits": 40, "mnist": 5}},
    },
    run=run,
)
