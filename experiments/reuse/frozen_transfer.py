"""Convolutions learned on the digits 0 to 4, frozen, and dense layers trained on 5 to 9 (X19; Keras's example).

`python -m experiments frozen_transfer`                                      on the embedded digits
`python -m experiments frozen_transfer --dataset mnist`                      fewer images; some minutes
`python -m experiments frozen_transfer --dataset mnist --preset full`        the example as it is; minutes a seed
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.full_length import undecided
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from jaxdl import training
from jaxdl.data import Examples, Splits

CONVOLUTIONS = ("conv1/*", "conv2/*")
EPOCHS, BATCH = 5, {"digits": 32, "mnist": 128}
RANGES = {"old": (99.5, 99.9), "new": (98.7, 99.5)}
RANDOM_SEED = 1000  # convolutions that are not learned come from other draws than any learned ones


class Reached(NamedTuple):
    """Test accuracies in percent, `(seeds,)` each.

    Attributes:
      old: on 0 to 4, everything trained on them.
      new: on 5 to 9, the dense layers trained on.
      random: on 5 to 9, the same with convolutions that were never trained.
      untrained: on 5 to 9, of the network as it was learned on 0 to 4.
    """

    old: np.ndarray
    new: np.ndarray
    random: np.ndarray
    untrained: np.ndarray


def run(run: Run) -> None:
    """Trains both tasks from every seed, with learned and with random convolutions."""
    low, high = tasks(run)
    found, curves = train(run, low, high)
    for seed in range(run.seeds):
        run.record(
            quantity="accuracy", seed=seed, **{f"{k}_percent": float(v[seed]) for k, v in found._asdict().items()},
            **{f"{k}_loss": v[seed].tolist() for k, v in curves.items()},
        )  # fmt: skip
    judge(run, found)
    run.table(
        "test accuracy in percent",
        ["", "mean", "95 % interval"],
        [[name, *(f"{x:.2f}" for x in ends[:1]), f"{ends[1]:.2f} to {ends[2]:.2f}"] for name, ends in summary(found)],
    )
    run.figure(
        "frozen_transfer",
        picture(found, curves, run.dataset),
        "Left: test accuracies (dots: seeds). Right: training loss of the dense layers on 5 to 9 above convolutions "
        "learned on 0 to 4 and above random ones (mean over seeds and over an epoch).",
    )
    run.note(
        "How accuracy goes by the depth that is unfrozen is reported by the experiment transfer, which keeps "
        "validation images apart; here all training images are trained on, as in the example."
    )


def tasks(run: Run) -> tuple[Splits, Splits]:
    """0 to 4 and 5 to 9, labelled 0 to 4 both; training and validation images together, the first ones of them."""
    train, validation, test = run.splits
    whole = Examples(*(np.concatenate(pair) for pair in zip(train, validation, strict=True)))
    images = run.settings["images"][run.dataset]
    low, high = jaxdl.data.split_by_class(Splits(whole, validation, test), range(5))

    def first(task: Splits) -> Splits:
        return task._replace(train=Examples(*(part[:images] for part in task.train)))

    return first(low), first(high)


def network() -> jaxdl.models.SmallCNN:
    """Convolutions 3 x 3 of 32 and 32 maps, max-pooling, dropout 1/4, dense 128, dropout 1/2, five logits."""
    return jaxdl.models.SmallCNN(num_classes=5, features=(32, 32), kernel_init=jaxdl.initializers.glorot_uniform())


def train(run: Run, low: Splits, high: Splits) -> tuple[Reached, Mapping[str, np.ndarray]]:
    """Every seed, and the training losses on the new task `{arm: (seeds, steps)}`."""
    model, tx = network(), jaxdl.optimizers.adadelta(1.0, rho=0.95)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    frozen = jaxdl.optimizers.freeze(tx, where=list(CONVOLUTIONS))
    whole, dense = (training.make_train_step(objective, chain) for chain in (tx, frozen))
    options: Any = {"epochs": run.settings["epochs"][run.dataset], "batch_size": BATCH[run.dataset], "progress": False}

    def on(step: training.TrainStep, params: Any, task: Splits, key: jax.Array) -> tuple[Any, np.ndarray]:
        state = training.make_state(params, step.tx, key=key)
        state, history = training.fit(step, state, task.train, **options)
        return state, history.train["loss"]

    def accuracy(state: Any, task: Splits) -> float:
        return 100 * training.evaluate(objective, state, task.test)["accuracy"]

    rows, losses = [], {"learned": [], "random": []}
    for seed in range(run.seeds):
        start, old_key, new_key = jax.random.split(jax.random.key(seed), 3)
        params = model.init(start, low.train.x[:1])["params"]
        old, _ = on(whole, params, low, old_key)
        new, learned_loss = on(dense, old.params, high, new_key)
        # The same two tasks in the same order, so that the convolutions are all that differs.
        drawn = model.init(jax.random.key(RANDOM_SEED + seed), low.train.x[:1])["params"]
        first, _ = on(dense, drawn, low, old_key)
        random, random_loss = on(dense, first.params, high, new_key)
        rows.append((accuracy(old, low), accuracy(new, high), accuracy(random, high), accuracy(old, high)))
        losses["learned"].append(learned_loss)
        losses["random"].append(random_loss)
        print(f"  seed {seed}: 0-4 {rows[-1][0]:.2f} %, 5-9 {rows[-1][1]:.2f} %, random {rows[-1][2]:.2f} %")
    return Reached(*np.array(rows).T), {name: np.stack(values) for name, values in losses.items()}


def judge(run: Run, found: Reached) -> None:
    """X19."""
    if run.dataset == "mnist":
        published = {"old": "99.8 % (Keras example)", "new": "99.2 % (Keras example)"}
        what = {"old": "0 to 4, everything trained", "new": "5 to 9, convolutions frozen"}
        for name, (low, high) in RANGES.items():
            run.find(
                f"test accuracy on {what[name]}", f"mean over seeds in [{low:g}, {high:g}] %",
                full_length(run, rules.mean_within(getattr(found, name), low, high, unit=" %")),
                published=published[name], row="X19",
            )  # fmt: skip
    else:
        run.note("The published figures are for MNIST; on other data only the ordering is tested.")
    rule = "lower 95 % limit of the paired difference of test accuracies on 5 to 9 above 0 points"
    run.find(
        "frozen convolutions learned on 0 to 4 serve 5 to 9 better than frozen random ones", rule,
        rules.exceeds(found.new - found.random, 0.0, unit=" points"), row="X19",
        remark=f"random ones reach {found.random.mean():.2f} %",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the learned network without any training of its dense layers on 5 to 9",
        "must fail: " + rule, rules.exceeds(found.untrained - found.random, 0.0, unit=" points"), control=True,
    )  # fmt: skip


def full_length(run: Run, result: Result) -> Result:
    """Inconclusive on MNIST with fewer images or epochs than the example."""
    settings = {name: run.settings[name]["mnist"] for name in ("images", "epochs")}
    if settings["images"] is None and settings["epochs"] >= EPOCHS:
        return result
    detail = f"the example takes all images for {EPOCHS} epochs: use --preset full"
    return undecided(result, detail)


def summary(found: Reached) -> list[tuple[str, tuple[float, float, float]]]:
    """Names and intervals of the columns."""
    names = ("0-4", "5-9, learned convolutions", "5-9, random convolutions", "5-9, not trained on them")
    return [(name, training.mean_interval(values)) for name, values in zip(names, found, strict=True)]


def picture(found: Reached, curves: Mapping[str, np.ndarray], dataset: str) -> Figure:
    """Accuracies and losses."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, values in enumerate(found[:3]):
        left.plot(np.full(len(values), i), values, "o", alpha=0.6)
    names = ["0-4", "5-9, learned\nconvolutions", "5-9, random\nconvolutions"]
    left.set_xticks(range(3), names)
    left.set(ylabel=f"test accuracy on {dataset} (%)", xlim=(-0.5, 2.5))
    for name, losses in curves.items():
        bins = np.array_split(losses.mean(0), min(25, losses.shape[1]))
        right.plot(np.linspace(0, losses.shape[1], len(bins)), [part.mean() for part in bins], label=name)
    right.set(xlabel="step on 5-9", ylabel="training loss", yscale="log")
    right.legend(title="convolutions")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


