"""One network trained at every cell of a grid of hyper-parameters and every seed, as one program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

import jaxdl
from jaxdl.data import Examples

Cell = Mapping[str, float]


class Grid(NamedTuple):
    """What every cell and seed reached.

    Attributes:
      training: `(cells, seeds)`, loss over the whole training split at the end; empty where it was not asked for.
      validation: `{metric: (cells, seeds)}` at the end.
      curves: `(cells, seeds, epochs)`, mean training loss of each epoch.
      states: of all members, one cell after the other.
    """

    training: np.ndarray
    validation: Mapping[str, np.ndarray]
    curves: np.ndarray
    states: jaxdl.training.TrainState

    def evaluate(self, objective: jaxdl.training.Objective, data: Examples, cell: int, seed: int) -> dict[str, float]:
        """Exact means over `data` for one member."""
        state = jaxdl.training.member(self.states, cell * self.curves.shape[1] + seed)
        return jaxdl.training.evaluate(objective, state, data)


def train_grid(
    model: Any,
    objective: jaxdl.training.Objective,
    recipe: Callable[..., optax.GradientTransformation],
    cells: Sequence[Cell],
    *,
    seeds: Sequence[int],
    train: Examples,
    validation: Examples,
    epochs: int,
    batch_size: int,
    mode: Literal["auto", "vmap", "map"] = "vmap",
    training_loss: bool = True,
) -> Grid:
    """Trains `recipe(**cell)` for every cell from the same draws; a seed gives the start and the order of the data."""
    train, validation = jax.device_put((train, validation))  # once, not for every member that is evaluated

    def make_step(**cell: Any) -> jaxdl.training.TrainStep:
        return jaxdl.training.make_train_step(objective, recipe(**cell))

    def init(key: jax.Array, **cell: Any) -> jaxdl.training.TrainState:
        return jaxdl.training.init_state(model, recipe(**cell), train.x[:1], key=key)

    states, history = jaxdl.training.run_many(
        make_step, init, train, seeds=seeds, hyperparameters=cells, epochs=epochs, batch_size=batch_size,
        validation=validation, evaluate_every=epochs, mode=mode,
    )  # fmt: skip
    shape = (len(cells), len(seeds))
    losses = [
        jaxdl.training.evaluate(objective, jaxdl.training.member(states, i), train)["loss"]
        for i in range(len(cells) * len(seeds))
        if training_loss
    ]
    return Grid(
        training=np.reshape(losses, shape if training_loss else (0, 0)),
        validation={name: values[:, -1].reshape(shape) for name, values in history.validation.items()},
        curves=history.train["loss"].reshape(*shape, epochs, -1).mean(-1),
        states=states,
    )
