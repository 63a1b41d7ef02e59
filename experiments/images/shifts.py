"""Moved images (Fornax, McKay): a perceptron is lost, a convolutional network less so, and neither is invariant.

`python -m experiments shifts`                     on the embedded digits
`python -m experiments shifts --dataset mnist`     on MNIST
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from matplotlib.figure import Figure

import jaxdl
from experiments.building_blocks.shifted_images import shifted, small_cnn
from experiments.harness import rules
from experiments.harness.claims import Experiment, Run
from experiments.images.permutation import objective
from jaxdl.data import Examples
from jaxdl.training import mean_interval

SIDE, MAPS, CLOSE = 12, 4, 1e-5
GAIN, LOST = 5.0, 5.0
NEAR = {"digits": 1, "mnist": 3}


def run(run: Run) -> None:
    """What holds exactly, then accuracies."""
    judge_equivariance(run)
    judge_shifts(run)


class Circular(nn.Module):
    """Two convolutions whose edges meet; with `pooled` the mean over all positions, and a linear layer."""

    pooled: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(batch, H, W, MAPS)`, or logits."""
        for _ in range(2):
            x = nn.tanh(nn.Conv(MAPS, (3, 3), padding="CIRCULAR")(x))
        return nn.Dense(10)(x.mean((1, 2))) if self.pooled else x


class Dense(nn.Module):
    """A perceptron from images to maps of the same size."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `(batch, H, W, MAPS)`."""
        outputs = nn.tanh(nn.Dense(SIDE * SIDE * MAPS)(x.reshape(len(x), -1)))
        return outputs.reshape(*x.shape[:3], MAPS)


def judge_equivariance(run: Run) -> None:
    """S09: convolutions move with the image; only the mean over the positions stays."""
    worst: dict[str, list[float]] = {"convolution": [], "pooled": [], "unpooled, not moved back": [], "perceptron": []}
    for seed in range(run.seeds):
        x = jax.random.normal(jax.random.key(100 + seed), (4, SIDE, SIDE, 1))
        for name, module in {
            "convolution": Circular(), "pooled": Circular(pooled=True), "unpooled, not moved back": Circular(),
            "perceptron": Dense(),
        }.items():  # fmt: skip
            variables = module.init(jax.random.key(seed), x)
            outputs = module.apply(variables, x)
            moved = module.apply(variables, shifted(x, 3, edge="circular"))
            carried = shifted(outputs, 3, edge="circular") if name in ("convolution", "perceptron") else outputs
            worst[name].append(float(jnp.max(jnp.abs(moved - carried))))
        run.record(quantity="equivariance", seed=seed, **{name: values[-1] for name, values in worst.items()})
    rule = f"largest deviation over all outputs and seeds, inputs moved by 3 pixels, at most {CLOSE:g}"
    run.find(
        "convolutions with edges that meet are equivariant: of a moved image they give the moved maps",
        rule, rules.exact(max(worst["convolution"]), 0.0, CLOSE), published="S09: equivariant, not invariant",
    )  # fmt: skip
    run.find("the mean over all positions makes that invariant", rule, rules.exact(max(worst["pooled"]), 0.0, CLOSE))
    run.find(
        "negative control, the rule must fail: the maps of the convolutions themselves are invariant",
        "must fail: " + rule, rules.exact(min(worst["unpooled, not moved back"]), 0.0, CLOSE), control=True,
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: a perceptron from images to maps is equivariant",
        "must fail: " + rule, rules.exact(min(worst["perceptron"]), 0.0, CLOSE), control=True,
    )  # fmt: skip


