"""The lecture's demonstration of a framework: ten steps of Adam on random numbers, by hand and compiled (X37).

`python -m experiments ten_steps`     seconds; the data set does not matter
"""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from jaxdl import training
from jaxdl.data import Examples, toy

EXAMPLES, INPUTS, HIDDEN, OUTPUTS = 64, 1000, 100, 10
RATE, STEPS = 1e-4, 10
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba's
TOLERANCE, START_TOLERANCE = 1e-4, 0.05
UPHILL = -RATE


class Trained(NamedTuple):
    """What one implementation found for every seed.

    Attributes:
      losses: sum of squared errors after 0 to 10 steps, `(seeds, STEPS + 1)`.
      params: at the end, `{layer: {"kernel" | "bias": (seeds, ...)}}`.
    """

    losses: np.ndarray
    params: Any


def run(run: Run) -> None:
    """Both implementations from the same numbers, and the control that goes uphill."""
    problems = [toy.random_regression(jax.random.key(seed)) for seed in range(run.seeds)]
    starts = [state.params for state in initial(run.seeds, RATE)]
    compiled, uphill = train(problems, RATE), train(problems, UPHILL)
    by_hand = [adam_by_hand(*problem, start) for problem, start in zip(problems, starts, strict=True)]
    for seed, row in enumerate(compiled.losses):
        run.record(quantity="sum_of_squares", seed=seed, by_step=row.tolist(), by_hand=by_hand[seed][0].tolist())
    judge(run, compiled, by_hand, uphill)
    caption = "Sum of squared errors over the steps, every seed: compiled (lines) and by hand (circles)."
    run.figure("ten_steps", steps_figure(compiled.losses, np.stack([losses for losses, _ in by_hand])), caption)


def parts(rate: float) -> tuple[Any, Any, Any]:
    """Model, objective and optimizer; the loss is the SUM of squared errors of the batch, as on the slide."""
    model = jaxdl.models.MLP((HIDDEN, OUTPUTS), kernel_init=jaxdl.initializers.standard_uniform())
    objective = training.supervised(model, lambda outputs, y: EXAMPLES * jaxdl.losses.squared_error(outputs, y))
    return model, objective, optax.adam(rate, b1=FIRST_DECAY, b2=SECOND_DECAY, eps=EPSILON)


def initial(seeds: int, rate: float) -> list[training.TrainState]:
    """The states that `run_many` begins with."""
    model, _, tx = parts(rate)
    x = np.zeros((1, INPUTS), np.float32)
    return [training.init_state(model, tx, x, key=jax.random.key(seed)) for seed in range(seeds)]


def train(problems: list[Any], rate: float) -> Trained:
    """Full-batch steps of the library; each seed has its own 64 examples."""
    model, objective, tx = parts(rate)
    data = Examples(*(np.concatenate([np.asarray(problem[i]) for problem in problems]) for i in (0, 1)))
    rows = np.arange(len(data.x)).reshape(len(problems), EXAMPLES)
    states, history = training.run_many(
        training.make_train_step(objective, tx),
        lambda key: training.init_state(model, tx, data.x[:1], key=key), data, samples=rows,
        seeds=range(len(problems)), epochs=STEPS, batch_size=EXAMPLES, mode="vmap", progress=False,
    )  # fmt: skip
    last = [
        training.evaluate(objective, training.member(states, i), Examples(data.x[row], data.y[row]))["loss"]
        for i, row in enumerate(rows)
    ]
    losses = np.concatenate([np.asarray(history.train["loss"]), np.array(last)[:, None]], axis=1)
    return Trained(losses, jax.tree.map(np.asarray, states.params))


