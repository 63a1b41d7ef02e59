"""The network that is transferred, the parts of the data, and the arms that are trained, for `transfer`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import procedures, training
from jaxdl.data import Examples, Splits

LAYERS = ("conv_0/*", "conv_1/*", "dense_0/*")  # those that can be reused, the lowest first; the last layer is new
CONVOLUTIONS = LAYERS[:2]
STAGES = ("dense_1/*", *reversed(LAYERS))
RATE = 2e-3
BATCH = 32
SEED = 1000  # the new task draws from other seeds than the old one
SCRATCH, FROZEN, STAGED, RANDOM = ARMS = ("from scratch", "frozen features", "staged unfreezing", "frozen random")
CURVES = ("learned, frozen", "learned, trained on", "random, frozen")


class SmallCNN(nn.Module):
    """Two convolutions, each with ReLU and 2x2 max-pooling, and two dense layers; images to logits of five classes.

    Attributes:
      kernel: side of the convolutions' kernels.
      stride: of the first convolution.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits `(batch, 5)` of images `(batch, height, width, 1)`."""
        for i, (channels, stride) in enumerate(((8, self.stride), (16, 1))):
            x = nn.relu(nn.Conv(channels, (self.kernel, self.kernel), stride, name=f"conv_{i}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(64, name="dense_0")(x.reshape(x.shape[0], -1)))
        return nn.Dense(5, name="dense_1")(x)


def labelled(examples: Examples, count: int, *, seed: int) -> Examples:
    """`count` examples of every class, drawn by the seed; all of them where there are fewer."""
    draws = np.random.default_rng(seed)
    rows = [draws.permutation(np.flatnonzero(examples.y == label))[:count] for label in np.unique(examples.y)]
    chosen = np.sort(np.concatenate(rows))
    return Examples(examples.x[chosen], examples.y[chosen])


def make_objective(model: Any) -> training.Objective:
    """Softmax cross-entropy and accuracy."""
    return training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct})


class Reached(NamedTuple):
    """What one arm reached from one seed: accuracies in percent, and whether what is frozen kept every bit.

    Of staged unfreezing also which stage was kept, and the validation accuracy after each.
    """

    validation: float
    test: float
    unmoved: bool
    stage: int = -1
    by_stage: Sequence[float] = ()


class Arms:
    """The arms of the experiment; their steps are made once, so that every seed runs the same programs."""

    def __init__(self, model: nn.Module, *, steps: int) -> None:
        tx = optax.adam(RATE)
        self.model, self.steps, self.objective = model, steps, make_objective(model)
        self.whole = training.make_train_step(self.objective, tx)
        frozen = jaxdl.optimizers.freeze(tx, where=list(CONVOLUTIONS))
        self.dense = training.make_train_step(self.objective, frozen)
        self.stages = procedures.unfreezing_steps(self.objective, tx, stages=STAGES)

    def train(self, arm: str, source: Any, splits: Splits, data: Examples, *, seed: int) -> Reached:
        """One arm from one seed, which draws the new layers and the order of the data.

        Args:
          arm: one of `ARMS`.
          source: variables that were learned on the other classes.
          splits: of the new classes; stages are chosen on the validation part, the test part is looked at once.
          data: the labelled examples there are.
          seed: of the start and the order.
        """
        key, batch = jax.random.key(SEED + seed), min(BATCH, len(data.y) // 2)
        image = data.x[:1]
        new = self.model.init(key, image)
        if arm == STAGED:
            start = procedures.transfer(new, source, where=list(LAYERS))
            epochs = max(round(self.steps / len(STAGES) / (len(data.y) // batch)), 1)
            found = procedures.train_stages(
                self.stages, start, data, epochs=epochs, batch_size=batch, validation=splits.validation, key=key,
                metric="accuracy", mode="max", evaluate_every=epochs, progress=False,
            )  # fmt: skip
            state, kept = found.state, LAYERS[: len(STAGES) - 1 - found.best]
            stage, by_stage = found.best, (100 * found.scores).tolist()
        else:
            drawn = self.model.init(jax.random.key(2 * SEED + seed), image)
            sources = {SCRATCH: None, FROZEN: source, RANDOM: drawn}
            start = procedures.transfer(new, sources[arm] or new, where=list(CONVOLUTIONS))
            step, kept = (self.whole, ()) if arm == SCRATCH else (self.dense, CONVOLUTIONS)
            state = training.make_state(start["params"], step.tx, key=key)
            state, _ = training.fit(step, state, data, steps=self.steps, batch_size=batch, progress=False)
            stage, by_stage = -1, []
        names = [layer.partition("/")[0] for layer in kept]
        unmoved = all(same_bytes(state.params[name], start["params"][name]) for name in names)
        validation, test = (
            100 * training.evaluate(self.objective, state, part)["accuracy"] for part in splits[1:]
        )  # fmt: skip
        return Reached(validation, test, unmoved, stage, by_stage)


def same_bytes(a: Any, b: Any) -> bool:
    """Whether two trees hold the very same bytes."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(left).tobytes() == np.asarray(right).tobytes() for left, right in pairs)


def reuse_curves(
    model: nn.Module, sources: Sequence[Any], data: Examples, validation: Examples, *, steps: int, kinds: Sequence[str]
) -> dict[str, np.ndarray]:
    """Validation accuracy in percent over the number of reused layers, `{kind: (layers + 1, seeds)}`."""
    seeds, batch = range(len(sources)), min(BATCH, len(data.y) // 2)
    learned = {_bytes(jax.random.key(seed)): source for seed, source in zip(seeds, sources, strict=True)}
    drawn = {name: model.init(jax.random.key(2 * SEED + i), data.x[:1]) for i, name in enumerate(learned)}
    epochs = max(round(steps / (len(data.y) // batch)), 1)
    found = {}
    for kind in kinds:
        among = drawn if kind == "random, frozen" else learned
        curve = procedures.reuse_curve(
            model, make_objective, optax.adam(RATE), lambda key, among=among: among[_bytes(key)], data, layers=LAYERS,
            seeds=seeds, validation=validation, batch_size=batch, frozen=kind != "learned, trained on", epochs=epochs,
            evaluate_every=epochs, mode="map", progress=False,
        )  # fmt: skip
        found[kind] = 100 * curve.values("validation_accuracy")
    return found


def _bytes(key: jax.Array) -> bytes:
    return np.asarray(jax.random.key_data(key)).tobytes()
