"""Pictures read row by row: what a recurrent network's start is worth.

`python -m experiments row_by_row`                    8 rows of the embedded digits, then 20 blank ones
`python -m experiments row_by_row --dataset mnist`    28 rows, on 10,000 training pictures; minutes on two cores
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.gradients.row_by_row_figures import gradient_figure, learning_figure
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from jaxdl.data import Examples
from jaxdl.initializers import normal

UNITS, BATCH, CLIP = 100, 32, 1.0
TUNING_SEED = 1000  # none of the seeds that are judged
STEPS = 28  # a digit of 8 rows is followed by blank ones: over 8 steps alone there is little to remember
FLOOR = {"digits": 60.0, "mnist": 80.0}
MARGIN = 2.0
FLAT = 10.0
IDENTITY, LSTM, RANDOM, SMALL, ORTHOGONAL = (
    "IRNN",
    "LSTM",
    "ReLU, N(0, 0.01^2)",
    "tanh, N(0, 0.01^2)",
    "tanh, orthogonal",
)
_random = partial(nn.SimpleCell, kernel_init=normal(0.01), recurrent_kernel_init=normal(0.01))
CELLS: dict[str, str | Callable[..., Any]] = {
    IDENTITY: "irnn",
    LSTM: "lstm",
    RANDOM: partial(_random, activation_fn=nn.relu),
    SMALL: _random,
    ORTHOGONAL: "tanh",
}


class Trained(NamedTuple):
    """Of one arm: validation accuracy `(seeds, epochs)`, test accuracy `(seeds,)`, in percent."""

    rate: float
    validation: np.ndarray
    test: np.ndarray


def run(run: Run) -> None:
    """Trains every arm at its own rate, compares test accuracies, and follows gradients through time at the start."""
    rows = jaxdl.data.Splits(*(_rows(part, run) for part in run.splits))
    trained = {arm: train_arm(run, rows, arm) for arm in CELLS}
    for arm, result in trained.items():
        for seed in range(run.seeds):
            run.record(
                quantity="accuracy", arm=arm, seed=seed, rate=result.rate,
                validation_percent_by_epoch=result.validation[seed].tolist(), test_percent=float(result.test[seed]),
            )  # fmt: skip
    floor = FLOOR[run.dataset]
    for arm in (IDENTITY, LSTM):
        run.find(
            f"{arm}: learns pictures row by row",
            f"lower 95 % limit of the mean test accuracy above {floor:g} %",
            rules.exceeds(trained[arm].test, floor, unit=" %"),
        )
    for arm in (IDENTITY, LSTM):
        run.find(
            f"{arm} is better than a ReLU network from N(0, 0.01^2)",
            f"lower 95 % limit of the paired difference of test accuracies above {MARGIN:g} points",
            rules.exceeds(trained[arm].test - trained[RANDOM].test, MARGIN, unit=" points"),
        )
    run.find(
        f"negative control, the rule must fail: {IDENTITY} is better than the orthogonal tanh network",
        f"must fail: lower 95 % limit of the paired difference of test accuracies above {MARGIN:g} points",
        rules.exceeds(trained[IDENTITY].test - trained[ORTHOGONAL].test, MARGIN, unit=" points"),
        control=True,
        remark="a tanh network with an orthogonal recurrent matrix, Flax's default, is no weaker start here",
    )
    judge_gradients(run, rows.train)
    run.table(
        "Test accuracy in percent",
        ("arm", "learning rate", "mean", "seeds"),
        [
            (arm, f"{r.rate:g}", f"{r.test.mean():.2f}", ", ".join(f"{value:.2f}" for value in r.test))
            for arm, r in trained.items()
        ],
    )
    run.figure(
        "accuracy",
        learning_figure({arm: result.validation for arm, result in trained.items()}, run.dataset),
        "Validation accuracy over the epochs (mean and range over the seeds), each arm at its own learning rate.",
    )


def judge_gradients(run: Run, train: Examples) -> None:
    """Norms of products of recurrent Jacobians before training, by the lag they reach over."""
    growth = {arm: start_growth(train, arm, run.seeds) for arm in CELLS}
    for arm, logs in growth.items():
        for seed, row in enumerate(logs):
            run.record(quantity="log10_growth_by_step", arm=arm, seed=seed, values=row.tolist())
    within = np.log10(FLAT)
    rule = f"|dh_T/dh_t| stays between 1/{FLAT:g} and {FLAT:g} at every lag, in every seed"
    flat = {arm: (np.abs(logs) <= within).all(1) for arm, logs in growth.items()}
    run.find(
        f"{IDENTITY}: before training gradients come back over all steps",
        rule,
        rules.every_seed(flat[IDENTITY]),
        remark="the first row of MNIST's pictures is blank, so that pre-activations are exactly 0 there, where ReLU's "
        "derivative counts as 0: nothing comes back to that one step"
        if run.dataset == "mnist"
        else "",
    )
    for arm in (RANDOM, SMALL):
        shrinks = growth[arm][:, 0] < -within
        run.find(
            f"{arm}: before training gradients vanish on their way back",
            f"|dh_T/dh_1| below 1/{FLAT:g} in every seed",
            rules.every_seed(shrinks),
        )
    run.find(
        f"negative control, the rule must fail: gradients come back over all steps of {RANDOM}",
        f"must fail: {rule}",
        rules.every_seed(flat[RANDOM]),
        control=True,
    )
    caption = (
        "Before training, from the last step back: by how much a recurrence itself stretches a random direction of the "
        "gradient (lines: median over seeds; bands: range). Grey: a factor of 10 up and down."
    )
    run.figure("gradients_through_time", gradient_figure(growth, within, run.dataset), caption)


def start_growth(train: Examples, arm: str, seeds: int) -> np.ndarray:
    """log10 |dh_T/dh_t| of fresh networks, `(seeds, steps)`."""
    network = model(arm)
    goal = objective(network)
    batch = Examples(train.x[:100], train.y[:100])
    rows = []
    for seed in range(seeds):
        state = jaxdl.training.init_state(network, optax.sgd(0.1), train.x[:1], key=jax.random.key(seed))
        through = jaxdl.diagnostics.gradients_through_time(goal, state, batch, key=jax.random.key(seed))
        rows.append(np.asarray(through.log_growth[0]) / np.log(10))
    return np.maximum(np.stack(rows), -300)  # where nothing comes back, for the picture and the records


def train_arm(run: Run, rows: jaxdl.data.Splits, arm: str) -> Trained:
    """The rate of the best validation accuracy of one run, then all seeds at it; each seed's own order of the data."""
    network, epochs = model(arm), run.settings["epochs"][run.dataset]
    goal = objective(network)

    def recipe(learning_rate: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(learning_rate))

    def make_step(learning_rate: Any) -> jaxdl.training.TrainStep:
        return jaxdl.training.make_train_step(goal, recipe(learning_rate))

    def init(key: jax.Array, learning_rate: Any) -> jaxdl.training.TrainState:
        return jaxdl.training.init_state(network, recipe(learning_rate), rows.train.x[:1], key=key)

    def many(seeds: Any, rates: Any) -> jaxdl.training.ManyRuns:
        return jaxdl.training.run_many(
            make_step, init, rows.train, seeds=seeds, hyperparameters={"learning_rate": rates}, epochs=epochs,
            batch_size=BATCH, validation=rows.validation, mode="vmap", progress=False,
        )  # fmt: skip

    rates = run.settings["rates"]
    rate = rates[0]
    if len(rates) > 1:
        tuning = many([TUNING_SEED], rates).history.validation["accuracy"][:, -1]
        rate = rates[int(np.argmax(np.nan_to_num(tuning)))]
    states, history = many(range(run.seeds), [rate])
    test = [
        jaxdl.training.evaluate(goal, jaxdl.training.member(states, seed), rows.test)["accuracy"]
        for seed in range(run.seeds)
    ]
    print(f"  {arm}: {100 * np.mean(test):.2f} % on test at rate {rate:g}, {history.run_seconds:.0f} s")
    return Trained(rate, 100 * history.validation["accuracy"], 100 * np.asarray(test))


