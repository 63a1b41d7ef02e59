"""With Sussillo and Abbott's factor the error signal's log-norm is an unbiased random walk over up to 1,000 layers.

`python -m experiments random_walk`    no training, no data; a minute or two on two cores
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from jaxdl import initializers

UNITS: Mapping[str, Callable[[jax.Array], jax.Array]] = {"linear": lambda x: x, "ReLU": jax.nn.relu}
INIT = {"linear": "linear", "ReLU": "relu"}
ERRORS, CHUNK = 3.0, 20


def run(run: Run) -> None:
    """Walks through every width, with the factor and without, and measures the step of one layer."""
    walks = {}
    for units in UNITS:
        for width, depth in run.settings["walks"]:
            log = walk(units, width, depth, seeds=run.seeds, draws=run.settings["draws"])
            walks[units, width, depth] = log
            judge_walk(run, units, width, depth, log)
            last = log[..., -1]
            print(f"  {units}, {depth} layers of {width}: mean {last.mean():.3g}, deviation {last.std():.3g}")
    width, depth = run.settings["walks"][0]
    plain = walk("linear", width, depth, seeds=run.seeds, draws=run.settings["draws"], factor=False)
    run.find(
        f"negative control, the rule must fail: {depth} linear layers of {width} without the factor keep the log-norm",
        f"must fail: |mean of ln(norm ratio)| at most {ERRORS:g} standard errors",
        unbiased(plain[..., -1].ravel()),
        control=True,
        remark=f"a drift of {-depth / (2 * width):.3g} in theory",
        row="X25",
    )
    judge_steps(run)
    run.figure(
        "random_walk",
        picture(walks, plain),
        "ln of the norm of the error signal that arrives, over the layers it went back through, one line a network; "
        "dashed: one and two of the theory's deviations. Grey: linear units without the factor.",
    )


def deviation(units: str, width: int, depth: int) -> float:
    """Of the log-norm after so many layers, in theory: sqrt(D / (2N)), and sqrt(5D / (N - 4)) / 2 of ReLU."""
    return float(np.sqrt(depth / (2 * width)) if units == "linear" else 0.5 * np.sqrt(5 * depth / (width - 4)))


def walk(units: str, width: int, depth: int, *, seeds: int, draws: int, factor: bool = True) -> np.ndarray:
    """ln of the error signal's norm after 0, ..., depth layers back, less its first value: `(seeds, draws, depth + 1)`.

    float32 suffices: with the factor neither signals nor errors leave it.
    """
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), draws))(jnp.arange(seeds)).reshape(-1)
    init = initializers.random_walk(INIT[units]) if factor else initializers.lecun_normal()
    found = [
        np.asarray(_walks(keys[i : i + CHUNK], UNITS[units], init, width, depth)) for i in range(0, len(keys), CHUNK)
    ]
    return np.concatenate(found).reshape(seeds, draws, depth + 1)


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _walks(keys: jax.Array, activation: Any, init: Any, width: int, depth: int) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        x_key, end_key, kernels_key = jax.random.split(key, 3)
        kernels_keys = jax.random.split(kernels_key, depth)

        def forward(x: jax.Array, key: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            kernel = init(key, (width, width))
            z = x @ kernel
            return activation(z), (z, kernel)

        _, (zs, kernels) = jax.lax.scan(forward, jax.random.normal(x_key, (width,)), kernels_keys)

        def backward(error: jax.Array, layer: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            z, kernel = layer
            error = kernel @ jax.vjp(activation, z)[1](error)[0]
            return error, jnp.log(jnp.linalg.norm(error))

        start = jax.random.normal(end_key, (width,))
        _, logs = jax.lax.scan(backward, start, (zs, kernels), reverse=True)
        first = jnp.log(jnp.linalg.norm(start))
        return jnp.concatenate([jnp.zeros(1), logs[::-1] - first])

    return jax.lax.map(one, keys)


def judge_walk(run: Run, units: str, width: int, depth: int, log: np.ndarray) -> None:
    """Mean and deviation of the log-norm after all layers."""
    last = log[..., -1]
    expected = deviation(units, width, depth)
    for seed in range(run.seeds):
        run.record(
            quantity="log_norm", units=units, width=width, depth=depth, seed=seed, mean=float(last[seed].mean()),
            deviation=float(last[seed].std(ddof=1)), drawn=last[seed].tolist(),
        )  # fmt: skip
    where = f"{units} units, {depth} layers of {width}"
    run.find(
        f"{where}: the log-norm of the error signal does not drift",
        f"|mean of ln(norm ratio)| over {last.size} networks at most {ERRORS:g} standard errors",
        unbiased(last.ravel()),
        published="0 (Sussillo and Abbott 2014; secondary)",
        row="X25",
    )
    run.find(
        f"{where}: it spreads by {expected:.3g}",
        f"deviation of {last.shape[1]} networks over the theory's, mean over seeds, in [0.9, 1.1]",
        rules.mean_within(last.std(1, ddof=1) / expected, 0.9, 1.1),
        published="sqrt(D/(2N)) (computed)" if units == "linear" else "sqrt(5D/(N - 4))/2 (secondary)",
        row="X25",
    )


def unbiased(values: np.ndarray) -> Result:
    """Whether the mean is within three of its standard errors of 0; false alarm 0.3 %."""
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    verdict = "PASS" if abs(mean) <= ERRORS * error else "FAIL"
    detail = f"{mean / error:.2f} standard errors of {len(values)} networks"
    return Result(verdict, f"{mean:.3g}", (mean - half, mean + half), detail)


def moments(units: str, width: int) -> tuple[float, float]:
    """Mean and variance of ln(|W d|^2 / |d|^2) of a layer of N(0, 1/N) weights, in theory (T50)."""
    if units == "linear":
        return -1 / width, 2 / width
    return float(-np.log(2) - 2.4 / (max(width, 6) - 2.4)), 5 / (max(width, 6) - 4)


@partial(jax.jit, static_argnums=(1, 2))
def _steps(key: jax.Array, units: str, width: int) -> jax.Array:
    kernel_key, error_key, mask_key = jax.random.split(key, 3)
    errors = jax.random.normal(error_key, (width, width))
    # The sign of a pre-activation does not depend on the error signal.
    open_units = jax.random.bernoulli(mask_key, 0.5, (width, width)) if units == "ReLU" else jnp.ones((width, width))
    kernel = initializers.lecun_normal()(kernel_key, (width, width))
    after = kernel @ (errors * open_units)
    return jnp.log(jnp.sum(jnp.square(after), 0) / jnp.sum(jnp.square(errors), 0))


def judge_steps(run: Run) -> None:
    """T50: mean and variance of one step, over many matrices with one error signal a unit."""
    names, means, targets, spreads = [], [], [], []
    for units in UNITS:
        for width in run.settings["step_widths"]:
            matrices = max(run.settings["steps"] // width, 10)
            keys = jax.random.split(jax.random.key(width), run.seeds * matrices)
            logs = np.asarray(jax.lax.map(lambda key, u=units, n=width: _steps(key, u, n), keys), np.float64)
            logs = logs.reshape(run.seeds, -1)
            mean, variance = moments(units, width)
            names += [f"mean, {units} {width}", f"variance, {units} {width}"]
            means += [logs.mean(1) / mean, logs.var(1, ddof=1) / variance]
            targets += [1.0, 1.0]
            spreads.append((units, width, logs.mean() * width, logs.var() * width))
    values = np.stack(means, 1)
    for seed in range(run.seeds):
        run.record(quantity="step_over_theory", seed=seed, **dict(zip(names, values[seed].tolist(), strict=True)))
    rule = "measured over the formula: 1 in the interval of the mean over seeds, jointly 95 %, widened by 0.05"
    run.find(
        "one step of the walk: mean and variance of ln(|W d|^2 / |d|^2) are the published formulas'",
        rule,
        rules.matches(values, np.array(targets), names, tolerance=0.05),
        published="-1/N, 2/N; -ln 2 - 2.4/(N - 2.4), 5/(N - 4) (secondary; 2/N computed)",
        row="X25",
    )
    printed = np.array([0.25 if name.startswith("variance, linear") else 1.0 for name in names])
    run.find(
        "negative control, the rule must fail: a variance of 1/(2N) for linear units, as a transcription prints",
        f"must fail: {rule}",
        rules.matches(values, printed, names, tolerance=0.05),
        control=True,
        remark="1/(2N) is the variance of the log of the norm, not of its square",
        row="X25",
    )


def picture(walks: Mapping[tuple[str, int, int], np.ndarray], plain: np.ndarray) -> Figure:
    """A panel for each network's shape."""
    columns = len(walks) // len(UNITS)
    figure = Figure(figsize=(4.2 * columns, 6.5), layout="constrained")
    panels = np.reshape(figure.subplots(len(UNITS), columns), -1)
    for i, (axis, ((units, width, depth), log)) in enumerate(zip(panels, walks.items(), strict=True)):
        layers = np.arange(depth + 1)
        if i == 0:
            axis.plot(layers, plain[0, :10].T, color="tab:gray", linewidth=0.5)
        axis.plot(layers, log[0, :40].T, linewidth=0.5, color="tab:blue", alpha=0.6)
        spread = np.array([deviation(units, width, int(d)) for d in layers])
        for times in (-2, -1, 1, 2):
            axis.plot(layers, times * spread, "k--", linewidth=0.8)
        axis.set(title=f"{units}, {width} units", xlabel="layers back", ylabel="ln(norm ratio)")
        axis.grid(alpha=0.3)
    return figure


