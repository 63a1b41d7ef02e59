"""Weight normalization (X30) and cosine normalization (X31): what is exact about them, and how they train.

`python -m experiments reparametrized`                    on the embedded digits
`python -m experiments reparametrized --dataset mnist`    a minute or two on two cores
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.training import reparametrized_networks as networks
from experiments.training.normalized_networks import NormalizedMLP
from experiments.training.reparametrized_networks import CAP, COSINE, WEIGHT, Curves
from jaxdl import layers

STANDARD, IDENTITY, INVARIANT = 1e-3, 1e-5, 1e-5
FIRST_BATCH, TUNING_SEED, UNITS, ALIGNED = 500, 1000, 50, 10
RATES = (0.03, 0.1, 0.3, 1.0)
ARMS = (WEIGHT, COSINE, "centred cosine", "batch norm", "layer norm", "none")


def run(run: Run) -> None:
    """The exact parts of both, then training curves beside batch and layer normalization."""
    judge_weight_norm(run)
    judge_cosine(run)
    trained = {arm: train_arm(run, arm) for arm in run.settings["arms"]}
    judge_cap(run)
    for arm, curves in trained.items():
        for seed in range(run.seeds):
            run.record(
                quantity="accuracy", arm=arm, seed=seed, rate=curves.rate, test_percent=float(curves.test[seed]),
                validation_percent=curves.validation[seed].tolist(),
            )  # fmt: skip
    run.table(
        "test accuracy in percent, mean over seeds, and the rate chosen on validation data",
        ["normalization", "test", "rate"],
        [[arm, f"{curves.test.mean():.2f}", f"{curves.rate:g}"] for arm, curves in trained.items()],
    )
    run.figure(
        "reparametrized",
        picture(trained, run.dataset),
        "Training loss (mean over seeds and over a hundredth of the steps) and validation accuracy, every arm at its "
        "own rate.",
    )
    run.note(
        "Training curves are reported without a target: the papers' own figures are for other networks and data, and "
        "their tables are not at hand."
    )


def judge_weight_norm(run: Run) -> None:
    """X30."""
    x, y = run.splits.train.x[:FIRST_BATCH], run.splits.train.y[:FIRST_BATCH]
    model = networks.weight_norm_network()
    standard: dict[str, list[float]] = {"started": [], "as flax starts": []}
    errors: dict[str, list[float]] = {"scale": [], "direction": [], "without projection": [], "dot": []}
    for seed in range(run.seeds):
        variables = model.init(jax.random.key(seed), x[:1], False)
        started = layers.start_weight_norm(model, variables, x)
        for name, params in (("started", started["params"]), ("as flax starts", variables["params"])):
            standard[name].append(off_standard(networks.first_pre_activations(params, x)))
        for name, value in networks.identity_errors(started["params"], x, y).items():
            errors[name].append(value)
        run.record(
            quantity="weight norm", seed=seed, off_standard=standard["started"][-1],
            **{name.replace(" ", "_"): values[-1] for name, values in errors.items()},
        )  # fmt: skip
    rule = (
        f"largest absolute mean, and deviation of a variance from 1, of any hidden unit over the {len(x)} images "
        f"of the first batch at most {STANDARD:g}, every seed"
    )
    run.find(
        "after the data-dependent start of weight normalization the pre-activations of the first batch have mean 0 and "
        "variance 1", rule, rules.exact(max(standard["started"]), 0.0, STANDARD), row="X30",
        published="Salimans and Kingma 2016, section 3",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: weight normalization as Flax starts it, with scales of 1",
        "must fail: " + rule, rules.exact(min(standard["as flax starts"]), 0.0, STANDARD), control=True,
    )  # fmt: skip
    rule = f"largest deviation from the identity over its largest entry at most {IDENTITY:g}, every layer and seed"
    run.find(
        "the gradients of scale and direction are dg = dw.v/|v| and dv = g/|v| dw - g dg/|v|^2 v", rule,
        rules.exact(max(*errors["scale"], *errors["direction"]), 0.0, IDENTITY), row="X30",
        published="Salimans and Kingma 2016, equation 3",
        remark=f"so dv is orthogonal to v: largest cosine {max(errors['dot']):.1g}",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: dv = g/|v| dw, without the projection", "must fail: " + rule,
        rules.exact(min(errors["without projection"]), 0.0, IDENTITY), control=True,
    )  # fmt: skip


def off_standard(pre_activations: list[np.ndarray]) -> float:
    """The largest absolute mean or deviation of a variance from 1 over all units."""
    return max(max(np.abs(z.mean(0)).max(), np.abs(z.var(0) - 1).max()) for z in pre_activations)


def judge_cosine(run: Run) -> None:
    """X31: range and invariance."""
    x = run.splits.train.x[:FIRST_BATCH].reshape(len(run.splits.train.x[:FIRST_BATCH]), -1)
    changes: dict[str, list[float]] = {"cosine": [], "dense": []}
    largest = []
    for seed in range(run.seeds):
        draws = np.random.RandomState(seed)
        of_x = np.exp(3 * draws.randn(len(x), 1)).astype(np.float32)
        of_w = np.exp(3 * draws.randn(1, UNITS)).astype(np.float32)
        model = layers.CosineDense(UNITS)
        # Images themselves and their negatives among the weights: 1 and -1 are reached, not passed by rounding.
        drawn = np.asarray(model.init(jax.random.key(seed), x)["params"]["kernel"])
        kernel = np.concatenate([x[:ALIGNED].T, -x[:ALIGNED].T, drawn[:, 2 * ALIGNED :]], axis=1)
        cosines = [
            np.asarray(model.apply({"params": {"kernel": kernel * w}}, x * a))
            for w, a in ((1.0, 1.0), (of_w, 1.0), (1.0, of_x))
        ]
        largest.append(float(np.abs(np.stack(cosines)).max()))
        changes["cosine"].append(max(float(np.abs(other - cosines[0]).max()) for other in cosines[1:]))
        products = [np.asarray(x @ kernel), np.asarray((x * of_x) @ kernel)]
        changes["dense"].append(float(np.abs(products[1] - products[0]).max()))
        run.record(quantity="cosine", seed=seed, largest=largest[-1], change=changes["cosine"][-1])
    run.find(
        "the output of cosine normalization lies in [-1, 1]",
        f"largest absolute output over {len(x)} images, {UNITS} units and all seeds at most 1 + {INVARIANT:g}",
        rules.exact(max(0.0, max(largest) - 1), 0.0, INVARIANT), row="X31",
        remark=f"the largest is 1 {max(largest) - 1:+.1g}: ten of the units are images, ten their negatives",
    )  # fmt: skip
    rule = f"largest change of an output, after factors exp(3 N(0, 1)) on each image, at most {INVARIANT:g}, every seed"
    run.find(
        "scaling a unit's weights or an image leaves it unchanged",
        f"largest change of an output, after factors exp(3 N(0, 1)) on each unit or image, at most {INVARIANT:g}, "
        "every seed",
        rules.exact(max(changes["cosine"]), 0.0, INVARIANT), row="X31",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the same for plain products", "must fail: " + rule,
        rules.exact(min(changes["dense"]), 0.0, INVARIANT), control=True,
    )  # fmt: skip


def judge_cap(run: Run) -> None:
    """X31: what an output layer of cosines can reach at best."""
    image = run.splits.train.x[:1].reshape(1, -1)
    best = np.concatenate([image.T, np.repeat(-image.T, networks.NUM_CLASSES - 1, axis=1)], axis=1)
    logits = layers.CosineDense(networks.NUM_CLASSES).apply({"params": {"kernel": best}}, image)
    run.find(
        f"an output layer of ten cosines gives no class more than e/(e + 9/e) = {CAP:.4f}, which it can reach",
        "softmax of the right class for weights x and, of the others, -x, within 1e-6",
        rules.exact(float(jax.nn.softmax(np.asarray(logits))[0, 0]), CAP, 1e-6), row="X31",
    )  # fmt: skip
    floors = {}
    for name, use_scale in (("cosines", False), ("scaled", True)):
        (curves,) = networks.train(
            networks.CosineOutput(use_scale), run.splits, rates=(0.3,), seeds=range(run.seeds), **options(run)
        )  # fmt: skip
        floors[name] = curves.loss.min(1)
    for seed in range(run.seeds):
        run.record(quantity="least loss", seed=seed, **{name: float(values[seed]) for name, values in floors.items()})
    rule = f"in every seed the least loss of a batch over all steps is at least -ln {CAP:.4f} = {-np.log(CAP):.4f}"
    run.find(
        "so its cross-entropy has a floor, however long it is trained", rule,
        rules.every_seed(floors["cosines"] >= -np.log(CAP) - 1e-5), row="X31",
        remark=f"least loss {floors['cosines'].min():.3f}; give it a learned factor",
    )  # fmt: skip
    run.find(
        f"negative control, the rule must fail: with a learned factor that starts at {networks.LOGIT:g}",
        "must fail: " + rule, rules.every_seed(floors["scaled"] >= -np.log(CAP) - 1e-5), control=True,
    )  # fmt: skip


def options(run: Run) -> dict[str, Any]:
    """Epochs and batch size."""
    return {name: run.settings[name][run.dataset] for name in ("epochs", "batch_size")}


def train_arm(run: Run, arm: str) -> Curves:
    """At the rate of the best last validation accuracy of one other seed."""
    model, start = NormalizedMLP(arm, num_steps=1), run.splits.train.x[:FIRST_BATCH] if arm == WEIGHT else None
    rates = run.settings["rates"]
    if len(rates) > 1:
        tuned = networks.train(model, run.splits, rates=rates, seeds=[TUNING_SEED], start=start, **options(run))
        rates = (max(tuned, key=lambda curves: curves.validation[0, -1]).rate,)
    (curves,) = networks.train(model, run.splits, rates=rates, seeds=range(run.seeds), start=start, **options(run))
    print(f"  {arm}: rate {curves.rate:g}, test {curves.test.mean():.2f} %")
    return curves


def picture(trained: Mapping[str, Curves], dataset: str) -> Figure:
    """Loss and accuracy."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (arm, curves) in enumerate(trained.items()):
        steps = curves.loss.shape[1]
        bins = np.array_split(curves.loss.mean(0), min(100, steps))
        left.plot(np.linspace(0, steps, len(bins)), [part.mean() for part in bins], color=f"C{i}", label=arm)
        epochs = np.arange(1, curves.validation.shape[1] + 1)
        right.plot(epochs, curves.validation.mean(0), color=f"C{i}", label=f"{arm} ({curves.rate:g})")
        low, high = curves.validation.min(0), curves.validation.max(0)
        right.fill_between(epochs, low, high, color=f"C{i}", alpha=0.15, linewidth=0)
    best = max(curves.validation.max() for curves in trained.values())
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel=f"validation accuracy on {dataset} (%)", ylim=(best - 8, best + 0.5))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    right.legend(fontsize=8, title="arm (rate)")
    return figure


