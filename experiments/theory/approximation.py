"""Universal approximation: what a proof builds, what training reaches, and polynomials, which do not get there."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run

WIDTHS = (5, 10, 20, 40, 80, 160)
GRID = np.linspace(0.0, 1.0, 4001)
LIPSCHITZ = 2 * np.pi * 1.5 + 7 * np.pi * 0.5  # a bound of the slope of `target`


def target(x: np.ndarray) -> np.ndarray:
    """`1.5 sin(2 pi x) + 0.5 cos(7 pi x)` on [0, 1]: smooth, and no polynomial."""
    return 1.5 * np.sin(2 * np.pi * x) + 0.5 * np.cos(7 * np.pi * x)


def staircase(num_units: int, activation: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """One hidden layer, built and not trained: unit i jumps at i/n by the rise of f between two middles of cells.

        y(x) = f(m_0) + sum_{i=1}^{n-1} (f(m_i) - f(m_{i-1})) activation(k (x - i/n)),    m_i = (i + 1/2)/n

    With threshold units y is f at the middle of the cell of x, so that |f - y| <= L/(2n) for a slope of at most L.
    """
    heights = target((np.arange(num_units) + 0.5) / num_units)
    edges, steepness = np.arange(1, num_units) / num_units, 50.0 * num_units
    units = activation(steepness * (x[:, None] - edges[None, :]))
    return heights[0] + units @ np.diff(heights)


BUILT: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "threshold units": lambda z: (z > 0).astype(float),
    "steep sigmoids": lambda z: 0.5 * (1 + np.tanh(z / 2)),
}
RANDOM: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh, "ReLU": lambda z: np.maximum(z, 0), "square": np.square,
}  # fmt: skip
TRAINED: Mapping[str, Callable[[jax.Array], jax.Array]] = {"tanh": nn.tanh, "ReLU": nn.relu, "square": jnp.square}


def judge_approximation(run: Run) -> None:
    """T03, T04, S08, S38."""
    errors = {
        name: np.array([np.max(np.abs(staircase(n, fn, GRID) - target(GRID))) for n in WIDTHS])
        for name, fn in BUILT.items()
    }
    bounds = LIPSCHITZ / (2 * np.array(WIDTHS))
    worst = max(float(np.max(each / bounds)) for each in errors.values())
    rule = "largest ratio of the error, max over 4,001 points, to L/(2n) for n = 5 to 160 at most 1"
    run.find(
        "one hidden layer of n threshold units, or of steep sigmoids, is within L/(2n) of a function of slope L",
        rule, rules.exact(worst, 0.5, 0.5), published="L/(2n)",
        remark="S08, S38: one hidden layer with enough units, a continuous function on a compact set; no depth needed",
    )  # fmt: skip
    half = {name: max(errors[name] * np.array(WIDTHS) ** 2 / (LIPSCHITZ / 2)) for name in errors}
    run.find(
        "negative control, the rule must fail: the bound L/(2n^2) for the same networks",
        "must fail: " + rule.replace("L/(2n)", "L/(2n^2)"), rules.exact(max(half.values()), 0.5, 0.5), control=True,
    )  # fmt: skip
    least_squares = {name: np.array([_fitted(run, fn, n) for n in WIDTHS]).T for name, fn in RANDOM.items()}
    for seed in range(run.seeds):
        run.record(
            quantity="best_output_layer", seed=seed, widths=list(WIDTHS),
            **{name: rows[seed].tolist() for name, rows in least_squares.items()},
        )  # fmt: skip
    trained = {name: _trained(run, fn, run.settings["widths"]) for name, fn in TRAINED.items()}
    for seed in range(run.seeds):
        run.record(
            quantity="trained", seed=seed, widths=list(run.settings["widths"]),
            **{name: rows[seed].tolist() for name, rows in trained.items()},
        )  # fmt: skip
    rule = f"root mean square error with {WIDTHS[-1]} units below 1/10 of that with {WIDTHS[0]} units in every seed"
    for name, rows in least_squares.items():
        polynomial = name == "square"
        falls = rows[:, -1] < 0.1 * rows[:, 0]
        run.find(
            f"{'negative control, the rule must fail: ' * polynomial}random hidden {name} units with the best output "
            "layer approximate better and better the more there are",
            "must fail: " * polynomial + rule, rules.every_seed(falls), control=polynomial,
            remark="squares of lines are quadratics, however many" if polynomial else "",
        )  # fmt: skip
        rises = np.diff(rows, axis=1) / rows[:, :1]
        if not polynomial:
            run.find(
                f"T04: the best fit of {name} units never gets worse when units are added to those that are there",
                "largest rise of the error from one width to the next, of that with the fewest, at most 1e-6",
                rules.exact(float(max(rises.max(), 0.0)), 0.0, 1e-6),
            )
    few, many = run.settings["widths"][0], run.settings["widths"][-1]
    rule = f"lower 95 % limit of the mean log ratio of the errors with {few} and {many} units above ln 2"
    for name, rows in trained.items():
        polynomial = name == "square"
        run.find(
            f"{'negative control, the rule must fail: ' * polynomial}by gradient descent (Adam), too, {name} units "
            "approximate better the more there are",
            "must fail: " * polynomial + rule, rules.exceeds(np.log(rows[:, 0] / rows[:, -1]), np.log(2)),
            control=polynomial,
            remark="" if polynomial else "representation is one thing, learning another: with many units training "
            "stays behind the best output layer on random ones",
        )  # fmt: skip
    caption = (
        "Left: the staircase of 10 and 40 threshold units. Right: error against width: built networks (largest), "
        "random hidden units with the best output layer, and trained networks (root mean square; mean and range)."
    )
    run.figure("approximation", picture(errors, bounds, least_squares, trained, run.settings["widths"]), caption)


def _fitted(run: Run, activation: Callable[[np.ndarray], np.ndarray], num_units: int) -> np.ndarray:
    """Error of least squares on random hidden units, `(seeds,)`; wider layers hold the units of narrower ones."""
    errors = []
    for seed in range(run.seeds):
        draws = np.random.RandomState(seed).randn(max(WIDTHS), 2)[:num_units]
        z = 8 * draws[:, 0] * (GRID[::8, None] - 0.5) + 4 * draws[:, 1]
        design = np.concatenate([activation(z), np.ones((len(z), 1))], axis=1)
        weights = np.linalg.lstsq(design, target(GRID[::8]), rcond=1e-9)[0]
        errors.append(np.sqrt(np.mean((design @ weights - target(GRID[::8])) ** 2)))
    return np.array(errors)


def _trained(run: Run, activation: Callable[[jax.Array], jax.Array], widths: tuple[int, ...]) -> np.ndarray:
    """Errors after training, `(seeds, widths)`."""
    x = GRID[::32, None].astype(np.float32)
    data = (2 * x - 1, target(x).astype(np.float32))
    steps, errors = run.settings["steps"], []
    for width in widths:
        model = jaxdl.as_model(
            jaxdl.models.MLP(
                (width, 1), activation=activation, kernel_init=jaxdl.initializers.lecun_normal(),
                bias_init=jaxdl.initializers.normal(1.0),
            )
        )  # fmt: skip
        tx = optax.adam(optax.cosine_decay_schedule(0.03, steps))
        objective = jaxdl.training.supervised(model, jaxdl.losses.mean_squared_error)
        states, _ = jaxdl.training.run_many(
            jaxdl.training.make_train_step(objective, tx),
            lambda key, model=model, tx=tx: jaxdl.training.init_state(model, tx, data[0][:1], key=key),
            data, seeds=range(run.seeds), steps=steps, batch_size=len(x), mode="vmap",
        )  # fmt: skip
        members = (jaxdl.training.member(states, i) for i in range(run.seeds))
        errors.append([jaxdl.training.evaluate(objective, state, data)["loss"] ** 0.5 for state in members])
    return np.array(errors).T


def picture(
    built: Mapping[str, np.ndarray],
    bounds: np.ndarray,
    fitted: Mapping[str, np.ndarray],
    trained: Mapping[str, np.ndarray],
    widths: tuple[int, ...],
) -> Figure:
    """Left: the construction; right: errors against width."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(GRID, target(GRID), "k", label="f")
    for n in (10, 40):
        left.plot(GRID, staircase(n, BUILT["threshold units"], GRID), label=f"{n} threshold units")
    left.set(xlabel="x", ylabel="y")
    right.loglog(WIDTHS, bounds, "k:", label="bound L/(2n)")
    for name, errors in built.items():
        right.loglog(WIDTHS, errors, ".--", label=f"built, {name} (largest error)")
    for i, (name, rows) in enumerate(fitted.items()):
        right.loglog(WIDTHS, rows.mean(0), "o-", color=f"C{i + 2}", label=f"random {name} units, best output layer")
        right.fill_between(WIDTHS, rows.min(0), rows.max(0), color=f"C{i + 2}", alpha=0.15)
        right.loglog(widths, trained[name].mean(0), "s-.", color=f"C{i + 2}", label=f"{name}, trained", alpha=0.7)
    right.set(xlabel="hidden units", ylabel="error")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return figure
