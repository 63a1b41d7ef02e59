"""Activations at equal budget, each with its own initializer and its own tuned learning rate.

`python -m experiments activations`                     three hidden layers of 64 on the embedded digits
`python -m experiments activations --dataset mnist`     the same on MNIST; a few minutes on two cores
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments import rules
from experiments.claims import Experiment, Result, Run
from jaxdl.activations import FACTS, Facts

WIDTH, HIDDEN, BATCH = 64, 3, 32
RATES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
TUNING_SEEDS = 3


# Each with the initializer it is paired with.
COMPARED = {name: FACTS[name] for name in ("sigmoid", "tanh", "soft_sign", "relu", "leaky_relu", "elu", "selu")}
FAMILY = ("relu", "leaky_relu", "elu", "selu")


class Sweep(NamedTuple):
    """What one activation reached, `(rates, seeds)`; the last axis holds the tuning seeds, then the judged ones."""

    training: np.ndarray
    validation: np.ndarray
    curves: np.ndarray


def run(run: Run) -> None:
    """Trains every activation at every rate, chooses the rate by validation, and compares training losses."""
    sweeps = {name: sweep(run, kind) for name, kind in COMPARED.items()}
    chosen = {name: choose(found.validation[:, :TUNING_SEEDS]) for name, found in sweeps.items()}
    losses = {name: judged(found.training)[chosen[name]] for name, found in sweeps.items()}
    for name, found in sweeps.items():
        for seed, (training, validation) in enumerate(
            zip(judged(found.training).T, judged(found.validation).T, strict=True)
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
    for name in FAMILY:
        judge(run, name, "sigmoid", losses, chosen, share=len(FAMILY))
    judge(run, "relu", "tanh", losses, chosen, share=1)
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


def judge(
    run: Run, name: str, other: str, losses: Mapping[str, np.ndarray], chosen: Mapping[str, int], *, share: int
) -> None:
    """ORD, paired by seed; inconclusive where the best rate is at an end of the grid."""
    result = faster(losses[name], losses[other], confidence=1 - 0.05 / share)
    ends = [each for each in (name, other) if chosen[each] in (0, len(RATES) - 1)]
    if ends:
        detail = f"the best rate of {' and '.join(ends)} is an end of the grid, so it is not tuned"
        result = replace(result, verdict="INCONCLUSIVE", detail=detail)
    jointly = f" (95 % jointly over {share} comparisons)" if share > 1 else ""
    run.find(
        f"{name} reaches a lower training loss than {other} after the same number of updates",
        f"lower 95 % limit of the mean of ln(loss of {other} / loss of {name}) above 0{jointly}",
        result,
    )


def faster(losses: np.ndarray, others: np.ndarray, *, confidence: float = 0.95) -> Result:
    """ORD on the log ratio; a run whose loss is not finite counts as the worst there is."""
    largest = np.finfo(np.float64).max
    worst = lambda values: np.log(np.where(np.isfinite(values), values, largest))  # noqa: E731
    return rules.exceeds(worst(others) - worst(losses), 0.0, confidence=confidence)


def judged(by_member: np.ndarray) -> np.ndarray:
    """What belongs to the seeds that had no part in tuning."""
    return by_member[:, TUNING_SEEDS:]


def choose(validation: np.ndarray) -> int:
    """The rate of the smallest mean validation loss `(rates, seeds)`; one that diverges for any seed is out."""
    mean = validation.mean(1)
    return int(np.argmin(np.where(np.isfinite(mean), mean, np.inf)))


def sweep(run: Run, kind: Facts) -> Sweep:
    """All rates times all seeds of one activation as one program; every rate starts from the same draws."""
    train, validation, epochs = run.splits.train, run.splits.validation, run.settings["epochs"][run.dataset]
    model = jaxdl.models.MLP(
        (WIDTH,) * HIDDEN + (10,),
        activation=kind.function,
        kernel_init=kind.initializer(),
    )
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    tx = optax.inject_hyperparams(optax.sgd)(learning_rate=RATES[0])
    num_seeds = TUNING_SEEDS + run.seeds
    members = {
        jax.random.key_data(jax.random.key(i)).tobytes(): divmod(i, num_seeds) for i in range(len(RATES) * num_seeds)
    }

    def init(key: jax.Array) -> Any:
        rate, seed = members[jax.random.key_data(key).tobytes()]
        state = jaxdl.training.init_state(model, tx, train.x[:1], key=jax.random.key(seed))
        hyperparams = {**state.opt_state.hyperparams, "learning_rate": np.float32(RATES[rate])}
        return replace(state, opt_state=state.opt_state._replace(hyperparams=hyperparams))

    step = jaxdl.training.make_train_step(objective, tx)
    states, history = jaxdl.training.run_many(
        step, init, train, seeds=range(len(members)), epochs=epochs, batch_size=BATCH, validation=validation,
        evaluate_every=epochs, mode="vmap",
    )  # fmt: skip
    losses = [
        jaxdl.training.evaluate(objective, jaxdl.training.member(states, i), train)["loss"] for i in range(len(members))
    ]
    shape = (len(RATES), num_seeds)
    by_epoch = history.train["loss"].reshape(*shape, epochs, -1).mean(-1)
    return Sweep(np.reshape(losses, shape), history.validation["loss"][:, -1].reshape(shape), by_epoch)


def picture(sweeps: Mapping[str, Sweep], chosen: Mapping[str, int], dataset: str) -> Figure:
    """Left: training loss over the epochs; right: validation loss over the rates."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in sweeps.items():
        curve = judged(found.curves)[chosen[name]].mean(0)
        (line,) = left.plot(np.arange(1, len(curve) + 1), curve, label=f"{name}, eta {RATES[chosen[name]]:g}")
        tuning = found.validation[:, :TUNING_SEEDS].mean(1)
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
    seconds={"digits": 25, "mnist": 200},
    presets={
        "smoke": {"seeds": 5, "epochs": {"digits": 20, "mnist": 1}},
        "default": {"seeds": 5, "epochs": {"digits": 40, "mnist": 2}},
        "full": {"seeds": 10, "epochs": {"digits": 40, "mnist": 5}},
    },
    run=run,
)
