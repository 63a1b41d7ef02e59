"""Zeiler's table: how much the test error depends on the learning rate, and on Adadelta's own two constants."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.hyperparameter_grid import Cell, train_grid
from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl import optimizers
from jaxdl.procedures import best_cell

RATES = (1.0, 0.1, 0.01, 0.001, 0.0001)
RHOS, EPSILONS = (0.9, 0.95, 0.99), (1e-2, 1e-4, 1e-6, 1e-8)
BATCH = 100


class Errors(NamedTuple):
    """Errors in percent `(cells, seeds)`."""

    cells: Sequence[Cell]
    validation: np.ndarray
    test: np.ndarray

    @property
    def span(self) -> np.ndarray:
        """Worst over best test error of the grid, by seed."""
        return self.test.max(0) / self.test.min(0)

    @property
    def chosen(self) -> int:
        """The cell of the smallest mean validation error."""
        return best_cell(self.validation)


METHODS: Mapping[str, tuple[Any, Sequence[Cell]]] = {
    "SGD": (optimizers.gradient_descent, [{"learning_rate": rate} for rate in RATES]),
    "momentum": (optimizers.momentum, [{"learning_rate": rate} for rate in RATES]),
    "Adagrad": (optimizers.adagrad, [{"learning_rate": rate} for rate in RATES]),
    "Adadelta": (
        lambda rho, eps: optimizers.adadelta(rho=rho, eps=eps),
        [{"rho": rho, "eps": eps} for eps in EPSILONS for rho in RHOS],
    ),
}


def judge_sensitivity(run: Run) -> None:
    """Trains every method over its whole grid, and compares how far the errors lie apart."""
    found = {name: errors(run, recipe, cells) for name, (recipe, cells) in METHODS.items()}
    for name, each in found.items():
        for i, cell in enumerate(each.cells):
            for seed in range(run.seeds):
                run.record(
                    quantity="error_by_constants", optimizer=name, **cell, seed=seed,
                    validation_percent=float(each.validation[i, seed]), test_percent=float(each.test[i, seed]),
                )  # fmt: skip
    narrower = np.log(found["SGD"].span / found["Adadelta"].span)
    run.find(
        "the test error depends less on Adadelta's constants than on the learning rate of SGD",
        "lower 95 % limit of the mean of ln(span of SGD / span of Adadelta) above 0; span: worst error / best error",
        rules.exceeds(narrower, 0.0),
    )
    run.find(
        "negative control, the rule must fail: the span of SGD is at most 1.6",
        "must fail: the span at most 1.6 in every seed",
        rules.every_seed(found["SGD"].span <= 1.6),
        control=True,
        remark=spans(found["SGD"]),
    )
    if run.dataset == "mnist" and run.settings["sensitivity_epochs"]["mnist"] == 6:
        judge_figures(run, found)
    for caption, header, rows in tables(found):
        run.table(caption, header, rows)
    run.figure(
        "sensitivity",
        sensitivity_figure(found, run.dataset),
        "Test error by learning rate and by Adadelta's constants.",
    )


def judge_figures(run: Run, found: Mapping[str, Errors]) -> None:
    """The rules that hold for the published set-up only."""
    run.find(
        "the span of Adadelta's errors over rho and epsilon is at most 1.6",
        "in every seed",
        rules.every_seed(found["Adadelta"].span <= 1.6),
        remark=spans(found["Adadelta"]),
    )
    run.find(
        "the span of SGD's errors over five powers of ten of the rate is at least 10",
        "in every seed",
        rules.every_seed(found["SGD"].span >= 10),
        remark=spans(found["SGD"]),
        published="2.26 % to 58.10 % (secondary)",
    )
    for name, each in found.items():
        run.find(
            f"the best of the grid of {name} has a test error from 1.7 to 2.6 %",
            "mean over seeds in [1.7, 2.6]; the best is chosen by the validation error",
            rules.mean_within(each.test[each.chosen], 1.7, 2.6, unit=" %"),
            published="2.00 % with rho 0.95 and epsilon 1e-6 (secondary)" if name == "Adadelta" else "",
            remark=f"at {describe(each.cells[each.chosen])}",
        )


def errors(run: Run, recipe: Any, cells: Sequence[Cell]) -> Errors:
    """Every cell and seed, trained and evaluated."""
    train, validation, test = run.splits
    model = jaxdl.models.MLP(
        (*run.settings["sensitivity_hidden"][run.dataset], 10),
        activation=jaxdl.activations.tanh,
        kernel_init=jaxdl.initializers.glorot_normal(),
    )
    objective = jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    grid = train_grid(
        model, objective, recipe, cells, seeds=range(run.seeds), train=train, validation=validation,
        epochs=run.settings["sensitivity_epochs"][run.dataset], batch_size=BATCH if run.dataset == "mnist" else 20,
        mode="auto" if run.dataset == "mnist" else "vmap", training_loss=False,
    )  # fmt: skip
    test = jax.device_put(test)
    accuracy = [
        [grid.evaluate(objective, test, cell, seed)["accuracy"] for seed in range(run.seeds)]
        for cell in range(len(cells))
    ]
    return Errors(cells, 100 * (1 - grid.validation["accuracy"]), 100 * (1 - np.array(accuracy)))


def spans(found: Errors) -> str:
    """The spans in words."""
    return f"spans from {found.span.min():.2f} to {found.span.max():.2f}"


def describe(cell: Cell) -> str:
    """A cell in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in cell.items())


def tables(found: Mapping[str, Errors]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The two tables of the paper, with our means."""
    by_rate = [
        [name, *(f"{mean:.2f}" for mean in each.test.mean(1))] for name, each in found.items() if name != "Adadelta"
    ]
    adadelta = found["Adadelta"].test.mean(1).reshape(len(EPSILONS), len(RHOS))
    by_constants = [
        [f"epsilon {epsilon:g}", *(f"{mean:.2f}" for mean in row)]
        for epsilon, row in zip(EPSILONS, adadelta, strict=True)
    ]
    caption = "test error in percent, mean over seeds"
    return [
        (f"{caption}, by learning rate", ["optimizer", *(f"{rate:g}" for rate in RATES)], by_rate),
        (f"{caption}: Adadelta", ["", *(f"rho {rho:g}" for rho in RHOS)], by_constants),
    ]


def sensitivity_figure(found: Mapping[str, Errors], dataset: str) -> Figure:
    """Left: error against the rate; right: against epsilon."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, each in found.items():
        if name != "Adadelta":
            band(left, RATES, each.test, name)
    adadelta = found["Adadelta"].test.reshape(len(EPSILONS), len(RHOS), -1)
    for column, rho in enumerate(RHOS):
        band(right, EPSILONS, adadelta[:, column], f"Adadelta, rho {rho:g}")
    left.set(xlabel="learning rate", ylabel=f"test error on {dataset}, percent")
    right.set(xlabel="epsilon")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    return figure


def band(axes: Any, x: Sequence[float], by_seed: np.ndarray, label: str) -> None:
    """Mean and range over seeds."""
    (line,) = axes.plot(x, by_seed.mean(1), ".-", label=label)
    axes.fill_between(x, by_seed.min(1), by_seed.max(1), alpha=0.15, color=line.get_color())
