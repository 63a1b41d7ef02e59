"""Stacked linear layers: one linear map as a function (Fornax), another thing to train (Saxe et al. 2013)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.propagation import double_precision
from experiments.harness import rules
from experiments.harness.claims import Run

SIZES = (7, 9, 5)
SCALES = (1.0, 0.3, 0.1)  # singular values of the map to learn
STEPS, RATE, START = 600, 0.3, 0.01


def collapsed(params: dict) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of the one layer that an MLP without non-linearities is: K = K1 K2 K3, b = (b1 K2 + b2) K3 + b3.

    In the slide's columns, W = K^T: W' = W3 W2 W1 and b' = W3 W2 b1 + W3 b2 + b3.
    """
    first, *rest = (params[f"Dense_{i}"] for i in range(len(params)))
    kernel, bias = first["kernel"], first["bias"]
    for layer in rest:
        kernel, bias = kernel @ layer["kernel"], bias @ layer["kernel"] + layer["bias"]
    return kernel, bias


def judge_stacks(run: Run) -> None:
    """T05, S30."""
    deviations: dict[str, list[float]] = {"identity": [], "tanh": []}
    with double_precision():
        for seed in range(run.seeds):
            for name, values in deviations.items():
                activation = getattr(jaxdl.activations, name)
                model = jaxdl.models.MLP(SIZES, activation=activation, bias_init=jaxdl.initializers.normal(1.0))
                x = jax.random.normal(jax.random.key(1000 + seed), (50, 6))
                params = _as_double(model.init(jax.random.key(seed), x)["params"])
                kernel, bias = collapsed(params)
                outputs = jnp.asarray(model.apply({"params": params}, x))
                values.append(float(jnp.max(jnp.abs(outputs - (x @ kernel + bias[None, :])))))
    for seed in range(run.seeds):
        run.record(quantity="collapse", seed=seed, **{name: values[seed] for name, values in deviations.items()})
    rule = "largest deviation of an output from x K1 K2 K3 + b' over 50 inputs and all seeds at most 1e-10 (float64)"
    run.find(
        "three stacked linear layers are one linear layer", rule,
        rules.exact(max(deviations["identity"]), 0.0, 1e-10), published="W' = W3 W2 W1, b' = W3 W2 b1 + W3 b2 + b3",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: tanh between the layers", "must fail: " + rule,
        rules.exact(min(deviations["tanh"]), 0.0, 1e-10), control=True,
    )  # fmt: skip
    curves = {depth: _strengths(run, depth) for depth in (1, 3)}
    halves = {depth: _halfway(paths) for depth, paths in curves.items()}
    spread = {depth: half[:, -1] / half[:, 0] for depth, half in halves.items()}
    for seed in range(run.seeds):
        run.record(
            quantity="steps_to_half", seed=seed,
            **{f"layers_{depth}": half[seed].tolist() for depth, half in halves.items()},
        )  # fmt: skip
    rule = "steps to half of the weakest direction over those of the strongest at least 2, in every seed"
    run.find(
        "but it trains otherwise: three layers learn the strong directions of the map long before the weak ones",
        rule, rules.every_seed(spread[3] >= 2), published="Saxe et al. 2013 (shape)",
        remark="S30: more layers are no better in what they represent; their dynamics differ",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: one layer learns all directions at one pace", "must fail: " + rule,
        rules.every_seed(spread[1] >= 2), control=True,
    )  # fmt: skip
    caption = (
        "How much of each direction of the same linear map is learned, over the steps of gradient descent on whitened "
        "inputs (all seeds): one layer left, three stacked ones right; the map they represent is of one kind."
    )
    run.figure("linear_stacks", picture(curves), caption)


def _as_double(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)


def _strengths(run: Run, depth: int) -> np.ndarray:
    """Share of every direction that the product of the kernels has, before each step, `(seeds, steps, directions)`."""
    width = len(SCALES)
    model = jaxdl.as_model((lambda key, x: _aligned(key, width, depth), lambda params, x: x @ product(params)))
    tx = optax.sgd(RATE)
    objective = jaxdl.training.supervised(model, jaxdl.losses.quadratic_cost)
    data = (np.eye(width, dtype=np.float32), np.diag(SCALES).astype(np.float32))
    _, history = jaxdl.training.run_many(
        jaxdl.training.make_train_step(
            objective, tx, measure=lambda moment: jnp.diagonal(product(moment.params)) / jnp.array(SCALES)
        ),
        lambda key: jaxdl.training.init_state(model, tx, data[0], key=key),
        data, seeds=range(run.seeds), steps=STEPS, batch_size=width, mode="vmap",
    )  # fmt: skip
    return np.asarray(history.measures)


def product(kernels: list[jax.Array]) -> jax.Array:
    """The one kernel that stacked kernels are."""
    whole, *rest = kernels
    for kernel in rest:
        whole = whole @ kernel
    return whole


def _aligned(key: jax.Array, width: int, depth: int) -> list[jax.Array]:
    """Multiples of orthogonal kernels whose product is START times the identity, which every diagonal map is along."""
    scale = START ** (1 / depth)
    orthogonal = jaxdl.initializers.orthogonal()
    kernels = [orthogonal(each, (width, width)) for each in jax.random.split(key, depth - 1)] if depth > 1 else []
    last = product(kernels).T if kernels else jnp.eye(width)
    return [scale * kernel for kernel in (*kernels, last)]


def _halfway(paths: np.ndarray) -> np.ndarray:
    """First step at which half of a direction is learned, `(seeds, directions)`."""
    return np.where((paths >= 0.5).any(1), np.argmax(paths >= 0.5, axis=1), STEPS).astype(float)


def picture(curves: dict[int, np.ndarray]) -> Figure:
    """One panel a depth."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axis, (depth, paths) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        for i, value in enumerate(SCALES):
            for seed, path in enumerate(paths):
                axis.plot(path[:, i], color=f"C{i}", alpha=0.6, label=f"singular value {value:g}" if not seed else None)
        axis.set(xlabel="step", ylabel="share learned", title=f"{depth} linear layer{'s' if depth > 1 else ''}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
