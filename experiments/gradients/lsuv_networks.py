"""The thin deep networks of `lsuv_training`, their starts and their training."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import initializers, training
from jaxdl.data import Examples
from jaxdl.procedures import best_cell

NUM_CLASSES, BATCH = 10, 64
DECAY, WEIGHT_DECAY, TUNING_SEED = 0.99, 5e-4, 1000
LSUV, SMALL = "LSUV", "N(0, 0.01^2)"
PLAIN: dict[str, Callable[..., jax.Array]] = {
    "orthogonal": initializers.orthogonal(),
    "He": initializers.he_normal(),
    SMALL: initializers.normal(0.01),
}
STARTS = (LSUV, *PLAIN)
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array] | None] = {
    "tanh": jnp.tanh,
    "ReLU": nn.relu,
    "leaky ReLU": nn.leaky_relu,
    "maxout": None,
    "sigmoid": nn.sigmoid,
}


class Trained(NamedTuple):
    """Of an activation and a start.

    Attributes:
      rate: the best by validation data.
      loss: `(seeds,)`, mean over all examples trained on, at the end; infinite where not finite.
      accuracy: `(seeds,)`, of the test split in percent.
      deviation: `(seeds,)`, largest |variance - 1| of the pre-activations of a layer at the start.
      curves: `(seeds, epochs)`, mean training loss of each epoch.
    """

    rate: float
    loss: np.ndarray
    accuracy: np.ndarray
    deviation: np.ndarray
    curves: np.ndarray


class Standardized(NamedTuple):
    """The three splits by the mean and deviation of the pixels trained on."""

    train: Examples
    validation: Examples
    test: Examples


def standardized(splits: jaxdl.data.Splits, most: int | None) -> Standardized:
    """The first `most` examples of training and validation, and the whole test split."""
    pixels = splits.train.x[:most]
    mean, deviation = float(np.mean(pixels)), float(np.std(pixels))

    def scaled(examples: Examples, most: int | None) -> Examples:
        return Examples((examples.x[:most] - mean) / deviation, examples.y[:most])

    return Standardized(scaled(splits.train, most), scaled(splits.validation, most), scaled(splits.test, None))


def network(activation: str, *, depth: int, width: int) -> Any:
    """Hidden layers of one width; their kernels are drawn by `start`."""
    sizes, function = (width,) * depth + (NUM_CLASSES,), ACTIVATIONS[activation]
    if function is None:
        return jaxdl.models.MaxoutMLP(sizes, pieces=2)
    return jaxdl.models.MLP(sizes, activation=function)


def start(model: Any, name: str, key: jax.Array, x: Any, *, tolerance: float) -> Any:
    """Variables of one start; LSUV on the batch x."""
    drawn = model.clone(kernel_init=PLAIN.get(name, PLAIN["He"])).init(key, x[:1])
    return _after_lsuv(drawn, key, x, tolerance=tolerance, model=model) if name == LSUV else drawn


@partial(jax.jit, static_argnames=("tolerance", "model"))
def _after_lsuv(variables: Any, key: jax.Array, x: Any, *, tolerance: float, model: Any) -> Any:
    # Asked for a little less, because two programs round differently.
    return initializers.lsuv(model, variables, x, key=key, tolerance=0.95 * tolerance).variables


@partial(jax.jit, static_argnames="model")
def largest_deviation(variables: Any, x: Any, *, model: Any) -> jax.Array:
    """Of the variance of a layer's pre-activations from 1; NaN where it is not finite."""
    _, kept = model.apply(variables, x, capture_intermediates=lambda module, _: isinstance(module, nn.Dense))
    return jnp.abs(jnp.stack([jnp.var(z) for z in jax.tree.leaves(kept["intermediates"])]) - 1).max()


def recipe(learning_rate: Any, num_steps: int) -> optax.GradientTransformation:
    """RMSprop with weight decay in the gradient, its rate a tenth from two thirds of the steps on."""
    fall = optax.piecewise_constant_schedule(1.0, {2 * num_steps // 3: 0.1})
    return optax.chain(
        optax.add_decayed_weights(WEIGHT_DECAY, mask=partial(jaxdl.tree.resolve, jaxdl.tree.is_kernel)),
        optax.rmsprop(lambda count: learning_rate * fall(count), decay=DECAY, eps_in_sqrt=False),
    )


def train(
    activation: str, data: Standardized, *, depth: int, width: int, seeds: int, epochs: int, rates: Sequence[float],
    batch: int, tolerance: float,
) -> dict[str, Trained]:  # fmt: skip
    """Every start and seed of an activation side by side, in the same order of the examples for all of a seed.

    Every start's rate is the best of `rates` by the validation loss of one more seed, which is not judged.
    """
    model = network(activation, depth=depth, width=width)
    num_steps = epochs * (len(data.train.y) // BATCH)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    first = jnp.asarray(data.train.x[:batch])
    keys = [*range(seeds), TUNING_SEED]
    members = [start(model, name, jax.random.key(key), first, tolerance=tolerance) for name in STARTS for key in keys]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(each["params"] for each in members))

    def make_step(start: Any, learning_rate: Any) -> training.TrainStep:
        return training.make_train_step(objective, recipe(learning_rate, num_steps))

    def init(key: jax.Array, start: Any, learning_rate: Any) -> training.TrainState:
        number = start.astype("int32")
        own = jax.random.fold_in(jax.random.key(0), number % len(keys))
        chosen = jax.tree.map(lambda leaf: leaf[number], params)
        return training.make_state(chosen, recipe(learning_rate, num_steps), key=own)

    def many(cells: Sequence[tuple[int, float]], held_out: Examples) -> training.ManyRuns:
        return training.run_many(
            make_step, init, data.train, seeds=[0], batch_size=BATCH, epochs=epochs, evaluate_every=epochs,
            hyperparameters=[{"start": number, "learning_rate": rate} for number, rate in cells],
            validation=held_out, mode="vmap", progress=False,
        )  # fmt: skip

    best = dict.fromkeys(STARTS, rates[0])
    if len(rates) > 1:
        cells = [(i * len(keys) + seeds, rate) for i in range(len(STARTS)) for rate in rates]
        tuning = many(cells, data.validation).values("validation_loss").reshape(len(STARTS), len(rates), 1)
        best = {name: rates[best_cell(tuning[i])] for i, name in enumerate(STARTS)}
    judged = [(i * len(keys) + seed, best[name]) for i, name in enumerate(STARTS) for seed in range(seeds)]
    states, history = many(judged, data.train)
    shape = (len(STARTS), seeds)
    losses = history.validation["loss"][:, -1].reshape(shape)
    losses = np.where(np.isfinite(losses), losses, np.inf)
    accuracy = 100 * np.asarray(_accuracy(states.params, data.test.x, data.test.y, model=model)).reshape(shape)
    curves = history.train["loss"].reshape(*shape, epochs, -1).mean(-1)
    off = np.array([float(largest_deviation(members[number], first, model=model)) for number, _ in judged])
    return {
        name: Trained(best[name], losses[i], accuracy[i], off.reshape(shape)[i], curves[i])
        for i, name in enumerate(STARTS)
    }


@partial(jax.jit, static_argnames="model")
def _accuracy(params: Any, x: Any, y: Any, *, model: Any) -> jax.Array:
    def one(params: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(model.apply({"params": params}, x), 1) == y)

    return jax.lax.map(one, params)