EXPERIMENT = Experiment(
    name="frozen_transfer",
    lecture="Misra, lecture 3; McKay 2017; ECE521, lecture 10",
    claim="convolutions learned on the digits 0 to 4 serve for 5 to 9; only the dense layers have to learn again",
    setup="Keras's example: convolutions 3x3 of 32 and 32 maps with ReLU, max-pooling, dropout 1/4, dense 128, dropout "
    "1/2, Glorot uniform, Adadelta (rate 1, rho 0.95, epsilon 1e-6), batches of 128; 5 epochs on the digits 0 to 4 of "
    "all 60,000 training images, then 5 on 5 to 9 with the convolutions frozen, the dense layers going on from where "
    "they were. MNIST by default: the first 3,000 images of either half. Digits: batches of 32, 20 epochs. The control "
    "goes through both halves with random convolutions.",
    source="Keras, examples/mnist_transfer_cnn.py",
    seconds={"digits": 60, "mnist": 210},
    presets={
        "smoke": {"seeds": 5, "images": {"digits": 200, "mnist": 300}, "epochs": {"digits": 4, "mnist": 1}},
        "default": {"seeds": 5, "images": {"digits": None, "mnist": 3000}, "epochs": {"digits": 20, "mnist": EPOCHS}},
        "full": {"seeds": 5, "images": {"digits": None, "mnist": None}, "epochs": {"digits": 40, "mnist": EPOCHS}},
    },
    run=run,
    rows=("X19",),
)
