"""The networks of the experiment `batch_size`: one architecture trained with small and with large batches."""

from typing import Any, NamedTuple

import jax
import numpy as np

import jaxdl
from experiments.harness.claims import Run
from jaxdl import diagnostics, optimizers, training
from jaxdl.data import Examples

RATE = 1e-3
RADII = (0.05, 0.1, 0.2, 0.4)


class Trained(NamedTuple):
    """What one batch size reached, each `(seeds,)` but where it is said.

    Attributes:
      train, test: accuracy in percent.
      loss: on the training images, in evaluation mode.
      curve: `(seeds, epochs)`, mean loss of the batches of each epoch.
      rise: `(seeds, radii)`, mean increase of the training loss when every unit's weights move by `RADII` of their
        length in random directions.
      top: largest eigenvalue of the Hessian of the training loss.
    """

    train: np.ndarray
    test: np.ndarray
    loss: np.ndarray
    curve: np.ndarray
    rise: np.ndarray
    top: np.ndarray


class Networks:
    """Trains by the run's settings; the seeds of both batch sizes have the same starts."""

    def __init__(self, run: Run) -> None:
        self.run, self.settings = run, {name: value[run.dataset] for name, value in run.settings.items()}
        x, y = run.splits.train
        count: int = self.settings["images"]
        self.train = jax.device_put(Examples(x[:count], y[:count]))
        self.probed = jax.device_put(Examples(x[: self.settings["probed"]], y[: self.settings["probed"]]))
        self.test = jax.device_put(run.splits.test)
        self.model = jaxdl.models.MLP(
            (*self.settings["hidden"], 10), kernel_init=jaxdl.initializers.he_normal(), normalization="batch"
        )
        self.objective = training.supervised(
            self.model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
        )
        self.step = training.make_train_step(self.objective, optimizers.adam(RATE))

    @property
    def large(self) -> int:
        """A tenth of the training images."""
        return len(self.train.y) // 10

    def of_batch(self, batch: int, epochs: int) -> Trained:
        """Trained, evaluated on the test split once, and probed on training images."""
        runs = training.run_many(
            self.step, self._init, self.train, seeds=range(self.run.seeds), epochs=epochs, batch_size=batch,
            mode="vmap", progress=False,
        )  # fmt: skip
        states = [training.member(runs.states, i) for i in range(self.run.seeds)]
        train, test = ([training.evaluate(self.objective, s, data) for s in states] for data in (self.train, self.test))
        basins = [self._basin(state) for state in states]
        return Trained(
            100 * np.array([each["accuracy"] for each in train]),
            100 * np.array([each["accuracy"] for each in test]),
            np.array([each["loss"] for each in train]),
            runs.history.train["loss"].reshape(self.run.seeds, epochs, -1).mean(-1),
            np.stack([basin.increases()[0] for basin in basins]),
            np.array([float(basin.top) for basin in basins]),
        )

    def _init(self, key: jax.Array) -> training.TrainState:
        return training.init_state(self.model, self.step.tx, self.train.x[:1], key=key)

    def _basin(self, state: Any) -> diagnostics.Basin:
        return diagnostics.basin_width(
            self.objective, state.params, self.probed, model_state=state.model_state, radii=RADII,
            num_directions=self.settings["directions"], num_lanczos=self.settings["lanczos"],
        )  # fmt: skip
