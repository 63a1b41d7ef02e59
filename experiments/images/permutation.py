"""The permutation paradox (Fornax): pixels in another order are as easy for a perceptron, not for a convolution.

`python -m experiments permutation`                     on the embedded digits
`python -m experiments permutation --dataset mnist`     on MNIST
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.shifted_images import small_cnn
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from jaxdl.data import Examples, Splits, permute_pixels

STEPS, BATCH, CLASSES = 100, 50, 10
CLOSE, MARGIN, WORSE = 1e-4, 0.2, 0.5
PERMUTATION_KEY, OTHER_SEEDS = 2017, 1000
OPTIMIZERS: Mapping[str, Callable[[], optax.GradientTransformation]] = {
    "SGD": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.02, momentum=0.9),
    "Adam": lambda: optax.adam(0.001),
}


def run(run: Run) -> None:
    """Coupled starts first, then independent ones."""
    permuted, permutation = permute(run.splits)
    judge_coupled(run, permuted, permutation)
    judge_independent(run, permuted)


def permute(splits: Splits) -> tuple[Splits, np.ndarray]:
    """All splits with their pixels in one other order, and the permutation of the flattened pixels."""
    moved = [permute_pixels(jax.random.key(PERMUTATION_KEY), jnp.asarray(split.x)) for split in splits]
    parts = [Examples(np.asarray(x), split.y) for (x, _), split in zip(moved, splits, strict=True)]
    return Splits(*parts), np.asarray(moved[0][1])


def coupled(params: Any, permutation: np.ndarray) -> Any:
    """W'_0 = W_0 R^T: the rows of the first kernel (in, out) in the pixels' new order."""
    first = params["Dense_0"]
    return params | {"Dense_0": first | {"kernel": first["kernel"][permutation]}}


def objective(model: Any) -> Any:
    """Cross-entropy with accuracy."""
    return jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )


def judge_coupled(run: Run, permuted: Splits, permutation: np.ndarray) -> None:
    """T27: with W'_0 = W_0 R^T and the same batches the losses stay equal, and W'R = W."""
    networks = {"softmax regression": (CLASSES,), "MLP": (run.settings["width"][run.dataset], CLASSES)}
    apart, uncoupled, kernels = {}, {}, None
    for name, sizes in networks.items():
        model = jaxdl.as_model(jaxdl.models.MLP(sizes))
        for optimizer, make in OPTIMIZERS.items():
            tx = make()
            step = jaxdl.training.make_train_step(objective(model), tx)

            def trained(data: Examples, order: np.ndarray | None, step=step, model=model, tx=tx) -> Any:
                def init(key: jax.Array) -> jaxdl.training.TrainState:
                    params = model.init(key, data.x[:1])["params"]
                    params = params if order is None else coupled(params, order)
                    return jaxdl.training.make_state(params, tx, key=key)

                return jaxdl.training.run_many(
                    step, init, data, seeds=range(run.seeds), steps=STEPS, batch_size=BATCH, mode="vmap"
                )

            states, history = trained(run.splits.train, None)
            others, other = trained(permuted.train, permutation)
            kernel, turned = (np.asarray(each.params["Dense_0"]["kernel"]) for each in (states, others))
            restored = turned[:, np.argsort(permutation)]
            losses = np.abs(history.train["loss"] - other.train["loss"]).max(1)
            weights = np.abs(restored - kernel).reshape(run.seeds, -1).max(1)
            apart[name, optimizer] = np.maximum(losses, weights)
            if optimizer == "SGD":
                _, free = trained(permuted.train, None)
                uncoupled[name] = np.abs(history.train["loss"] - free.train["loss"]).max(1)
                kernels = kernels or (kernel[0], turned[0], restored[0])
            for seed in range(run.seeds):
                run.record(
                    quantity="coupled", network=name, optimizer=optimizer, seed=seed, losses_apart=float(losses[seed]),
                    weights_apart=float(weights[seed]),
                )  # fmt: skip
    rule = (
        f"largest difference of a loss, and of a weight of W'R - W, over {STEPS} steps and all seeds at most {CLOSE:g}"
    )
    for optimizer in OPTIMIZERS:
        worst = max(float(values.max()) for (_, each), values in apart.items() if each == optimizer)
        run.find(
            f"permuted pixels with W'_0 = W_0 R^T and the same batches: the same losses, and W'R = W ({optimizer})",
            rule, rules.exact(worst, 0.0, CLOSE), published="equal",
            remark="only the order of the sums differs" if optimizer == "SGD" else "",
        )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the same start W_0 for both, not turned with the pixels",
        "must fail: " + rule, rules.exact(min(float(v.min()) for v in uncoupled.values()), 0.0, CLOSE), control=True,
        remark="the batches are the same, the networks are not: 'exactly the same' needs the coupled start (S20)",
    )  # fmt: skip
    caption = (
        "First weights of softmax regression after training, one image a class: W on the images, W' on the permuted "
        "images, and W'R, its pixels put back."
    )
    run.figure("weights", picture(kernels, run.splits.train.x.shape[1:3]), caption)


def judge_independent(run: Run, permuted: Splits) -> None:
    """X36: accuracies of independent starts, as they are and permuted."""
    perceptrons = run.settings["perceptron_seeds"][run.dataset]
    epochs, width = run.settings["epochs"][run.dataset], run.settings["width"][run.dataset]
    networks = {
        "softmax regression": (jaxdl.models.MLP((CLASSES,)), perceptrons),
        "MLP": (jaxdl.models.MLP((width, CLASSES)), perceptrons),
        "CNN": (small_cnn(8, 16), run.seeds),
    }
    losses: dict[str, np.ndarray] = {}
    rows = []
    for name, (network, count) in networks.items():
        mode = "map" if name == "CNN" else "vmap"
        plain = accuracies(network, run.splits, range(count), epochs=epochs, mode=mode)
        moved = accuracies(network, permuted, range(OTHER_SEEDS, OTHER_SEEDS + count), epochs=epochs, mode=mode)
        losses[name] = plain - moved
        rows.append([name, f"{plain.mean():.2f} %", f"{moved.mean():.2f} %", f"{count}"])
        for seed in range(count):
            run.record(
                quantity="independent", network=name, seed=seed, percent=float(plain[seed]),
                percent_permuted=float(moved[seed]),
            )  # fmt: skip
    for name in ("softmax regression", "MLP"):
        run.find(
            f"{name}: the same test accuracy on permuted pixels, from independent starts",
            f"90 % interval of the mean difference within +-{MARGIN:g} points",
            rules.equivalent(losses[name], MARGIN, unit=" points"), published="E07: neither better nor worse",
            remark="equal in distribution: every initial weight is drawn alike",
        )  # fmt: skip
    rule = f"lower 95 % limit of the mean loss of test accuracy above {WORSE:g} points"
    run.find(
        "a convolutional network is worse on permuted pixels", rule,
        rules.exceeds(losses["CNN"], WORSE, unit=" points"), published="worse",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: softmax regression", "must fail: " + rule,
        rules.exceeds(losses["softmax regression"], WORSE, unit=" points"), control=True,
    )  # fmt: skip
    run.table("mean test accuracy", ["network", "pixels in order", "permuted", "seeds of each"], rows)


def accuracies(network: Any, splits: Splits, seeds: range, *, epochs: int, mode: Any) -> np.ndarray:
    """Test accuracy in percent after the last epoch, `(seeds,)`; nothing is chosen by it."""
    model, tx = jaxdl.as_model(network), optax.adam(0.002)
    _, history = jaxdl.training.run_many(
        jaxdl.training.make_train_step(objective(model), tx),
        lambda key: jaxdl.training.init_state(model, tx, splits.train.x[:1], key=key),
        splits.train, seeds=seeds, epochs=epochs, batch_size=BATCH, validation=splits.test, evaluate_every=epochs,
        mode=mode,
    )  # fmt: skip
    return 100 * history.validation["accuracy"][:, -1]


def picture(kernels: Any, shape: tuple[int, int]) -> Figure:
    """Three rows of images, one column a class."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    largest = float(np.abs(kernels[0]).max())
    for row, kernel, name in zip(figure.subplots(3, CLASSES), kernels, ("W", "W'", "W'R"), strict=True):
        for label, axis in enumerate(row):
            axis.imshow(kernel[:, label].reshape(shape), cmap="RdBu", vmin=-largest, vmax=largest)
            axis.set(xticks=[], yticks=[])
            if name == "W":
                axis.set_title(str(label), fontsize=9)
        row[0].set_ylabel(name, rotation=0, labelpad=14)
    return figure


