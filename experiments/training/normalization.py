"""Batch renormalization against batch normalization where batches are small or not independent.

`python -m experiments normalization`                    on the embedded digits
`python -m experiments normalization --dataset mnist`    a few minutes on two cores
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.training import normalized_networks as networks
from experiments.training.normalization_figures import accuracy_figure

LAYOUTS = {
    "batches of 4": networks.Layout(size=4),
    "batches of 32 with 2 labels": networks.Layout(size=32, labels=2),
    "batches of 32": networks.Layout(size=32),
}
SMALL, SORTED, MIXED = LAYOUTS
ARMS = {
    SMALL: ("batch norm", "batch renorm", "layer norm"),
    SORTED: ("batch norm", "batch renorm", "layer norm"),
    MIXED: ("batch norm", "batch renorm", "layer norm", "weight norm", "cosine", "centred cosine", "none"),
}
RATES = (0.01, 0.03, 0.1, 0.3)
TUNING_SEED = 1000  # none of the seeds that are judged
EXACT_STEPS = 50


class Trained(NamedTuple):
    """Of one arm in one layout: validation accuracy `(seeds, epochs)` and test accuracy `(seeds,)`, in percent."""

    rate: float
    validation: np.ndarray
    test: np.ndarray


def run(run: Run) -> None:
    """Trains every arm in every layout at its own rate, and compares test accuracies."""
    judge_equality(run)
    arms = run.settings["arms"]
    trained = {(layout, arm): train_arm(run, layout, arm) for layout in LAYOUTS for arm in arms[layout]}
    for (layout, arm), result in trained.items():
        for seed in range(run.seeds):
            run.record(
                quantity="accuracy", layout=layout, normalization=arm, seed=seed, rate=result.rate,
                validation_percent_by_epoch=result.validation[seed].tolist(), test_percent=float(result.test[seed]),
            )  # fmt: skip
    gains = {
        layout: trained[layout, "batch renorm"].test - trained[layout, "batch norm"].test for layout in (SMALL, SORTED)
    }
    for layout, gain in gains.items():
        run.find(
            f"batch renormalization beats batch normalization with {layout}",
            "lower end of the 95 % interval of the paired difference of test accuracy above 0",
            rules.exceeds(gain, 0.0, unit=" points"),
        )
    lost = trained[MIXED, "batch renorm"].test - trained[SORTED, "batch renorm"].test
    mean, low, high = rules.mean_interval(lost, 0.9)
    without_statistics = ""
    if "layer norm" in arms[SORTED]:
        others = (trained[MIXED, "layer norm"].test - trained[SORTED, "layer norm"].test).mean()
        without_statistics = f"; layer norm, which has no statistics of a batch, loses {others:.2f} by the order alone"
    run.find(
        "with batch renormalization, batches of 2 labels are as good as mixed ones of the same size",
        "90 % interval of the paired difference of test accuracy within +-0.5 points",
        rules.equivalent(lost, 0.5, unit=" points"),
        published="78.5 against 78.5 % (ImageNet, secondary)",
        remark=f"mixed batches are better by {mean:.2f} [{low:.2f}, {high:.2f}] points" + without_statistics,
    )
    bound = train(run, SORTED, "bound batch renorm", trained[SORTED, "batch renorm"].rate)
    run.find(
        "negative control, the rule must fail: bound to r = 1 and d = 0, so that it is batch normalization, batch "
        "renormalization still gains half as much with batches of 2 labels",
        "must fail: lower end of the interval of the paired difference above half the mean gain",
        rules.exceeds(bound.test - trained[SORTED, "batch norm"].test, gains[SORTED].mean() / 2, unit=" points"),
        control=True,
    )
    run.table(
        "test accuracy in percent: mean over seeds (learning rate, chosen on validation)",
        ["normalization", *LAYOUTS],
        [[arm, *(cell(trained.get((layout, arm))) for layout in LAYOUTS)] for arm in arms[MIXED]],
    )
    run.figure(
        "normalization",
        accuracy_figure(trained, arms, run.dataset),
        "Validation accuracy by epoch (mean and range over seeds) and test accuracy at the end (dots: seeds).",
    )
    run.note(
        "Layer, weight and cosine normalization stand in the table without a claim: no figure is published for "
        "this set-up."
    )


def judge_equality(run: Run) -> None:
    """N08: with r = 1 and d = 0 it is batch normalization, parameters and running statistics alike."""
    layout = LAYOUTS[MIXED]
    data = networks.arranged(run.splits.train, layout, seed=0)
    first = jax.tree.map(lambda leaf: leaf[:EXACT_STEPS], data)
    states = []
    for arm in ("batch norm", "bound batch renorm"):
        model = networks.network(arm, num_steps=EXACT_STEPS)
        tx = optax.sgd(0.1)
        step = jaxdl.training.make_train_step(networks.objective(model), tx)
        state = jaxdl.training.init_state(model, tx, run.splits.train.x[:1], key=jax.random.key(0))
        states.append(jaxdl.training.fit(step, state, first, epochs=1, batch_size=1).state)
    ours, theirs = (jax.tree.leaves((state.params, state.model_state)) for state in states)
    # np.max, unlike max, keeps a NaN.
    apart = float(np.max([np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(ours, theirs, strict=True)]))
    run.find(
        "batch renormalization with r = 1 and d = 0 is batch normalization",
        f"largest difference of any parameter or statistic after {EXACT_STEPS} updates at most 1e-5",
        rules.exact(apart, 0.0, 1e-5),
    )


def train_arm(run: Run, layout: str, arm: str) -> Trained:
    """Chooses the rate by the validation accuracy of one other seed, then trains all seeds."""
    rates = run.settings["rates"]

    def score(rate: float) -> float:
        return float(train(run, layout, arm, rate, seeds=[TUNING_SEED]).validation[0, -1])

    best = max(rates, key=score) if len(rates) > 1 else rates[0]
    result = train(run, layout, arm, best)
    print(f"  {layout}, {arm}: rate {best:g}, test {result.test.mean():.2f} %")
    return result


def train(run: Run, layout: str, arm: str, rate: float, *, seeds: Any = None) -> Trained:
    """All seeds as one program; every seed has its own start and order, the arrangement of labels is shared."""
    splits, epochs = run.splits, run.settings["epochs"][run.dataset][layout]
    data = networks.arranged(splits.train, LAYOUTS[layout], seed=0)
    num_steps = epochs * len(data[1])
    model, tx = networks.network(arm, num_steps=num_steps), optax.sgd(rate)
    objective = networks.objective(model)
    step = jaxdl.training.make_train_step(objective, tx)
    chosen = range(run.seeds) if seeds is None else seeds
    states, history = jaxdl.training.run_many(
        step, lambda key: jaxdl.training.init_state(model, tx, splits.train.x[:1], key=key), data, seeds=chosen,
        epochs=epochs, batch_size=1, validation=splits.validation, mode="vmap",
    )  # fmt: skip
    # The test split is not looked at while a rate is chosen.
    test = [] if seeds is not None else [
        jaxdl.training.evaluate(objective, jaxdl.training.member(states, i), splits.test)["accuracy"]
        for i in range(run.seeds)
    ]  # fmt: skip
    return Trained(rate, 100 * np.asarray(history.validation["accuracy"]), 100 * np.array(test))


def cell(trained: Trained | None) -> str:
    """Mean and rate, or a dash where there is no such arm."""
    return "-" if trained is None else f"{trained.test.mean():.2f} ({trained.rate:g})"


_EPOCHS: Mapping[str, Mapping[str, int]] = {
    "digits": {SMALL: 20, SORTED: 60, MIXED: 60},
    "mnist": {SMALL: 2, SORTED: 3, MIXED: 3},
}
_PAIR = {layout: ("batch norm", "batch renorm") for layout in LAYOUTS}
_SHORT = {dataset: {layout: max(1, epochs // 10) for layout, epochs in by.items()} for dataset, by in _EPOCHS.items()}

EXPERIMENT = Experiment(
    name="normalization",
    lecture="Fornax 2017",
    claim="batch renormalization repairs batch normalization where batches are small or hold few labels",
    setup="an MLP with two hidden layers of 100 ReLU, normalized before the ReLU, plain SGD, pixels in [0, 1]. Batches "
    "of 4; batches of 32 that hold 16 examples of each of 2 labels; batches of 32 at random. The running statistics "
    "forget with momentum 0.99; r_max and d_max relax from 1 and 0 (batch normalization) to 3 and 5 between 10 and "
    "30 % of the updates. The learning rate of every arm is the best of a grid on the validation split, by a seed of "
    "its own; the test split is read once, after the last epoch.",
    source="Ioffe 2017 (on ImageNet with Inception-v3; another scale, so only the order is tested)",
    seconds={"digits": 120, "mnist": 530},
    presets={
        "smoke": {"seeds": 5, "epochs": _SHORT, "rates": (0.1,), "arms": _PAIR},
        "default": {"seeds": 5, "epochs": _EPOCHS, "rates": RATES, "arms": ARMS},
        "full": {"seeds": 20, "epochs": _EPOCHS, "rates": RATES, "arms": ARMS},
    },
    run=run,
    rows=("X29",),
)
