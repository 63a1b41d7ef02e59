"""Layer against batch normalization where batches are small (X28; Ba, Kiros and Hinton 2016, section 6.6).

`python -m experiments layer_norm_batches`                    narrower networks on the embedded digits
`python -m experiments layer_norm_batches --dataset mnist`    narrower, fewer images and epochs; a minute or two
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.full_length import undecided
from experiments.harness import rules
from experiments.harness.claims import Experiment, Result, Run
from jaxdl import procedures, training
from jaxdl.data import Examples

SMALL, LARGE = 4, 128
RATE, MOMENTUM, MARGIN = 1e-3, 0.99, 0.4
PAPER_EPOCHS = 60
RECOMPUTED = 500  # batches from which statistics are taken anew
LAYER, BATCH, NONE = "layer norm", "batch norm", "none"
NORMALIZATIONS: Mapping[str, Any] = {
    LAYER: "layer",
    BATCH: partial(nn.BatchNorm, momentum=MOMENTUM, use_fast_variance=False),
    NONE: None,
}


class Trained(NamedTuple):
    """Of one arm and one batch size, in percent.

    Attributes:
      test: test error at the end, `(seeds,)`.
      recomputed: the same with statistics taken anew from training batches of that size; without any, `test`.
      curve: validation error, `(seeds, epochs)`.
    """

    test: np.ndarray
    recomputed: np.ndarray
    curve: np.ndarray


Outcomes = Mapping[tuple[str, int], Trained]


def run(run: Run) -> None:
    """Trains every arm with large and with small batches, and compares what the small ones cost."""
    found = {(arm, size): train(run, arm, size) for arm in NORMALIZATIONS for size in (LARGE, SMALL)}
    for (arm, size), trained in found.items():
        for seed in range(run.seeds):
            run.record(
                quantity="error", arm=arm, batch=size, seed=seed, test_percent=float(trained.test[seed]),
                recomputed_percent=float(trained.recomputed[seed]), validation_percent=trained.curve[seed].tolist(),
            )  # fmt: skip
    judge(run, found)
    run.table(
        "test error in percent, mean over seeds (with statistics taken anew)",
        ["normalization", f"batches of {LARGE}", f"batches of {SMALL}"],
        [
            [arm, *(f"{found[arm, n].test.mean():.2f} ({found[arm, n].recomputed.mean():.2f})" for n in (LARGE, SMALL))]
            for arm in NORMALIZATIONS
        ],
    )
    run.figure(
        "layer_norm",
        picture(found, run.dataset),
        "Validation error over the epochs, mean and range over the seeds, with large and with small batches.",
    )
    run.note(
        "With as many epochs small batches make more updates, which alone changes the error: so the ordering is one "
        "of differences. The experiment normalization has batch renormalization in batches of 4."
    )


def sizes_of(run: Run) -> tuple[int, int, Mapping[int, int]]:
    """Images, width, and epochs by batch size."""
    settings = {name: run.settings[name][run.dataset] for name in ("images", "width", "epochs")}
    return min(settings["images"], len(run.splits.train.y)), settings["width"], settings["epochs"]


def train(run: Run, arm: str, size: int) -> Trained:
    """All seeds of an arm as one program."""
    images, width, epochs = sizes_of(run)
    data, (_, validation, test) = Examples(*(part[:images] for part in run.splits.train)), run.splits
    model, tx = network(arm, width), optax.adam(RATE)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    states, history = training.run_many(
        training.make_train_step(objective, tx),
        lambda key: training.init_state(model, tx, data.x[:1], key=key), data, seeds=range(run.seeds),
        epochs=epochs[size], batch_size=size, validation=validation, mode="vmap", progress=False,
    )  # fmt: skip
    members = [training.member(states, i) for i in range(run.seeds)]
    errors = error(objective, members, test)
    fresh = (
        errors
        if arm != BATCH
        else error(objective, [with_statistics(model, one, data.x, size) for one in members], test)
    )
    return Trained(errors, fresh, 100 * (1 - np.asarray(history.validation["accuracy"])))


def network(arm: str, width: int) -> jaxdl.models.MLP:
    """Two hidden layers of ReLU, normalized before it, and ten logits, which are not normalized."""
    return jaxdl.models.MLP((width, width, 10), normalization=NORMALIZATIONS[arm])


def error(objective: Any, members: list[Any], data: Examples) -> np.ndarray:
    """In percent, of every member."""
    return np.array([100 * (1 - training.evaluate(objective, member, data)["accuracy"]) for member in members])


def with_statistics(model: Any, state: Any, x: np.ndarray, size: int) -> Any:
    """The state with means and variances averaged over training batches of that size."""
    variables = {"params": state.params, **state.model_state}
    chosen = x[: min(RECOMPUTED * size, len(x) // size * size)]
    return procedures.as_state(procedures.recompute_statistics(model, variables, chosen, batch_size=size))


def judge(run: Run, found: Outcomes) -> None:
    """X28."""
    lost = {arm: found[arm, SMALL].test - found[arm, LARGE].test for arm in NORMALIZATIONS}
    excess = lost[BATCH] - lost[LAYER]
    again = found[BATCH, SMALL].recomputed - found[BATCH, LARGE].recomputed
    run.find(
        f"batches of {SMALL} in place of {LARGE} cost batch normalization more than layer normalization",
        "lower 95 % limit, paired by seed, of the difference of the two differences of test error above 0 points",
        rules.exceeds(excess, 0.0, unit=" points"), published="curves only", row="X28",
        remark=f"differences of {lost[BATCH].mean():.2f} and {lost[LAYER].mean():.2f} points; of batch normalization "
        f"{again.mean():.2f} where its statistics are taken anew from {RECOMPUTED} batches of the size",
    )  # fmt: skip
    run.find(
        f"layer normalization is as good with batches of {SMALL} as with {LARGE}",
        f"90 % interval of the paired difference of test error within +-{MARGIN:g} points",
        full_length(run, rules.equivalent(lost[LAYER], MARGIN, unit=" points")), published="curves only", row="X28",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: a network without normalization in the place of that with batch "
        "normalization",
        "must fail: lower 95 % limit of the difference of differences above batch normalization's mean",
        rules.exceeds(lost[NONE] - lost[LAYER], excess.mean(), unit=" points"), control=True,
    )  # fmt: skip


def full_length(run: Run, result: Result) -> Result:
    """Inconclusive for a run that ends before networks with large batches are trained to the end, as the paper's."""
    _, _, epochs = sizes_of(run)
    if min(epochs.values()) < PAPER_EPOCHS:
        detail = f"the paper trains both for {PAPER_EPOCHS} epochs; this run is shorter: use --preset full"
        return undecided(result, detail)
    return result


