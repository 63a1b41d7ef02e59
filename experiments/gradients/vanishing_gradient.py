"""The gradient vanishes towards the input of a deep sigmoid network (Nielsen 2015, chapter 5).

`python -m experiments vanishing_gradient`                    the lectures' picture on the embedded digits
`python -m experiments vanishing_gradient --dataset mnist`    against the published figures; about a minute on two cores
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from experiments.building_blocks import book
from experiments.building_blocks.full_length import undecided
from experiments.gradients import vanishing_figures
from experiments.gradients.vanishing_published import BANDS, GEOMETRIC_MEANS, LATE_RATIO, MEDIAN_RATIOS, STORED
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run

DEPTHS = (2, 3, 4)
IMAGES = 1000
SHRINK = 2.0  # per layer; the lectures' curves show about five


def run(run: Run) -> None:
    """Norms at the start, learning-speed curves, the chain formula, and the control."""
    train = run.splits.train
    batch = (train.x[:IMAGES], train.y[:IMAGES])
    num_starts = max(run.seeds, run.settings["starts"])
    starts = {d: start_norms(book.network(d), batch, num_starts) for d in (1, *DEPTHS)}
    control = start_norms(book.relu_he_network(DEPTHS[-1]), batch, num_starts)
    epochs = run.settings["epochs"]
    curves = {d: learning_curves(book.network(d), batch, run.seeds, epochs) for d in DEPTHS}
    control_curves = learning_curves(book.relu_he_network(DEPTHS[-1]), batch, run.seeds, epochs)
    for d, norms in starts.items():
        for seed, row in enumerate(norms):
            run.record(quantity="start_norms", hidden_layers=d, seed=seed, norms=row.tolist())
    for d, norms in curves.items():
        for seed, curve in enumerate(norms):
            run.record(quantity="curve", hidden_layers=d, seed=seed, norms=curve[::10].tolist(), every_epochs=10)
    judge_order(run, starts)
    if run.dataset == "mnist":
        judge_published_starts(run, starts)
    judge_curves(run, curves)
    judge_chain(run)
    judge_control(run, control, control_curves)
    draw(run, starts, control, curves)
    model, tx = book.network(4), optax.sgd(book.ETA)
    params = book.starter(model, tx, batch[0])(jax.random.key(0)).params
    flow = jaxdl.diagnostics.gradient_flow(book.objective(model), params, batch, tx=tx)
    run.figure("gradient_flow", flow.plot(), "gradient_flow of the start with four hidden layers, seed 0.")
    run.note(f"gradient_flow on four hidden layers, seed 0: {flow.verdict()}.")


def draw(run: Run, starts: dict[int, np.ndarray], control: np.ndarray, curves: dict[int, np.ndarray]) -> None:
    """The two pictures of the book, with every seed in them."""
    run.figure(
        "start_norms",
        vanishing_figures.start_norms(starts, control, run.dataset),
        "Norm of the error signal of each hidden layer before training: every dot a random start, the line their "
        "median.",
    )
    run.figure(
        "learning_speed",
        vanishing_figures.learning_speed(curves, STORED if run.dataset == "mnist" else {}),
        "Norm of the error signal during full-batch training, median and range over the seeds"
        + ("; crosses: the book's stored run." if run.dataset == "mnist" else "."),
    )


def start_norms(model: Any, batch: Any, num_starts: int) -> np.ndarray:
    """Error signals of the hidden layers `(starts, hidden layers)` for the seeds 0, 1, ..."""
    objective, init = book.objective(model), book.starter(model, optax.sgd(book.ETA), batch[0])

    def norms(key: jax.Array) -> jax.Array:
        return jaxdl.diagnostics.gradient_flow(objective, init(key).params, batch).error_signal

    keys = jax.vmap(jax.random.key)(jnp.arange(num_starts))
    return np.asarray(jax.jit(jax.vmap(norms))(keys), np.float64)[:, :-1]


def learning_curves(model: Any, batch: Any, seeds: int, epochs: int) -> np.ndarray:
    """Error signals `(seeds, epochs, hidden layers)` before each full-batch update."""
    tx = book.descent(len(batch[0]))
    step = jaxdl.training.make_train_step(book.objective(model), tx, measure=jaxdl.diagnostics.measure_gradient_flow)
    _, history = jaxdl.training.run_many(
        step, book.starter(model, tx, batch[0]), batch, seeds=range(seeds), epochs=epochs, batch_size=len(batch[0]),
        mode="vmap", shuffle=False,
    )  # fmt: skip
    return np.asarray(history.measures.error_signal, np.float64)[..., :-1]


def judge_order(run: Run, starts: dict[int, np.ndarray]) -> None:
    """At the start: strict order, and the factor a layer."""
    for d in DEPTHS:
        norms = starts[d]
        run.find(
            f"{d} hidden layers, start: each layer's error signal is larger than that of the layer before it",
            "in every seed",
            rules.every_seed(np.all(np.diff(norms, axis=1) > 0, axis=1)),
            row="X01",
        )
        run.find(
            f"{d} hidden layers, start: the error signal shrinks by more than {SHRINK:g} a layer towards the input",
            f"lower 95 % limit of the mean factor above {SHRINK:g}",
            rules.exceeds(factor_per_layer(norms), SHRINK),
            row="X01",
        )


def factor_per_layer(norms: np.ndarray) -> np.ndarray:
    """Geometric mean of the factor between neighbouring layers, `(seeds,)`."""
    return (norms[:, -1] / norms[:, 0]) ** (1 / (norms.shape[1] - 1))


def listed(values: Iterable[float]) -> str:
    """Numbers with commas between."""
    return ", ".join(f"{value:g}" for value in values)


def judge_published_starts(run: Run, starts: dict[int, np.ndarray]) -> None:
    """X01: bands of 200 sampled starts, and the medians of the ratio of last to first."""
    for d, band in BANDS.items():
        run.find(
            f"{d} hidden layer{'s' if d > 1 else ''}, start: the norms are those of the book's network",
            "80 % of seeds between p5 and p95 of the reference, mean within 3 sd/sqrt(n)",
            rules.in_bands(starts[d], np.asarray(band), [f"layer {i + 1}" for i in range(d)]),
            published=f"sampled means {listed(row[0] for row in band)}"
            + (f"; the book's run {listed(STORED[d][0])}" if d in STORED else ""),
            row="X01",
        )
    for d, (low, high, published) in MEDIAN_RATIOS.items():
        run.find(
            f"{d} hidden layers, start: ratio of last to first layer",
            f"median in [{low:g}, {high:g}]",
            rules.median_within(starts[d][:, -1] / starts[d][:, 0], low, high),
            published=f"{published:g} (one run)",
            row="X01",
        )


def judge_curves(run: Run, curves: dict[int, np.ndarray]) -> None:
    """X02: during training the early layers stay slower; with two hidden layers not at every epoch."""
    for d in DEPTHS[1:]:
        ratio = curves[d][..., -1] / curves[d][..., 0]
        run.find(
            f"{d} hidden layers, training: the first layer learns more slowly than the last at every epoch",
            f"ratio above 1 at all {ratio.shape[1]} epochs, in every seed",
            rules.every_seed(np.all(ratio > 1, axis=1)),
            row="X02",
        )
    for d in DEPTHS:
        ratio = curves[d][..., -1] / curves[d][..., 0]
        mean_ratio = np.exp(np.log(ratio).mean(1))
        claim = f"{d} hidden layers, training: geometric mean over the epochs of the ratio of last to first layer"
        if run.dataset == "mnist":
            low, high, published = GEOMETRIC_MEANS[d]
            result = needs(run, 10, rules.mean_within(mean_ratio, low, high))
            run.find(
                claim,
                f"mean over seeds in [{low:g}, {high:g}]",
                result,
                published=f"{published:g} (one run)",
                row="X02",
            )
        else:
            run.find(claim, "lower 95 % limit above 1", rules.exceeds(mean_ratio, 1.0), row="X02")
    two = curves[2]
    dips = np.any(two[..., -1] / two[..., 0] < 1, axis=1)
    run.note(
        f"Two hidden layers are the honest exception: at some epoch the first layer learned FASTER than the second in "
        f"{int(dips.sum())} of {len(dips)} seeds, so 'always slower' is not a general law there."
    )
    if run.dataset == "mnist" and curves[4].shape[1] >= 500:
        late = curves[4][:, 499, -1] / curves[4][:, 499, 0]
        low, high, published = LATE_RATIO
        run.find(
            "4 hidden layers, after 499 epochs: the first layer learns about 100 times more slowly than the last",
            f"mean ratio in [{low:g}, {high:g}]",
            needs(run, 10, rules.mean_within(late, low, high)),
            published=f"{published:g} (one run)",
            row="X02",
        )
        fall = (two[:, :1] / two[:, :100].min(1, keepdims=True))[:, 0]
        rebound = two[:, 499, 0] / two[..., 0].min(1)
        run.find(
            "2 hidden layers, training: both norms collapse and the first layer's then recovers",
            "in every seed: both fall 40-fold within 100 epochs, the first rebounds 2.5-fold by epoch 499",
            rules.every_seed(np.all(fall >= 40, axis=1) & (rebound >= 2.5)),
            remark=f"smallest fall {fall.min():.0f}-fold, smallest rebound {rebound.min():.1f}-fold",
            row="X02",
        )


def needs(run: Run, seeds: int, result: Result) -> Result:
    """The result, or none where the rule asks for more seeds than there are."""
    if run.seeds >= seeds:
        return result
    return undecided(result, f"the rule needs {seeds} seeds, got {run.seeds}")


def judge_chain(run: Run) -> None:
    """One neuron a layer: dC/db1 is the product the lectures print, against automatic differentiation."""
    worst = float(np.max([chain_error(seed) for seed in range(100)]))  # np.max lets a NaN through, max may not
    run.find(
        "one neuron per layer, error of the formula dC/db1 = s'(z1) w2 s'(z2) w3 s'(z3) w4 s'(z4) dC/da4",
        "largest relative error over 100 random nets at most 1e-5",
        rules.exact(worst, 0.0, 1e-5),
        row="X04",
    )


def chain_error(seed: int) -> float:
    """Relative difference between the printed product (NumPy, float64) and `jax.grad` (float32)."""
    draws = np.random.RandomState(seed)
    weights, biases, x = draws.randn(4), draws.randn(4), draws.rand()

    def cost(biases: jax.Array) -> jax.Array:
        activation = jnp.asarray(x, jnp.float32)
        for w, b in zip(jnp.asarray(weights, jnp.float32), biases, strict=True):
            activation = jax.nn.sigmoid(w * activation + b)
        return 0.5 * jnp.square(activation - 1.0)

    automatic = float(jax.grad(cost)(jnp.asarray(biases, jnp.float32))[0])
    activation, product = x, 1.0
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        sigmoid = 1 / (1 + np.exp(-(w * activation + b)))
        product *= sigmoid * (1 - sigmoid) * (w if layer else 1.0)
        activation = sigmoid
    printed = product * (activation - 1.0)
    return abs(automatic - printed) / abs(printed)


def judge_control(run: Run, norms: np.ndarray, curves: np.ndarray) -> None:
    """ReLU with He's initialization: every kind of rule that the sigmoid nets pass has to fail."""
    rules_that_must_fail = {
        "start: each layer's error signal is larger than that of the layer before it": (
            "in every seed",
            rules.every_seed(np.all(np.diff(norms, axis=1) > 0, axis=1)),
        ),
        f"start: the error signal shrinks by more than {SHRINK:g} a layer": (
            f"lower 95 % limit of the mean factor above {SHRINK:g}",
            rules.exceeds(factor_per_layer(norms), SHRINK),
        ),
        "training: the first layer learns more slowly than the last at every epoch": (
            "ratio above 1 at all epochs, in every seed",
            rules.every_seed(np.all(curves[..., -1] / curves[..., 0] > 1, axis=1)),
        ),
    }
    for claim, (rule, result) in rules_that_must_fail.items():
        run.find(
            f"negative control, the rule must fail: ReLU + He, {norms.shape[1]} hidden layers, {claim}",
            f"must fail: {rule}",
            result,
            control=True,
            remark="the gradient does not vanish here"
            if result.verdict == "FAIL"
            else "the rule should have failed here",
            row="X01",
        )


EXPERIMENT = Experiment(
    name="vanishing_gradient",
    lecture="McKay 2017; Allauzen, Deep learning basics 2; Misra, lecture 3",
    claim="in deep sigmoid nets the gradient shrinks several-fold a layer towards the input: early layers learn slowly",
    setup="Nets of 2, 3 and 4 hidden layers of 30 sigmoids and ten sigmoid outputs with cross-entropy, weights "
    "N(0, 1/fan_in), biases N(0, 1); the first 1,000 training images; full-batch gradient descent with eta 0.1 and "
    "lambda 5. Error signal: Euclidean norm over the units of the mean over the images of dC/db, before each update.",
    source="Nielsen, Neural Networks and Deep Learning (2015), chapter 5, and 200 sampled starts",
    seconds={"digits": 30, "mnist": 30},
    presets={
        "smoke": {"seeds": 5, "starts": 5, "epochs": 20},
        "default": {"seeds": 20, "starts": 50, "epochs": 500},
        "full": {"seeds": 20, "starts": 200, "epochs": 500},
    },
    run=run,
    rows=("X01", "X02", "X04"),
)
