"""Exclusive or: no linear classifier, two exact networks, and networks that learn it (Misra)."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure
from scipy.optimize import linprog

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl.data import toy

POINTS = 4


def separable(x: np.ndarray, labels: np.ndarray) -> bool:
    """Whether some (w, b) has w x + b > 0 on label 1 and < 0 on label 0: a linear programme decides it exactly."""
    sign = np.where(labels == 1, 1.0, -1.0)
    rows = -sign[:, None] * np.concatenate([x, np.ones((len(x), 1))], axis=1)
    # Scaling (w, b) up turns every positive margin into one of at least 1.
    found = linprog(np.zeros(x.shape[1] + 1), A_ub=rows, b_ub=-np.ones(len(x)), bounds=(None, None))
    return found.status == 0


def best_linear_accuracy(x: np.ndarray, labels: np.ndarray) -> float:
    """The largest share of the points that a linear classifier gets right, by trying all ways of labelling them."""
    ways = [np.array(way) for way in itertools.product((0, 1), repeat=len(x))]
    return max(float(np.mean(way == labels)) for way in ways if separable(x, way))


def relu_xor(x: jax.Array) -> jax.Array:
    """`relu(x1 + x2) - 2 relu(x1 + x2 - 1)`: XOR by two ReLU units, `(batch,)`."""
    total = x[:, 0] + x[:, 1]
    return jaxdl.activations.relu(total) - 2 * jaxdl.activations.relu(total - 1)


def threshold_xor(x: jax.Array) -> jax.Array:
    """`1[1[s > 1/2] - 2 * 1[s > 3/2] > 0]`, s = x1 + x2: XOR by three threshold units, `(batch,)`."""
    total, step = x[:, 0] + x[:, 1], jaxdl.activations.step
    return step(step(total - 0.5) - 2 * step(total - 1.5))


def judge_xor(run: Run) -> None:
    """T01, T02, S33."""
    x, y = toy.xor()
    accuracy = best_linear_accuracy(x, y)
    claim = "no linear classifier gets the four points of XOR right; the best gets three"
    rule = "largest accuracy over all 16 labellings that a linear programme finds separable: exactly 3/4"
    run.find(claim, rule, rules.exact(accuracy, 0.75, 0.0), published="3/4")
    run.find(
        "negative control, the rule must fail: AND in place of XOR", "must fail: " + rule,
        rules.exact(best_linear_accuracy(x, (x.sum(1) == 2).astype(int)), 0.75, 0.0), control=True,
    )  # fmt: skip
    built = {"two ReLU units": relu_xor, "three threshold units": threshold_xor}
    wrong = max(float(jnp.max(jnp.abs(net(jnp.asarray(x)) - y))) for net in built.values())
    run.find(
        "two ReLU units compute XOR, and so do three threshold units: a network of perceptrons is no linear separator",
        "largest deviation from the label over both networks and the four points exactly 0",
        rules.exact(wrong, 0.0, 0.0),
        remark="S33: the slide says that a network of perceptrons still defines only a linear separator; that is so "
        "of stacked linear layers",
    )
    trained = {name: _learned(run, activation) for name, activation in ACTIVATIONS.items()}
    for seed in range(run.seeds):
        run.record(quantity="xor", seed=seed, **{name: found[0][seed].item() for name, found in trained.items()})
    rule = "accuracy 1 on the four points in every seed"
    run.find(
        "a network of 8 tanh units learns XOR", rule, rules.every_seed(trained["tanh"][0] == 1),
        remark="; ".join(f"{name}: {int(np.sum(found[0] == 1))} of {run.seeds}" for name, found in trained.items()),
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: two linear layers of the same widths", "must fail: " + rule,
        rules.every_seed(trained["identity"][0] == 1), control=True,
    )  # fmt: skip
    caption = "XOR: output of the constructions and of the first seed's networks; the line is the decision boundary."
    surfaces = built | {f"learned, {name}": found[1] for name, found in trained.items()}
    run.figure("xor", picture(surfaces), caption)


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "identity": jaxdl.activations.identity,
}


def _learned(run: Run, activation: Callable[[jax.Array], jax.Array]) -> tuple[np.ndarray, Callable[[Any], Any]]:
    """Accuracies `(seeds,)` of networks of 8 units, and the first one as a function to [0, 1]."""
    x, y = toy.xor()
    model, tx = jaxdl.as_model(jaxdl.models.MLP((8, 2), activation=activation)), optax.adam(0.05)
    objective = jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    states, _ = jaxdl.training.run_many(
        jaxdl.training.make_train_step(objective, tx),
        lambda key: jaxdl.training.init_state(model, tx, x[:1], key=key),
        (x, y), seeds=range(run.seeds), steps=500, batch_size=POINTS, mode="vmap",
    )  # fmt: skip
    members = [jaxdl.training.member(states, i) for i in range(run.seeds)]
    accuracy = [jaxdl.training.evaluate(objective, state, (x, y))["accuracy"] for state in members]
    params = {"params": members[0].params}
    return np.array(accuracy), lambda x: jax.nn.softmax(model.apply(params, x)[0])[:, 1]


def picture(surfaces: Mapping[str, Callable[[Any], Any]]) -> Figure:
    """Each function over the square, with the four points."""
    figure = Figure(figsize=(3.2 * len(surfaces), 3.4), layout="constrained")
    steps = np.linspace(-0.5, 1.5, 121, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    x, y = toy.xor()
    for axis, (name, surface) in zip(figure.subplots(1, len(surfaces)), surfaces.items(), strict=True):
        values = np.asarray(surface(jnp.asarray(grid))).reshape(len(steps), len(steps))
        axis.pcolormesh(steps, steps, values, vmin=-0.5, vmax=1.5, cmap="RdBu", shading="nearest", rasterized=True)
        if np.ptp(values) > 0.01:  # no boundary where all is one half
            axis.contour(steps, steps, values, levels=[0.5], colors="black", linewidths=1)
        for label, marker in ((0, "o"), (1, "s")):
            axis.plot(*x[y == label].T, marker, color="white", markeredgecolor="black", markersize=8)
        axis.set_title(name, fontsize=9)
        axis.set(xlabel="x1", ylabel="x2", aspect="equal")
    return figure