def picture(found: Outcomes, dataset: str) -> Figure:
    """One panel a batch size."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axis, size in zip(figure.subplots(1, 2, sharey=True), (LARGE, SMALL), strict=True):
        for i, arm in enumerate(NORMALIZATIONS):
            curve = found[arm, size].curve
            epochs = np.arange(1, curve.shape[1] + 1)
            axis.plot(epochs, curve.mean(0), color=f"C{i}", label=arm)
            axis.fill_between(epochs, curve.min(0), curve.max(0), color=f"C{i}", alpha=0.2, linewidth=0)
        axis.set(xlabel="epoch", ylabel=f"validation error on {dataset} (%)", title=f"batches of {size}", yscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    return figure


EXPERIMENT = Experiment(
    name="layer_norm_batches",
    lecture="Fornax 2017",
    claim="layer normalization does not mind the size of a batch; batch normalization suffers with batches of 4",
    setup="two hidden layers of ReLU, normalized before it (gain 1 and bias 0 at the start), ten logits that are not, "
    "Adam 1e-3, pixels in [0, 1], running statistics of momentum 0.99, test error after the last epoch. The paper, and "
    "the full preset: 1,000 units a layer, all training images, batches of 128 and of 4, 60 epochs. MNIST by default: "
    "128 units, 10,000 images, 16 epochs of large batches and 4 of small ones. Digits: 64 units, 60 and 20 epochs.",
    source="Ba, Kiros and Hinton 2016, figure 6 (curves only)",
    seconds={"digits": 60, "mnist": 50},
    presets={
        "smoke": {
            "seeds": 5,
            "images": {"digits": 1197, "mnist": 1000},
            "width": {"digits": 32, "mnist": 32},
            "epochs": {"digits": {LARGE: 30, SMALL: 3}, "mnist": {LARGE: 4, SMALL: 1}},
        },
        "default": {
            "seeds": 5,
            "images": {"digits": 1197, "mnist": 10_000},
            "width": {"digits": 64, "mnist": 128},
            "epochs": {"digits": {LARGE: 60, SMALL: 20}, "mnist": {LARGE: 16, SMALL: 4}},
        },
        "full": {
            "seeds": 5,
            "images": {"digits": 1197, "mnist": 50_000},
            "width": {"digits": 64, "mnist": 1000},
            "epochs": {"digits": {LARGE: 60, SMALL: 60}, "mnist": {LARGE: PAPER_EPOCHS, SMALL: PAPER_EPOCHS}},
        },
    },
    run=run,
    rows=("X28",),
)