EXPERIMENT = Experiment(
    name="random_walk",
    lecture="McKay 2017",
    claim="with Sussillo and Abbott's factor the log-norm of what is back-propagated is an unbiased random walk",
    setup="fully connected layers of equal width without training, weights N(0, omega^2 / N) with omega = exp(1/(2N)) "
    "for linear units and sqrt(2) exp(1.2/(N - 2.4)) for ReLU, biases 0, one normal input and one normal error signal "
    "a network; no data. Widths and depths: 50 x 1,000, 100 x 300, 200 x 50, 500 x 10, 80 networks for each of five "
    "seeds (full: 100, and 1,000 layers of each width). One step: error signals in matrices N(0, 1/N) of widths 50, "
    "100 and 300, some 100,000 a seed and width.",
    source="Sussillo and Abbott 2014 (formulas; secondary), the variance of linear units put right",
    seconds={"digits": 170, "mnist": 90},
    presets={
        "smoke": {"seeds": 5, "walks": ((20, 60), (40, 20)), "draws": 40, "step_widths": (50,), "steps": 10_000},
        "default": {
            "seeds": 5, "walks": ((50, 1000), (100, 300), (200, 50), (500, 10)), "draws": 80,
            "step_widths": (50, 100, 300), "steps": 100_000,
        },
        "full": {
            "seeds": 5, "walks": ((50, 1000), (100, 1000), (200, 1000), (500, 1000)), "draws": 100,
            "step_widths": (50, 100, 200, 300), "steps": 400_000,
        },
    },
    run=run,
    rows=("X25",),
    record="digits",
)  # fmt: skip
