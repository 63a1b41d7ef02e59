"""Adam's own comparison: logistic regression and a ReLU network, every optimizer at its tuned learning rate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.hyperparameter_grid import train_grid
from experiments.building_blocks.tuned_comparison import faster, judge_faster
from experiments.harness.claims import Run
from jaxdl import optimizers
from jaxdl.procedures import best_cell

BATCH, DROPOUT, FIRST_TUNING_SEED = 128, 0.5, 1000
LABELS = {"logistic": "logistic regression", "network": "network", "dropout": "network with dropout"}

Recipe = Callable[..., optax.GradientTransformation]


class Arm(NamedTuple):
    """An optimizer, and the learning rates it is tuned over."""

    recipe: Recipe
    rates: Sequence[float]


class Trained(NamedTuple):
    """An optimizer at its best rate: training losses `(seeds,)` and curves `(seeds, epochs)` of the judged seeds."""

    rate: float
    tuned: bool
    losses: np.ndarray
    curves: np.ndarray


def _decayed(recipe: Recipe) -> Recipe:
    return lambda learning_rate: recipe(optimizers.schedules.inverse_sqrt_decay(learning_rate))


LOGISTIC = {
    "Adam": Arm(_decayed(optimizers.adam), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "Nesterov": Arm(_decayed(optimizers.nesterov), (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
    "Adagrad": Arm(optimizers.adagrad, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
    # Shown without a claim: what the decay does.
    "Adam, constant rate": Arm(optimizers.adam, (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)),
    "Nesterov, constant rate": Arm(optimizers.nesterov, (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
}
NETWORK = {
    "Adam": Arm(optimizers.adam, (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)),
    "Nesterov": Arm(optimizers.nesterov, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    "Adagrad": Arm(optimizers.adagrad, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)),
    "RMSprop": Arm(optimizers.rmsprop, (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)),
    "Adadelta": Arm(optimizers.adadelta, (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
}


class Network(nn.Module):
    """Two hidden layers of ReLU units."""

    width: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Images `(batch, ...)` to logits `(batch, 10)`."""
        x = x.reshape(x.shape[0], -1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width, kernel_init=jaxdl.initializers.he_normal())(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(10)(x)


def judge_adam(run: Run) -> None:
    """Trains every optimizer on the three problems, and compares training losses."""
    width = run.settings["width"][run.dataset]
    problems = {"logistic": (jaxdl.models.MLP((10,)), LOGISTIC)}
    if run.settings["networks"]:
        problems |= {"network": (Network(width, 0.0), NETWORK), "dropout": (Network(width, DROPOUT), NETWORK)}
    found: dict[str, dict[str, Trained]] = {}
    for problem, (model, arms) in problems.items():
        found[problem] = {name: train(run, problem, model, arm) for name, arm in arms.items()}
        for name, trained in found[problem].items():
            for seed, (loss, curve) in enumerate(zip(trained.losses, trained.curves, strict=True)):
                run.record(
                    quantity="training_loss", problem=problem, optimizer=name, learning_rate=trained.rate, seed=seed,
                    loss=float(loss), loss_by_epoch=curve.tolist(),
                )  # fmt: skip
    for name in ("Adam", "Nesterov"):
        judge(run, "logistic", name, "Adagrad", found)
    others = [name for name in NETWORK if name != "Adam"]
    for problem in found:
        if problem != "logistic":
            for other in others:
                judge(run, problem, "Adam", other, found, share=len(others))
    control = faster(untuned(run), found["logistic"]["Adagrad"].losses)
    run.find(
        f"negative control, the rule must fail: Adam at the untuned rate {LOGISTIC['Adam'].rates[0]:g} reaches a lower "
        "training loss than Adagrad on logistic regression",
        "must fail: lower 95 % limit of the mean log ratio of the losses above 0",
        control,
        control=True,
    )
    run.table(
        "training loss at the end: geometric mean over seeds (learning rate, chosen on other seeds)",
        ["optimizer", *(LABELS[problem] for problem in found)],
        [[name, *(cell(arms.get(name)) for arms in found.values())] for name in (NETWORK | LOGISTIC)],
    )
    run.figure("adam", curves_figure(found), "Training loss by epoch at the tuned rate: mean and range over seeds.")


def judge(
    run: Run, problem: str, name: str, other: str, found: Mapping[str, Mapping[str, Trained]], *, share: int = 1
) -> None:
    """One comparison of one problem."""
    arms = found[problem]
    losses = {each: arms[each].losses for each in (name, other)}
    untuned = [each for each in (name, other) if not arms[each].tuned]
    judge_faster(run, name, other, losses, untuned, share=share, where=f" ({LABELS[problem]})")


def train(run: Run, problem: str, model: Any, arm: Arm) -> Trained:
    """Chooses the rate by the training loss of other seeds, then trains the judged ones at it."""
    # The claim is about the training loss, so that is what a rate is chosen by.
    tuning = grid(
        run, problem, model, arm, arm.rates, range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + run.settings["tuning_seeds"])
    )
    best = best_cell(tuning.training)
    judged = grid(run, problem, model, arm, [arm.rates[best]], range(run.seeds))
    inner = best not in (0, len(arm.rates) - 1)
    return Trained(arm.rates[best], inner, judged.training[0], judged.curves[0])


def untuned(run: Run) -> np.ndarray:
    """Losses of logistic regression by Adam at the smallest rate of its grid."""
    arm = LOGISTIC["Adam"]
    return grid(run, "logistic", jaxdl.models.MLP((10,)), arm, arm.rates[:1], range(run.seeds)).training[0]


def grid(run: Run, problem: str, model: Any, arm: Arm, rates: Sequence[float], seeds: Sequence[int]) -> Any:
    """`train_grid` over learning rates."""
    objective = jaxdl.training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    return train_grid(
        model, objective, arm.recipe, [{"learning_rate": rate} for rate in rates], seeds=seeds, train=run.splits.train,
        validation=run.splits.validation, epochs=run.settings["adam_epochs"][run.dataset][problem != "logistic"],
        batch_size=BATCH, mode="auto" if run.dataset == "mnist" else "vmap",
    )  # fmt: skip


def cell(trained: Trained | None) -> str:
    """Geometric mean and rate, or a dash where there is no such arm."""
    return "-" if trained is None else f"{np.exp(np.log(trained.losses).mean()):.3g} ({trained.rate:g})"


def curves_figure(found: Mapping[str, Mapping[str, Trained]]) -> Figure:
    """One panel a problem."""
    figure = Figure(figsize=(4.5 * len(found), 4), layout="constrained")
    for axes, (problem, arms) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        for name, trained in arms.items():
            epochs = np.arange(1, trained.curves.shape[1] + 1)
            (line,) = axes.plot(epochs, trained.curves.mean(0), label=f"{name}, {trained.rate:g}")
            axes.fill_between(epochs, trained.curves.min(0), trained.curves.max(0), alpha=0.15, color=line.get_color())
        axes.set(xlabel="epoch", ylabel="mean training loss of the epoch", yscale="log", title=LABELS[problem])
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    return figure
