"""The networks of the experiment `maxout`: the released recipe of Goodfellow et al. 2013, and its rivals."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl
from experiments.harness.claims import Run
from jaxdl import optimizers, regularizers, training, tree
from jaxdl.data import Examples
from jaxdl.optimizers import schedules

PIECES, BOUND = 5, 1.9365
# The published start is for 784 inputs; the 64 of digits do not leave it within hundreds of epochs.
SPAN = {"digits": 0.1, "mnist": 0.005}
INPUT_RATE, HIDDEN_RATE = 0.2, 0.5
RATE, DECAY, LEAST_RATE = 0.1, 1.000004, 1e-6
MOMENTA, MOMENTUM_EPOCHS = (0.5, 0.7), 250
PATIENCE = 100


class Trained(NamedTuple):
    """What one kind of network reached.

    Attributes:
      test: `(seeds,)`, error in percent at the best validation accuracy.
      curve: `(seeds, epochs)`, validation error in percent.
      norms: `(seeds, columns)`, of the incoming weights of every unit and piece of all layers.
      parameters: how many.
    """

    test: np.ndarray
    curve: np.ndarray
    norms: np.ndarray
    parameters: int


class Networks:
    """Trains by the released recipe; seeds are paired across networks."""

    def __init__(self, run: Run) -> None:
        self.run, self.settings = run, {name: value[run.dataset] for name, value in run.settings.items()}
        x, y = run.splits.train
        count: int = self.settings["images"]
        self.train = jax.device_put(Examples(x[:count], y[:count]))
        self.validation, self.test = jax.device_put((run.splits.validation, run.splits.test))
        self.units: int = self.settings["units"]
        self.start = symmetric_uniform(SPAN[run.dataset])

    def maxout(self, *, pieces: int = PIECES, dropout: bool = True) -> Trained:
        """Two layers of maxout units; with one piece they are linear."""
        return self._train(
            jaxdl.models.MaxoutMLP(
                (self.units, self.units, 10), pieces=pieces, kernel_init=self.start,
                dropout_rate=HIDDEN_RATE if dropout else 0.0,
            ),
            dropout,
        )  # fmt: skip

    def relu(self) -> Trained:
        """Two layers of ReLU with as many parameters as the maxout network."""
        width = self.relu_width()
        return self._train(jaxdl.models.MLP((width, width, 10), kernel_init=self.start, dropout_rate=HIDDEN_RATE), True)

    def relu_width(self) -> int:
        """The width w whose parameters `(d + 1) w + (w + 1) w + (w + 1) 10` come nearest to those of maxout."""
        inputs = int(np.prod(self.train.x.shape[1:]))
        maxout = (inputs + 1 + self.units + 1) * self.units * PIECES + (self.units + 1) * 10
        linear = inputs + 1 + 1 + 10
        return round((-linear + np.sqrt(linear**2 + 4 * (maxout - 10))) / 2)

    def optimizer(self) -> optax.GradientTransformation:
        """Momentum and rate change at every update, and the bound holds after every one."""
        epoch = len(self.train.y) // self.settings["batch"]
        eta = schedules.exponential_decay(RATE, 1, 1 / DECAY, end_value=LEAST_RATE)
        friction = schedules.linear_schedule(*MOMENTA, MOMENTUM_EPOCHS * epoch)
        return optax.chain(optimizers.momentum(eta, momentum=friction), optimizers.max_norm(BOUND))

    def _train(self, model: Any, dropout: bool) -> Trained:
        tx = self.optimizer()
        objective = training.supervised(
            model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct},
            augment=masked_inputs if dropout else None,
        )  # fmt: skip
        runs = training.run_many(
            training.make_train_step(objective, tx),
            lambda key: training.init_state(model, tx, self.train.x[:1], key=key),
            self.train, seeds=range(self.run.seeds), epochs=self.settings["epochs"],
            batch_size=self.settings["batch"], validation=self.validation, mode="vmap", progress=False,
            early_stopping=training.EarlyStopping(patience=PATIENCE, metric="accuracy", mode="max"),
        )  # fmt: skip
        states = [training.member(runs.states, i) for i in range(self.run.seeds)]
        accuracy = [training.evaluate(objective, training.best(s), self.test)["accuracy"] for s in states]
        norms = [
            np.concatenate([np.linalg.norm(w, axis=0) for path, w in tree.leaf_paths(s.params).items() if w.ndim > 1])
            for s in states
        ]
        return Trained(
            100 * (1 - np.array(accuracy)), 100 * (1 - np.asarray(runs.history.validation["accuracy"])),
            np.stack(norms), tree.num_entries(states[0].params),
        )  # fmt: skip


def symmetric_uniform(span: float) -> Callable[..., jax.Array]:
    """U(-span, span)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -span, span)


# The released network masks its inputs in training and, other than its hidden units, scales them nowhere; the classic
# mask in training with nothing in evaluation is that.
masked_inputs = partial(regularizers.classic_dropout, rate=INPUT_RATE)