def model(arm: str) -> jaxdl.models.RecurrentNetwork:
    """One recurrent layer and a linear one on its last state."""
    return jaxdl.models.RecurrentNetwork((UNITS,), CELLS[arm], num_outputs=10, returns="last")


def objective(network: jaxdl.models.RecurrentNetwork) -> jaxdl.training.Objective:
    """Cross-entropy and accuracy."""
    return jaxdl.training.supervised(
        network, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )


def _rows(part: Examples, run: Run) -> Examples:
    """Pictures `(n, height, width, 1)` as 28 rows; of the training split as many as the preset says."""
    limit = run.settings["examples"].get(run.dataset) if part is run.splits.train else None
    rows = np.asarray(part.x[:limit, ..., 0])
    blank = max(0, STEPS - rows.shape[1])
    return Examples(np.pad(rows, ((0, 0), (0, blank), (0, 0))), part.y[:limit])


def _presets(**epochs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: {"seeds": 5, "rates": (1e-3, 3e-3), "examples": {}, **settings} for name, settings in epochs.items()}


EXPERIMENT = Experiment(
    name="row_by_row",
    lecture="ECE521 lecture 10; Misra and Fornax on recurrent gradients",
    claim="an identity start lets a plain recurrent network of rectifiers remember; an LSTM does so by its gates",
    setup="one layer of 100 units reads 28 rows of pixels in [0, 1], one a step, and a linear layer names the digit "
    "from the last state. The embedded digits have 8 rows, so that 20 blank ones follow: over 8 steps alone even the "
    "weak starts learn. IRNN: ReLU, recurrent identity, inputs N(0, 0.001^2); LSTM: forget bias 1; ReLU and tanh from "
    "N(0, 0.01^2); tanh with an orthogonal recurrent matrix (Flax's default), a strong baseline. Adam on batches of "
    "32, gradients clipped at norm 1, each arm at the rate of 0.001 and 0.003 with the better validation accuracy of "
    "one run whose seed is not judged. Digits: 20 epochs; MNIST: 5 epochs on the first 10,000 training pictures. The "
    "test split is used once. Gradients: products of recurrent Jacobians of fresh networks on 100 training pictures.",
    source="Le, Jaitly, Hinton 2015 (784 single pixels there, so that its figures are none to compare with)",
    seconds={"digits": 60, "mnist": 180},
    presets=_presets(
        smoke={"epochs": {"digits": 10, "mnist": 1}, "rates": (3e-3,), "examples": {"mnist": 1000}},
        default={"epochs": {"digits": 20, "mnist": 5}, "examples": {"mnist": 10_000}},
        full={"epochs": {"digits": 40, "mnist": 10}, "rates": (3e-4, 1e-3, 3e-3), "seeds": 10},
    ),
    run=run,
    rows=("X34",),
)
