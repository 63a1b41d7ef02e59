"""The networks of the experiment `dropout`: one architecture under the regularizers of Srivastava et al.'s table 9."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import optimizers, procedures, regularizers, training
from jaxdl.data import Examples
from jaxdl.optimizers import schedules

INPUT_RATE, HIDDEN_RATE = 0.2, 0.5
FIRST_MOMENTUM, LAST_MOMENTUM = 0.5, 0.95
SLOWDOWN = 0.1  # share of all updates in which rate and momentum change: the released momentum's of its million
LATE = 0.75  # share of all updates after which the late L1 penalty sets in
SPARSITY = 0.1
TUNING_SEED = 1000
RATES = {"digits": (0.01, 0.05), "mnist": (0.1, 0.3)}
DECAYS, BOUNDS = (1e-4, 3e-4, 1e-3), (1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Arm:
    """A way to regularize, and the strengths among which one is chosen.

    Attributes:
      strengths: of the L2 penalty, of the penalty beside it, or bounds of the norm.
      dropout: probability to drop a hidden unit.
      input_dropout: probability to drop an input.
      max_norm: whether the strength bounds the norm of each unit's weights.
      beside: "" or the penalty beside L2, "late L1" or "KL".
    """

    strengths: Sequence[float]
    dropout: Any = 0.0
    input_dropout: Any = 0.0
    max_norm: bool = False
    beside: str = ""


ARMS = {
    "L2": Arm(DECAYS),
    "L2 + late L1": Arm((1e-6, 1e-5, 1e-4), beside="late L1"),
    "L2 + KL sparsity": Arm((1e-5, 1e-4, 1e-3), beside="KL"),
    "max-norm": Arm(BOUNDS, max_norm=True),
    "dropout + L2": Arm((1e-5, *DECAYS[:2]), HIDDEN_RATE, INPUT_RATE),
    "dropout + max-norm": Arm(BOUNDS, HIDDEN_RATE, INPUT_RATE, max_norm=True),
}
TOO_MUCH = Arm(BOUNDS, 0.95, INPUT_RATE, max_norm=True)


@dataclass(frozen=True, eq=False)
class Sparse:
    """Cross-entropy, and in training the divergence of each unit's mean activation a / (1 + a) from `SPARSITY`.

    A ReLU's activation has no upper bound, and the divergence is one of means in (0, 1).
    """

    model: jaxdl.models.MLP
    strength: Any

    def __call__(self, params: Any, batch: Any, *, model_state: Any, key: Any, train: bool) -> Any:
        """As every objective; the network has no dropout, and so needs no key."""
        x, y = batch
        logits, seen = self.model.apply(
            {"params": params}, x, train=train, capture_intermediates=True, mutable=["intermediates"]
        )
        layers: Any = seen["intermediates"]
        hidden = [nn.relu(layers[f"Dense_{i}"]["__call__"][0]) for i in range(len(self.model.sizes) - 1)]
        losses = jaxdl.losses.softmax_cross_entropy(logits, y)
        if train:
            squashed = [a / (1 + a) for a in hidden]
            losses = losses + regularizers.kl_sparsity(self.strength, target=SPARSITY)(squashed)
        return losses, training.Aux(model_state, {"accuracy": jaxdl.losses.correct(logits, y)})


class Tuned(NamedTuple):
    """The cells that were tried for an arm, their validation errors in percent, and the place of the best."""

    cells: Sequence[dict[str, float]]
    errors: np.ndarray
    best: int

    @property
    def cell(self) -> dict[str, float]:
        """The one that is judged."""
        return self.cells[self.best]


class Networks:
    """Trains arms on the first images of the training split; seeds are paired across arms."""

    def __init__(self, run: Run, *, hidden: Sequence[int], images: int, epochs: int, batch: int) -> None:
        self.run, self.epochs, self.batch = run, epochs, batch
        x, y = run.splits.train
        self.train = jax.device_put(Examples(x[:images], y[:images]))
        self.validation, self.test = jax.device_put((run.splits.validation, run.splits.test))
        self.sizes = (*hidden, 10)
        self.updates = self.epochs * (len(self.train.y) // self.batch)

    def parts(self, arm: Arm, *, rate: Any, strength: Any, decay: Any) -> tuple[Any, Any, Any]:
        """Model, objective and optimizer."""
        model = jaxdl.models.MLP(
            self.sizes, kernel_init=jaxdl.initializers.lecun_normal(), dropout_rate=arm.dropout,
            input_dropout_rate=arm.input_dropout,
        )  # fmt: skip
        objective: Any = classifier(model)
        if arm.beside == "KL":
            objective = Sparse(model, strength)
        constant = SLOWDOWN * self.updates
        eta = schedules.inverse_time_decay(rate, constant)
        friction = schedules.exponential_approach(FIRST_MOMENTUM, LAST_MOMENTUM, constant)
        chain: list[Any] = [optimizers.momentum(eta, momentum=friction)]
        if arm.max_norm:
            chain.append(optimizers.max_norm(strength))
        else:
            chain.insert(0, optimizers.coupled_l2(decay if arm.beside else strength))
        if arm.beside == "late L1":
            late = lambda count: jnp.where(count >= LATE * self.updates, strength, 0.0)  # noqa: E731
            reach = lambda count: eta(count) / (1 - friction(count))  # noqa: E731
            chain.append(optimizers.proximal_l1(late, learning_rate=reach))
        return model, objective, optax.chain(*chain)

    def tune(self, arm: Arm, decay: float = 0.0) -> Tuned:
        """The rate and strength of the lowest validation error, for a seed that is not judged.

        Where the settings ask for no tuning, the middle strength at the first rate.
        """
        rates = RATES[self.run.dataset]
        cells = [dict(rate=rate, strength=s, decay=decay) for s in arm.strengths for rate in rates]
        if not self.run.settings["tuned"]:
            return Tuned(cells, np.full(len(cells), np.nan), len(rates) * (len(arm.strengths) // 2))
        runs = self._runs(arm, cells, [TUNING_SEED], validation=self.validation, evaluate_every=self.epochs)
        accuracy = runs.values("validation_accuracy")[:, None]
        return Tuned(cells, 100 * (1 - accuracy[:, 0]), procedures.best_cell(accuracy, maximize=True))

    def test_errors(self, arm: Arm, cell: Mapping[str, float]) -> np.ndarray:
        """In percent, `(seeds,)`, after the last epoch."""
        return self.errors_of(self._runs(arm, [cell], range(self.run.seeds)))

    def errors_of(self, runs: training.ManyRuns) -> np.ndarray:
        """Test errors in percent of all members; how they were trained makes no difference to them."""
        objective = classifier(jaxdl.models.MLP(self.sizes))
        members = [training.member(runs.states, i) for i in range(len(runs.members))]
        return np.array([100 * (1 - training.evaluate(objective, s, self.test)["accuracy"]) for s in members])

    def _runs(
        self, arm: Arm, cells: Sequence[Mapping[str, float]], seeds: Sequence[int], **options: Any
    ) -> training.ManyRuns:
        def make_step(rate: Any, strength: Any, decay: Any) -> training.TrainStep:
            _, objective, tx = self.parts(arm, rate=rate, strength=strength, decay=decay)
            return training.make_train_step(objective, tx)

        def init(key: jax.Array, rate: Any, strength: Any, decay: Any) -> training.TrainState:
            model, _, tx = self.parts(arm, rate=rate, strength=strength, decay=decay)
            return training.init_state(model, tx, self.train.x[:1], key=key)

        return training.run_many(
            make_step, init, self.train, seeds=seeds, hyperparameters=cells, epochs=self.epochs,
            batch_size=self.batch, mode="vmap", progress=False, **options,
        )  # fmt: skip


def classifier(model: Any) -> Any:
    """Softmax and cross-entropy, with accuracy."""
    return training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct})
