"""The networks of the experiment `dropout_curves`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxdl
from experiments.generalization.dropout_networks import HIDDEN_RATE, INPUT_RATE, Arm, Networks
from experiments.harness.claims import Run
from jaxdl import optimizers, training

BOUND, RATE = 3.0, {"digits": 0.05, "mnist": 0.1}
HIDDEN_LAYERS = 3
CODE, CODE_RATE, CODE_FRICTION = 256, 0.01, 0.9


class Activity(NamedTuple):
    """Of the code of the test images, each `(seeds,)`, and of the first network all activations `(images, units)`.

    Attributes:
      mean: activation of a unit.
      active: share that is not 0.
      first: activations.
    """

    mean: np.ndarray
    active: np.ndarray
    first: np.ndarray


class Curves:
    """Trains networks with dropout traced as a hyper-parameter: all the rates of an architecture are one program."""

    def __init__(self, run: Run) -> None:
        self.run, self.settings = run, {name: value[run.dataset] for name, value in run.settings.items()}

    def of_width(self, width: int, retained: Sequence[float]) -> dict[float, np.ndarray]:
        """Test errors in percent by the probability to RETAIN a hidden unit; inputs are never dropped."""
        networks = self._networks([width] * HIDDEN_LAYERS, self.settings["images"], self.settings["updates"])
        errors = self._errors(networks, [dict(hidden=1 - p, inputs=0.0) for p in retained])
        return dict(zip(retained, errors, strict=True))

    def fixed_product(self, units: int, retained: Sequence[float]) -> dict[float, np.ndarray]:
        """The same where `units` of each layer are retained in the mean, so that the width is `units / p`."""
        return {p: self.of_width(round(units / p), [p])[p] for p in retained}

    def by_images(self) -> dict[int, np.ndarray]:
        """Test errors `(2, seeds)` without and with dropout, by the number of training images."""
        cells = [dict(hidden=0.0, inputs=0.0), dict(hidden=HIDDEN_RATE, inputs=INPUT_RATE)]
        hidden, updates = self.settings["hidden"], self.settings["updates"]
        return {count: self._errors(self._networks(hidden, count, updates), cells) for count in self.settings["counts"]}

    def code(self, dropout: float) -> Activity:
        """Of auto-encoders with one layer of ReLU, trained with its units dropped at that rate."""
        images = np.reshape(self.run.splits.train.x[: self.settings["images"]], (self.settings["images"], -1))
        test = np.reshape(self.run.splits.test.x, (len(self.run.splits.test.x), -1))
        model = jaxdl.models.MLP(
            (CODE, images.shape[1]), kernel_init=jaxdl.initializers.lecun_normal(), dropout_rate=dropout
        )
        objective = training.reconstruction(model, jaxdl.losses.sigmoid_cross_entropy)
        tx = optimizers.momentum(CODE_RATE, momentum=CODE_FRICTION)
        runs = training.run_many(
            training.make_train_step(objective, tx),
            lambda key: training.init_state(model, tx, images[:1], key=key),
            images, seeds=range(self.run.seeds), epochs=self.settings["code_epochs"],
            batch_size=self.settings["batch"], mode="vmap", progress=False,
        )  # fmt: skip
        layer = jax.tree.map(np.asarray, runs.states.params["Dense_0"])
        pairs = zip(layer["kernel"], layer["bias"], strict=True)
        activations = [np.maximum(test @ kernel + bias, 0) for kernel, bias in pairs]
        return Activity(
            np.array([a.mean() for a in activations]), np.array([(a > 0).mean() for a in activations]), activations[0]
        )

    def _networks(self, hidden: Sequence[int], images: int, updates: int) -> Networks:
        batch = min(self.settings["batch"], images)
        epochs = max(1, updates // (images // batch))
        return Networks(self.run, hidden=hidden, images=images, epochs=epochs, batch=batch)

    def _errors(self, networks: Networks, cells: Sequence[Mapping[str, float]]) -> np.ndarray:
        """`(cells, seeds)`."""

        def parts(hidden: Any, inputs: Any) -> tuple[Any, Any, Any]:
            arm = Arm((BOUND,), hidden, inputs, max_norm=True)
            return networks.parts(arm, rate=RATE[self.run.dataset], strength=BOUND, decay=0.0)

        def make_step(hidden: Any, inputs: Any) -> training.TrainStep:
            _, objective, tx = parts(hidden, inputs)
            return training.make_train_step(objective, tx)

        def init(key: jax.Array, hidden: Any, inputs: Any) -> training.TrainState:
            model, _, tx = parts(hidden, inputs)
            return training.init_state(model, tx, networks.train.x[:1], key=key)

        runs = training.run_many(
            make_step, init, networks.train, seeds=range(self.run.seeds), hyperparameters=cells,
            epochs=networks.epochs, batch_size=networks.batch, mode="vmap", progress=False,
        )  # fmt: skip
        return networks.errors_of(runs).reshape(len(cells), -1)
