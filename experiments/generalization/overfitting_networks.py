"""The networks of the experiment `overfitting`: Nielsen's [784, 30, 10] on few images, and what cures it."""

from typing import Any, NamedTuple

import jax
import numpy as np

import jaxdl
from experiments.building_blocks import book
from experiments.harness.claims import Run
from jaxdl import data, procedures, regularizers, training
from jaxdl.data import Examples

ETA, DECAY, BATCH, WIDTH = 0.5, 0.1, 10, 30
WRONG_LABELS = {"digits": 0.2, "mnist": 0.0}  # digits are so well separated that little is overfitted otherwise
RATES, TUNING_SEEDS = (0.1, 0.25, 0.5), range(1000, 1003)
PATIENCE, MORE = 10, 5


class Reached(NamedTuple):
    """What the networks of one arm reached, each `(seeds,)`.

    Attributes:
      train: accuracy on the training images in percent.
      test: on the test images.
      cost: cross-entropy on the test images, without any penalty.
      norm: of all weights together.
    """

    train: np.ndarray
    test: np.ndarray
    cost: np.ndarray
    norm: np.ndarray


class Curves(NamedTuple):
    """An arm over its epochs, each `(seeds, epochs)`, and what it reached.

    Attributes:
      test: accuracy on the test images in percent.
      cost: on the test images, as the book has it: with the penalty divided by THEIR number.
      reached: at the end.
    """

    test: np.ndarray
    cost: np.ndarray
    reached: Reached


class Networks:
    """Trains on the first images of the training split; seeds are paired across arms."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.images: int = run.settings["images"][run.dataset]
        self.epochs: int = run.settings["epochs"][run.dataset]
        self.few, self.more = self._first(self.images), self._first(MORE * self.images)
        self.validation, self.test = jax.device_put((run.splits.validation, run.splits.test))

    def pair(self) -> tuple[Curves, Curves]:
        """Without and with weight decay, the test images monitored after every epoch, as in the book."""
        model, count = network(), len(self.test.y)
        objective = book.objective(model)

        def make_step(decay: Any) -> training.TrainStep:
            return training.make_train_step(book.Monitored(objective, decay, count), self._descent(decay))

        def init(key: jax.Array, decay: Any) -> training.TrainState:
            return training.init_state(model, self._descent(decay), self.few.x[:1], key=key)

        runs = training.run_many(
            make_step, init, self.few, hyperparameters={"decay": [0.0, DECAY]}, validation=self.test,
            **self._options(),
        )  # fmt: skip
        both = []
        for rows in np.split(np.arange(2 * self.run.seeds), 2):
            curves = {name: runs.history.validation[name][rows] for name in ("accuracy", "cost")}
            states = [training.member(runs.states, i) for i in rows]
            both.append(Curves(100 * curves["accuracy"], curves["cost"], self._reached(objective, states, self.few)))
        return both[0], both[1]

    def arm(
        self,
        *,
        width: int = WIDTH,
        rate: float = 0.0,
        decay: float = 0.0,
        augment: Any = None,
        more: bool = False,
        start: Any = None,
        **options: Any,
    ) -> Reached:
        """The networks of one cure; the number of updates is the same with more images."""
        model, images = network(width, rate, start), self.more if more else self.few
        objective = training.supervised(
            model, jaxdl.losses.sigmoid_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}, augment=augment
        )
        tx = self._descent(decay)
        chosen: dict[str, Any] = {
            **self._options(),
            **({"epochs": max(1, self.epochs // MORE)} if more else {}),
            **options,
        }
        step = training.make_train_step(objective, tx)
        runs = training.run_many(step, book.starter(model, tx, images.x), images, **chosen)
        states = [training.member(runs.states, i) for i in range(self.run.seeds)]
        return self._reached(objective, states, images)

    def augmented(self) -> Reached:
        """Images turned and shifted anew at every step."""
        return self.arm(augment=data.make_augmentation(rotation=10.0, shift=0.05))

    def stopped_early(self) -> Reached:
        """The best parameters by the validation images."""
        rule = training.EarlyStopping(patience=PATIENCE)
        return self.arm(validation=self.validation, early_stopping=rule)

    def dropped_out(self) -> tuple[Reached, float]:
        """At the dropout rate that is best on the validation images, for seeds that are not judged."""

        def parts(dropout_rate: Any) -> tuple[Any, Any]:
            model = network(rate=dropout_rate)
            return model, self._descent(0.0)

        def make_step(dropout_rate: Any) -> training.TrainStep:
            model, tx = parts(dropout_rate)
            return training.make_train_step(book.objective(model), tx)

        def init(key: jax.Array, dropout_rate: Any) -> training.TrainState:
            return training.init_state(*parts(dropout_rate), self.few.x[:1], key=key)

        found = procedures.grid_search(
            make_step, init, self.few, self.validation, hyperparameters={"dropout_rate": RATES},
            **(self._options() | {"seeds": TUNING_SEEDS, "evaluate_every": self.epochs}),
        )  # fmt: skip
        rate = found.best["dropout_rate"]
        return self.arm(rate=rate), rate

    def narrow(self) -> int:
        """The widest hidden layer with which the network has fewer parameters than there are images."""
        inputs = int(np.prod(self.few.x.shape[1:]))
        return max(1, (self.images - book.NUM_CLASSES - 1) // (inputs + 1 + book.NUM_CLASSES))

    def parameters(self, width: int) -> int:
        """How many a network of this width has."""
        return (int(np.prod(self.few.x.shape[1:])) + 1) * width + (width + 1) * book.NUM_CLASSES

    def of_width(self, width: int, decay: float) -> Reached:
        """A network of another width; its start does not saturate wide ones, its epochs are a quarter."""
        start = jaxdl.initializers.lecun_normal()
        return self.arm(width=width, decay=decay, start=start, epochs=max(1, self.epochs // 4))

    def _first(self, count: int) -> Examples:
        x, y = self.run.splits.train
        draws = np.random.RandomState(0)
        wrong = draws.rand(len(y)) < WRONG_LABELS[self.run.dataset]
        y = np.where(wrong, draws.randint(0, book.NUM_CLASSES, len(y)), y).astype(y.dtype)
        return jax.device_put(Examples(x[:count], y[:count]))

    def _descent(self, decay: Any) -> Any:
        return book.descent(self.images, eta=ETA, decay=decay)

    def _options(self) -> dict[str, Any]:
        return dict(
            seeds=range(self.run.seeds), epochs=self.epochs, batch_size=BATCH, mode="vmap", progress=False
        )  # fmt: skip

    def _reached(self, objective: Any, states: list[Any], images: Examples) -> Reached:
        test = [training.evaluate(objective, state, self.test) for state in states]
        train = [training.evaluate(objective, state, images)["accuracy"] for state in states]
        norm = [np.sqrt(2 * float(regularizers.l2(1.0)(state.params))) for state in states]
        return Reached(
            100 * np.array(train),
            100 * np.array([each["accuracy"] for each in test]),
            np.array([each["loss"] for each in test]),
            np.array(norm),
        )


def network(width: int = WIDTH, rate: Any = 0.0, start: Any = None) -> jaxdl.models.MLP:
    """One layer of sigmoids and ten logits; weights, unless there is another start for them, and biases N(0, 1)."""
    return book.network(1, width=width, start=start or book.large_start(), dropout_rate=rate)