def judge_shifts(run: Run) -> None:
    """T28: test accuracy against how far the images are moved."""
    furthest = run.settings["furthest"][run.dataset]
    pixels = range(-furthest, furthest + 1)
    networks = {"MLP": jaxdl.models.MLP((run.settings["width"], 10)), "CNN": small_cnn(8, 16)}
    found = {name: accuracy_by_shift(run, network, pixels) for name, network in networks.items()}
    for name, rows in found.items():
        for seed, row in enumerate(rows):
            run.record(quantity="accuracy_by_shift", network=name, seed=seed, pixels=list(pixels), percent=row.tolist())
    by_distance = {
        name: {k: (rows[:, furthest - k] + rows[:, furthest + k]) / 2 for k in range(furthest + 1)}
        for name, rows in found.items()
    }
    near = NEAR[run.dataset]
    some = f"{near} pixel{'s' * (near > 1)}"
    rule = f"CNN less MLP, same seeds: lower 95 % limit of the mean above {GAIN:g} points"
    run.find(
        f"test images moved by {some} to the left or right: a CNN keeps more of its accuracy than an MLP",
        rule, rules.exceeds(by_distance["CNN"][near] - by_distance["MLP"][near], GAIN, unit=" points"),
        published="the perceptron ignores spatial structure",
    )  # fmt: skip
    run.find(
        "negative control, the rule must fail: the images where they are", "must fail: " + rule,
        rules.exceeds(by_distance["CNN"][0] - by_distance["MLP"][0], GAIN, unit=" points"), control=True,
        remark="so it is the shift, and no better network",
    )  # fmt: skip
    for name in networks:
        run.find(
            f"moved by {furthest} pixels the {name} has lost accuracy: it is not invariant",
            f"lower 95 % limit of the mean loss above {LOST:g} points",
            rules.exceeds(by_distance[name][0] - by_distance[name][furthest], LOST, unit=" points"),
            remark="S09: pooling gives invariance to small shifts only, and about" if name == "CNN" else "",
        )  # fmt: skip
    run.table(
        "mean test accuracy by distance, both ways",
        ["network", *(f"{k}" for k in range(furthest + 1))],
        [[name, *(f"{values.mean():.1f} %" for values in rows.values())] for name, rows in by_distance.items()],
    )
    caption = (
        "Test accuracy against the shift, mean and its 95 % interval over the seeds; above, one image as it is moved."
    )
    run.figure("shifts", picture(found, pixels, run.splits.test.x[0]), caption)


def accuracy_by_shift(run: Run, network: Any, pixels: Sequence[int]) -> np.ndarray:
    """Test accuracy in percent, `(seeds, shifts)`, of networks trained on images where they are."""
    splits, model, tx = run.splits, jaxdl.as_model(network), optax.adam(0.002)
    loss = objective(model)
    states, _ = jaxdl.training.run_many(
        jaxdl.training.make_train_step(loss, tx),
        lambda key: jaxdl.training.init_state(model, tx, splits.train.x[:1], key=key),
        splits.train, seeds=range(run.seeds), epochs=run.settings["epochs"][run.dataset], batch_size=50, mode="map",
    )  # fmt: skip
    members = [jaxdl.training.member(states, i) for i in range(run.seeds)]
    columns = []
    for k in pixels:
        moved = Examples(np.asarray(shifted(jnp.asarray(splits.test.x), k)), splits.test.y)
        columns.append([100 * jaxdl.training.evaluate(loss, state, moved)["accuracy"] for state in members])
    return np.array(columns).T


def picture(found: Mapping[str, np.ndarray], pixels: Sequence[int], image: np.ndarray) -> Figure:
    """Accuracy against shift, with the moved image above."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 4))
    upper, lower = parts
    for axis, k in zip(upper.subplots(1, len(pixels)), pixels, strict=True):
        axis.imshow(shifted(jnp.asarray(image)[None], k)[0, :, :, 0], cmap="gray")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{k:+d}" if k else "0", fontsize=8)
    axis = lower.subplots()
    for name, rows in found.items():
        mean, low, high = np.array([mean_interval(column) for column in rows.T]).T
        (line,) = axis.plot(pixels, mean, "o-", label=name)
        axis.fill_between(pixels, low, np.minimum(high, 100), color=line.get_color(), alpha=0.2)
    axis.axhline(10, color="black", linestyle=":", linewidth=0.8, label="chance")
    axis.set(xlabel="shift to the right (pixels)", ylabel="test accuracy (%)", ylim=(0, 101))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


_DEFAULT: Mapping[str, Any] = {
    "seeds": 5,
    "width": 128,
    "epochs": {"digits": 30, "mnist": 3},
    "furthest": {"digits": 3, "mnist": 6},
}

EXPERIMENT = Experiment(
    name="shifts",
    lecture="Fornax, McKay",
    claim="a perceptron ignores spatial structure, so that small shifts break its predictions; convolutions are "
    "equivariant, and pooling makes them a little invariant",
    setup=f"Exact: two circular 3 x 3 convolutions with tanh on random images of {SIDE} x {SIDE} pixels, moved by 3. "
    "Accuracy: an MLP with 128 hidden ReLU units and a CNN of two 3 x 3 convolutions of 8 and 16 maps with 2 x 2 "
    "max-pooling, Adam 0.002, batches of 50, 30 epochs on digits and 3 on MNIST, no augmentation; test images moved "
    "along their rows with zeros coming in.",
    source="no published figure; shape only",
    seconds={"digits": 60, "mnist": 95},
    presets={
        "smoke": _DEFAULT | {"epochs": {"digits": 10, "mnist": 1}},
        "default": _DEFAULT,
        "full": _DEFAULT | {"seeds": 10, "epochs": {"digits": 60, "mnist": 10}},
    },
    run=run,
)
