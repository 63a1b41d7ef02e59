"""A straight line fitted by gradient descent and by mini-batch SGD, watched in the plane of its two parameters.

t = 1 + 2 x + noise of deviation 0.5, x uniform in [-1, 1]; the loss is the mean of (w0 + w1 x - t)^2 / 2.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.training.optimizer_path_figures import level_lines, trace
from experiments.training.surfaces import Surface
from jaxdl.data import Examples

EXAMPLES, SIZES = 128, (128, 8, 1)
WHOLE, BATCH, SINGLE = SIZES
EPOCHS, RATE = 120, 0.3
START, NEAR, FASTER = (-1.5, -1.5), 0.3, 2.0
SHOWN_EPOCHS = 20


def line_data(key: jax.Array, *, num: int = EXAMPLES) -> Examples:
    """Inputs `(num, 2)`, a column of ones and x; answers `(num,)`."""
    to_x, to_noise = jax.random.split(key)
    x = np.asarray(jax.random.uniform(to_x, (num,), minval=-1, maxval=1))
    answers = 1 + 2 * x + 0.5 * np.asarray(jax.random.normal(to_noise, (num,)))
    return Examples(np.stack([np.ones_like(x), x], 1), answers)


def minimum(data: Examples) -> np.ndarray:
    """The least-squares fit `(2,)`."""
    return np.linalg.lstsq(data.x.astype(np.float64), data.y.astype(np.float64))[0]


def objective(params: jax.Array, batch: Examples, *, model_state: Any, key: Any, train: bool) -> Any:
    """Half the squared error of every example."""
    x, t = batch
    return jnp.square(x @ params - t) / 2, jaxdl.training.Aux(model_state, {})


def line_paths(data: Examples, *, batch_size: int, rate: float, seeds: int, epochs: int) -> np.ndarray:
    """The parameters before every update, `(seeds, steps, 2)`; a seed is an order of the examples."""
    tx = optax.sgd(rate)
    step = jaxdl.training.make_train_step(objective, tx, measure=lambda moment: moment.params)
    _, history = jaxdl.training.run_many(
        step, lambda key: jaxdl.training.make_state(jnp.asarray(START), tx, key=key), data, seeds=range(seeds),
        epochs=epochs, batch_size=batch_size, mode="vmap",
    )  # fmt: skip
    return np.asarray(history.measures)


def passes_until_near(paths: np.ndarray, target: np.ndarray, *, batch_size: int) -> np.ndarray:
    """Passes over the data until a path is first within NEAR of the minimum, `(seeds,)`; infinite if it never is."""
    near = np.linalg.norm(paths - target, axis=-1) <= NEAR
    return np.where(near.any(-1), near.argmax(-1) * batch_size / EXAMPLES, np.inf)


def spread(paths: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean squared distance to the minimum over the second half of the run, `(seeds,)`."""
    return np.square(paths[:, paths.shape[1] // 2 :] - target).sum(-1).mean(-1)


def judge(run: Run) -> None:
    """Mini-batches come near the minimum in fewer passes, and then jump around it."""
    data = line_data(jax.random.key(0))
    target = minimum(data)
    found = {size: line_paths(data, batch_size=size, rate=RATE, seeds=run.seeds, epochs=EPOCHS) for size in SIZES}
    passes = {size: passes_until_near(paths, target, batch_size=size) for size, paths in found.items()}
    spreads = {size: spread(paths, target) for size, paths in found.items()}
    for seed in range(run.seeds):
        run.record(
            quantity="line", seed=seed, batch_sizes=list(SIZES), passes=[float(passes[size][seed]) for size in SIZES],
            squared_distance=[float(spreads[size][seed]) for size in SIZES],
        )  # fmt: skip
    rule = f"lower 95 % limit of the mean of ln(passes with {{}} / passes with {{}}) above ln {FASTER:g}"
    run.find(
        f"at the same rate batches of {BATCH} come near the minimum of a line's fit in less than 1/{FASTER:g} of the "
        "passes over the data that gradient descent takes",
        rule.format("the whole data set", f"batches of {BATCH}"),
        rules.exceeds(np.log(passes[WHOLE] / passes[BATCH]), float(np.log(FASTER))),
        remark=f"{passes[WHOLE].mean():.3g} against {passes[BATCH].mean():.3g} passes; the data are one draw",
    )
    small = RATE * BATCH / WHOLE
    slowed = line_paths(data, batch_size=BATCH, rate=small, seeds=run.seeds, epochs=EPOCHS)
    run.find(
        f"negative control, the rule must fail: at {BATCH}/{WHOLE} of the rate batches of {BATCH} still do",
        "must fail: " + rule.format("the whole data set", f"batches of {BATCH}"),
        rules.exceeds(
            np.log(passes[WHOLE] / passes_until_near(slowed, target, batch_size=BATCH)), float(np.log(FASTER))
        ),
        control=True,
    )
    run.find(
        f"SGD at a constant rate jumps around the minimum, wider with single examples than with batches of {BATCH}",
        f"lower 95 % limit of the mean of ln(squared distance with 1 / with {BATCH}) above 0, over the second half",
        rules.exceeds(np.log(spreads[SINGLE] / spreads[BATCH]), 0.0),
        remark="mean squared distances "
        + ", ".join(f"{spreads[size].mean():.2g} with batches of {size}" for size in SIZES),
    )
    shown = {size: paths[0, : SHOWN_EPOCHS * EXAMPLES // size] for size, paths in found.items()}
    run.figure(
        "line_paths",
        line_figure(data, shown),
        f"{SHOWN_EPOCHS} passes over {EXAMPLES} examples at the rate {RATE:g}: parameters before every update, level "
        "lines of the mean loss, the star its minimum.",
    )


def line_figure(data: Examples, paths: Mapping[int, np.ndarray]) -> Figure:
    """A panel for each batch size, `paths` being `{batch size: (steps, 2)}`."""
    inputs, answers, best = jnp.asarray(data.x), jnp.asarray(data.y), minimum(data)
    surface = Surface(
        "mean loss", "", lambda p: jnp.mean(jnp.square(inputs @ p - answers)) / 2, START, (0.0, 0.0),
        ((float(best[0]), float(best[1])),), (-3.0, 2.5, -2.0, 3.5),
    )  # fmt: skip
    figure = Figure(figsize=(4 * len(paths), 4.2), layout="constrained")
    for i, (axis, (size, path)) in enumerate(zip(figure.subplots(1, len(paths)), paths.items(), strict=True)):
        level_lines(axis, surface)
        trace(axis, path, f"C{i}")
        kind = "gradient descent, all examples" if size == len(data.y) else f"SGD, batches of {size}"
        axis.set(title=f"{kind}\n{len(path)} updates", xlabel="offset w0", ylabel="slope w1" if i == 0 else "")
    return figure