EXPERIMENT = Experiment(
    name="reparametrized",
    lecture="Fornax 2017",
    claim="weight normalization separates length from direction, cosine normalization leaves directions alone",
    setup="two hidden layers of 100 ReLU and ten plain logits, softmax cross-entropy, plain descent at the best rate "
    "of a grid by the validation images and another seed, batches of 100 (digits: 32). Weight normalization starts "
    f"from {FIRST_BATCH} images. Output layers of cosines: below them 100 ReLU, descent 0.3.",
    source="Salimans and Kingma 2016; Luo et al. 2017 (definitions; no table of this set-up)",
    seconds={"digits": 40, "mnist": 120},
    presets={
        "smoke": {
            "seeds": 5,
            "epochs": {"digits": 4, "mnist": 1},
            "batch_size": {"digits": 32, "mnist": 100},
            "rates": (0.3,),
            "arms": (WEIGHT, COSINE),
        },
        "default": {
            "seeds": 5,
            "epochs": {"digits": 40, "mnist": 5},
            "batch_size": {"digits": 32, "mnist": 100},
            "rates": RATES,
            "arms": ARMS,
        },
        "full": {
            "seeds": 10,
            "epochs": {"digits": 100, "mnist": 30},
            "batch_size": {"digits": 32, "mnist": 100},
            "rates": RATES,
            "arms": ARMS,
        },
    },
    run=run,
    rows=("X30", "X31"),
)
