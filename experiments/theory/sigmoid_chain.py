"""Why gradients vanish in a chain of sigmoids: a product of factors, each at most a quarter of its weight."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from matplotlib.figure import Figure

from experiments.building_blocks.propagation import double_precision
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.theory.backpropagation import chain_gradient

WEIGHTS = np.linspace(0.5, 14, 28)


def judge_chain(run: Run) -> None:
    """T11, T12: the chain of four sigmoids, and how large a factor can be."""
    deviations = []
    with double_precision():
        for seed in range(run.seeds):
            draws = np.random.RandomState(seed)
            weights, biases, x = (jnp.asarray(draws.randn(*shape)) for shape in ((4,), (4,), ()))
            found = jax.grad(_chain, argnums=1)(weights, biases, x)[0]
            deviations.append(abs(float(chain_gradient(weights, biases, x) / found) - 1))
            run.record(quantity="chain", seed=seed, gradient=float(found), deviation=deviations[-1])
    run.find(
        "of a chain of four sigmoid units dC/db1 is the product of the slopes and of the weights between them",
        "largest relative deviation from automatic differentiation over the seeds at most 1e-10 (float64)",
        rules.exact(max(deviations), 0.0, 1e-10), published="Nielsen 2015, chapter 5",
    )  # fmt: skip
    z = np.linspace(-20, 20, 400_001)
    slope = 1 / (2 + np.exp(z) + np.exp(-z))
    largest = max(float(np.max(w * slope)) / w for w in WEIGHTS)
    run.find(
        "a factor abs(w sigma'(z)) is at most abs(w)/4: below 1/4 where abs(w) < 1",
        "largest factor over abs(w), over z in [-20, 20] and w from 0.5 to 14: 1/4 to 1e-9",
        rules.exact(largest, 0.25, 1e-9), published="1/4",
    )  # fmt: skip
    measured = np.array([np.sum(w * slope >= 1) * (z[1] - z[0]) / w for w in WEIGHTS])
    predicted = np.array([exploding_width(w) for w in WEIGHTS])
    run.find(
        "a factor of 1 or more needs abs(w) >= 4, and inputs from an interval no wider than 0.45",
        "largest distance of the measured width of that interval from the formula at most 1e-4, over w from 0.5 to 14",
        rules.exact(float(np.max(np.abs(measured - predicted))), 0.0, 1e-4),
        published="(2/w) ln(w (1 + sqrt(1 - 4/w)) / 2 - 1)", remark=f"widest: {measured.max():.3f}",
    )  # fmt: skip
    caption = (
        "Left: the factor abs(w sigma'(w a)) over the input a for some weights, and its bounds w/4: large weights "
        "saturate. Right: how wide the interval of inputs is in which the factor is at least 1."
    )
    run.figure("chain", chain_picture(measured), caption)


def exploding_width(w: float) -> float:
    """Width of the inputs a for which abs(w sigma'(w a + b)) >= 1; 0 below abs(w) = 4 (Nielsen 2015, chapter 5)."""
    return 0.0 if w < 4 else 2 / w * float(np.log(w * (1 + np.sqrt(1 - 4 / w)) / 2 - 1))


def _chain(weights: jax.Array, biases: jax.Array, x: jax.Array) -> jax.Array:
    for w, b in zip(weights, biases, strict=True):
        x = nn.sigmoid(w * x + b)
    return x


def chain_picture(widths: np.ndarray) -> Figure:
    """The factor over the input, and the width of its region above 1."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    a = np.linspace(-2, 2, 401)
    for i, w in enumerate((1, 4, 7, 14)):
        left.plot(a, w / (2 + np.exp(w * a) + np.exp(-w * a)), color=f"C{i}", label=f"w = {w}")
        left.axhline(w / 4, color=f"C{i}", linestyle=":", linewidth=0.8)
    left.axhline(1, color="black", linewidth=0.8)
    left.set(xlabel="input a (b = 0)", ylabel="abs(w sigma'(w a + b))")
    right.plot(WEIGHTS, widths, "o", label="measured")
    fine = np.linspace(0.5, 14, 400)
    right.plot(fine, [exploding_width(w) for w in fine], color="black", linewidth=0.8, label="formula")
    right.set(xlabel="abs(w)", ylabel="width of the inputs whose factor is >= 1")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