_DEFAULT: Mapping[str, Any] = {
    "seeds": 5,
    "width": {"digits": 32, "mnist": 128},
    "epochs": {"digits": 20, "mnist": 2},
    "perceptron_seeds": {"digits": 400, "mnist": 10},
}

EXPERIMENT = Experiment(
    name="permutation",
    lecture="Fornax",
    claim="a perceptron learns as well from images whose pixels are permuted, W' = W R^T; a convolutional network does "
    "not",
    setup="One fixed permutation of the pixels. Coupled: softmax regression and an MLP with one hidden ReLU layer (32 "
    "units on digits, 128 on MNIST), 100 steps of SGD 0.1, momentum 0.02 and Adam 0.001 with batches of 50, the first "
    "kernel turned with the pixels. Independent: both, and a CNN of two 3 x 3 convolutions of 8 and 16 maps with "
    "max-pooling, Adam 0.002, 20 epochs on digits and 2 on MNIST, other seeds for the permuted images; test accuracy "
    "after the last epoch.",
    source="the lecture's puzzle; Goodfellow et al. 2013 (permuted MNIST)",
    seconds={"digits": 70, "mnist": 85},
    presets={
        "smoke": _DEFAULT | {"epochs": {"digits": 10, "mnist": 1}, "perceptron_seeds": {"digits": 30, "mnist": 5}},
        "default": _DEFAULT,
        "full": _DEFAULT
        | {"seeds": 10, "epochs": {"digits": 40, "mnist": 10}, "perceptron_seeds": {"digits": 400, "mnist": 20}},
    },
    run=run,
    rows=("X36",),
)