def adam_by_hand(x: Any, y: Any, start: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Forward, backward and Adam written out in NumPy and float64: losses, and the parameters at the end."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    params = [np.array(each, np.float64) for each in listed(start)]
    first, second = ([np.zeros_like(each) for each in params] for _ in range(2))
    losses = []
    for step in range(STEPS + 1):
        w1, b1, w2, b2 = params
        z = x @ w1 + b1
        a = np.maximum(z, 0)
        error = a @ w2 + b2 - y
        losses.append((error**2).sum())
        if step == STEPS:
            break
        d_outputs = 2 * error
        d_z = (d_outputs @ w2.T) * (z > 0)
        gradients = [x.T @ d_z, d_z.sum(0), a.T @ d_outputs, d_outputs.sum(0)]
        for i, gradient in enumerate(gradients):
            first[i] = FIRST_DECAY * first[i] + (1 - FIRST_DECAY) * gradient
            second[i] = SECOND_DECAY * second[i] + (1 - SECOND_DECAY) * gradient**2
            mean = first[i] / (1 - FIRST_DECAY ** (step + 1))
            square = second[i] / (1 - SECOND_DECAY ** (step + 1))
            params[i] = params[i] - RATE * mean / (np.sqrt(square) + EPSILON)
    return np.array(losses), params


def judge(run: Run, compiled: Trained, by_hand: list[Any], uphill: Trained) -> None:
    """X37: the sum falls at every step, and both implementations agree."""
    rule = "in every seed, at each of the ten steps"
    run.find(
        "the sum of squared errors falls at every one of ten steps of Adam at 1e-4",
        rule,
        rules.every_seed(np.all(np.diff(compiled.losses, axis=1) < 0, axis=1)),
        remark=f"from {compiled.losses[:, 0].mean():.1f} to {compiled.losses[:, -1].mean():.1f} on the mean",
        row="X37",
    )
    run.find(
        "negative control, the rule must fail: so it does with the rate's sign turned round",
        f"must fail: {rule}",
        rules.every_seed(np.all(np.diff(uphill.losses, axis=1) < 0, axis=1)),
        control=True,
        row="X37",
    )
    losses = np.stack([each for each, _ in by_hand])
    run.find(
        "forward, backward and Adam written out in NumPy give the losses of the compiled step",
        f"the largest relative difference over all seeds and steps within {TOLERANCE:g}",
        rules.exact(float(np.abs(compiled.losses / losses - 1).max()), 0.0, TOLERANCE),
        row="X37",
    )
    run.find(
        "and its parameters after ten steps",
        f"the largest difference over all seeds and parameters within {TOLERANCE:g}",
        rules.exact(farthest_parameter(compiled.params, [params for _, params in by_hand]), 0.0, TOLERANCE),
        row="X37",
    )
    expected = EXAMPLES * OUTPUTS * (1 + output_variance())
    run.find(
        "the sum begins where the start says, near 64 * 10 * (1 + Var y) = "
        f"{expected:.0f} with weights U(+-1/sqrt(fan_in))",
        f"mean over seeds within {START_TOLERANCE:.0%}",
        rules.mean_within(compiled.losses[:, 0], (1 - START_TOLERANCE) * expected, (1 + START_TOLERANCE) * expected),
        row="X37",
    )


def output_variance() -> float:
    """Of an output: ReLU halves the second moment 1/3 of a pre-activation, the next kernel takes a third of it."""
    return 1 / 3 / 2 / 3


def farthest_parameter(params: Any, by_hand: list[list[np.ndarray]]) -> float:
    """The largest difference of any parameter of any seed."""
    layers = listed(params)
    return max(
        float(np.abs(layer[i] - own[j]).max()) for i, own in enumerate(by_hand) for j, layer in enumerate(layers)
    )


def listed(params: Any) -> list[Any]:
    """In the order in which they are used."""
    return [params[layer][name] for layer in ("Dense_0", "Dense_1") for name in ("kernel", "bias")]


def steps_figure(losses: np.ndarray, by_hand: np.ndarray) -> Figure:
    """Left: the sums; right: their relative difference."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = np.arange(STEPS + 1)
    for seed in range(len(losses)):
        left.plot(steps, losses[seed], color=f"C{seed % 10}")
        left.plot(steps, by_hand[seed], "o", color=f"C{seed % 10}", fillstyle="none", markersize=5)
        right.plot(steps, np.abs(losses[seed] / by_hand[seed] - 1) + 1e-12, ".-", color=f"C{seed % 10}")
    right.axhline(TOLERANCE, color="black", linestyle=":", label="tolerance")
    left.set(xlabel="step", ylabel="sum of squared errors", title="lines: compiled, circles: NumPy")
    right.set(xlabel="step", ylabel="relative difference", yscale="log")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


_SETTINGS = {"seeds": 5}

EXPERIMENT = Experiment(
    name="ten_steps",
    lecture="Allauzen, Deep learning basics 2",
    claim="a framework does what back-propagation by hand does: ten steps of Adam on random numbers lower the loss",
    setup="64 examples of 1,000 inputs and 10 outputs, all N(0, 1); 100 hidden ReLU units, weights "
    "U(+-1/sqrt(fan_in)), biases 0; sum of squared errors; Adam at 1e-4 with the paper's other constants, ten "
    "full-batch steps in float32. By hand: forward, backward and Adam in NumPy, float64. Digits or MNIST is all one.",
    source="no figure is printed on the slide",
    seconds={"digits": 5, "mnist": 5},
    presets={"smoke": _SETTINGS, "default": {"seeds": 20}, "full": {"seeds": 50}},
    run=run,
    rows=("X37",),
    record="digits",
)
