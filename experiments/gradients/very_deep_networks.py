"""The networks of `very_deep`: their starts, what they look like before the first update, and their training."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import diagnostics, initializers, training
from jaxdl.data import Examples
from jaxdl.procedures import best_cell

NUM_CLASSES, BATCH = 10, 32
TUNING_SEED = 1000  # rates are chosen from this one on; the seeds that are judged are 0, 1, ...
XAVIER, HE, HE_RESIDUAL, RESIDUAL, TANH = "Xavier", "He", "He + residual", "residual, small branches", "tanh orthogonal"


class Arm(NamedTuple):
    """A start of a network of `depth` hidden layers."""

    start: str
    depth: int

    @property
    def label(self) -> str:
        """For tables and pictures."""
        return f"{self.start}, {self.depth} layers"


class Kind(NamedTuple):
    """What arms that are compiled once have in common."""

    model: jaxdl.models.MLP
    objective: training.Objective
    make_step: Callable[..., training.TrainStep]


def kind(arm: Arm, width: int) -> Kind:
    """ReLU with N(0, 2/fan_in), or tanh with orthogonal kernels; biases 0. The arm's own scale is put on by `start`."""
    return _kind(arm.depth, width, arm.start == TANH, arm.start in (HE_RESIDUAL, RESIDUAL))


@functools.cache
def _kind(depth: int, width: int, tanh: bool, residual: bool) -> Kind:
    model = jaxdl.models.MLP(
        (width,) * depth + (NUM_CLASSES,),
        activation=jnp.tanh if tanh else nn.relu,
        kernel_init=initializers.orthogonal() if tanh else initializers.he_normal(),
        residual=residual,
    )
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    return Kind(model, objective, lambda learning_rate: training.make_train_step(objective, optax.sgd(learning_rate)))


def start(arm: Arm, model: Any, key: jax.Array, x: Any) -> Any:
    """Parameters: the same draws for every ReLU arm of a depth, scaled to the arm's variances.

    Xavier has the variance `2 / (fan_in + fan_out)` in every layer. Small branches have 1/depth of He's deviation: with
    all of it, a sum of as many branches as layers grows by a factor sqrt(2) a layer and more.
    """
    params = _drawn(key, x[:1], model=model)

    def scaled(name: str, layer: Any) -> Any:
        number = int(name.removeprefix("Dense_"))
        fan_in, fan_out = layer["kernel"].shape
        factor = 1.0
        if arm.start == XAVIER:
            factor = (fan_in / (fan_in + fan_out)) ** 0.5
        if arm.start == RESIDUAL and 0 < number < arm.depth:
            factor = 1 / arm.depth
        return {**layer, "kernel": factor * layer["kernel"]}

    return {name: scaled(name, layer) for name, layer in params.items()}


@functools.partial(jax.jit, static_argnames="model")
def _drawn(key: jax.Array, x: Any, *, model: jaxdl.models.MLP) -> Any:
    return model.init(key, x)["params"]


class AtStart(NamedTuple):
    """Before the first update, of every seed: root mean squares of the activations and norms of the gradients.

    Attributes:
      amplitude: `(seeds, depth)`, behind the activation (and the sum, where there is one).
      bias_gradient: `(seeds, depth)`, norm of the gradient of each hidden layer's bias.
      weight_gradient: `(seeds, depth)`, of its kernel.
    """

    amplitude: np.ndarray
    bias_gradient: np.ndarray
    weight_gradient: np.ndarray


def at_start(arm: Arm, width: int, examples: Examples, *, seeds: Sequence[int]) -> AtStart:
    """Measured on these examples."""
    model, objective, _ = kind(arm, width)
    rows = []
    for seed in seeds:
        params = start(arm, model, jax.random.key(seed), examples.x)
        flow = diagnostics.gradient_flow(objective, params, (examples.x, examples.y))
        rows.append(
            (
                _amplitudes(params, examples.x, model=model),
                flow.error_signal[: arm.depth],
                flow.weight_gradient[: arm.depth],
            )
        )
    return AtStart(*(np.stack([np.asarray(row[i], np.float64) for row in rows]) for i in range(3)))


@functools.partial(jax.jit, static_argnames="model")
def _amplitudes(params: Any, x: Any, *, model: jaxdl.models.MLP) -> jax.Array:
    depth, activation = len(model.sizes) - 1, cast(Callable[..., jax.Array], model.activation)
    _, kept = model.apply({"params": params}, x, capture_intermediates=True, mutable=["intermediates"])
    z = [kept["intermediates"][f"Dense_{number}"]["__call__"][0] for number in range(depth)]
    hidden = [activation(values) for values in z]
    if model.residual:
        for number in range(1, depth):
            hidden[number] = hidden[number - 1] + hidden[number]
    return jnp.stack([jnp.sqrt(jnp.mean(jnp.square(a))) for a in hidden])


class Trained(NamedTuple):
    """What an arm reached at its rate.

    Attributes:
      rate: the best of the grid by the validation loss of seeds that are not judged.
      loss: `(seeds,)`, mean over the examples it is measured on, after the last update; infinite where not finite.
      accuracy: `(seeds,)`, of the test split in percent.
      curves: `(seeds, steps)`, of the batches.
    """

    rate: float
    loss: np.ndarray
    accuracy: np.ndarray
    curves: np.ndarray


def train(
    arm: Arm,
    width: int,
    splits: jaxdl.data.Splits,
    *,
    rates: Sequence[float],
    seeds: int,
    tuning_seeds: int,
    steps: int,
    measured_on: Examples,
) -> Trained:
    """Chooses the rate, then trains every seed at it by plain gradient descent on mini-batches."""
    model, objective, make_step = kind(arm, width)

    def init(key: jax.Array, learning_rate: Any) -> training.TrainState:
        return training.make_state(start(arm, model, key, splits.train.x), optax.sgd(learning_rate), key=key)

    def many(rates: Sequence[float], seeds: Sequence[int]) -> training.ManyRuns:
        return training.run_many(
            make_step, init, splits.train, seeds=seeds, hyperparameters={"learning_rate": list(rates)}, steps=steps,
            batch_size=BATCH, validation=splits.validation, evaluate_every=steps, mode="map", progress=False,
        )  # fmt: skip

    rate = rates[0]
    if len(rates) > 1:
        tuning = many(rates, range(TUNING_SEED, TUNING_SEED + tuning_seeds)).values("validation_loss")
        rate = chosen(rates, tuning.reshape(len(rates), tuning_seeds))
    judged = many([rate], range(seeds))
    members = [training.member(judged.states, seed) for seed in range(seeds)]
    losses = np.array([training.evaluate(objective, each, measured_on)["loss"] for each in members])
    accuracy = [training.evaluate(objective, each, splits.test)["accuracy"] for each in members]
    return Trained(
        rate, np.where(np.isfinite(losses), losses, np.inf), 100 * np.array(accuracy), judged.history.train["loss"]
    )


def chosen(rates: Sequence[float], validation_loss: np.ndarray) -> float:
    """The rate of the smallest mean `(rates, seeds)`; the smallest rate where no run stayed finite."""
    if not np.isfinite(validation_loss).all(1).any():
        return float(min(rates))
    return float(rates[best_cell(validation_loss)])
