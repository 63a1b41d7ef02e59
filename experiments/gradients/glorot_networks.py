"""The networks of the experiment `glorot_training`: five hidden layers, and the signals in them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import initializers, losses, training
from jaxdl.data import Examples

DEPTH, NUM_CLASSES, BATCH, LOOKED_AT = 5, 10, 10, 300
STANDARD, NORMALIZED = "standard", "normalized"
STARTS = {STANDARD: initializers.standard_uniform(), NORMALIZED: initializers.glorot_uniform()}


class Arm(NamedTuple):
    """An activation, its largest slope, and its start."""

    activation: Callable[[jax.Array], jax.Array]
    steepest: float
    start: str


ARMS: Mapping[str, Arm] = {
    "softsign": Arm(nn.soft_sign, 1.0, STANDARD),
    "softsign N": Arm(nn.soft_sign, 1.0, NORMALIZED),
    "tanh": Arm(nn.tanh, 1.0, STANDARD),
    "tanh N": Arm(nn.tanh, 1.0, NORMALIZED),
    "sigmoid": Arm(nn.sigmoid, 0.25, STANDARD),
}


class Signals(NamedTuple):
    """Of some images, one entry a hidden layer, `(images, width)` each.

    Attributes:
      activations: of the units.
      slopes: of the activation function where the units are, relative to its largest.
      errors: gradients of each image's own loss with respect to the pre-activations.
    """

    activations: Sequence[jax.Array]
    slopes: Sequence[jax.Array]
    errors: Sequence[jax.Array]


def network(name: str, width: int) -> jaxdl.models.MLP:
    """`DEPTH` hidden layers and ten logits; biases 0."""
    arm = ARMS[name]
    return jaxdl.models.MLP((width,) * DEPTH + (NUM_CLASSES,), activation=arm.activation, kernel_init=STARTS[arm.start])


def objective_of(name: str, width: int) -> training.Objective:
    """Softmax cross-entropy, with accuracy."""
    return training.supervised(network(name, width), losses.softmax_cross_entropy, metrics={"accuracy": losses.correct})


def signals(name: str, params: Any, examples: Examples) -> Signals:
    """Activations, slopes and error signals of every hidden layer."""
    function, steepest, _ = ARMS[name]
    layers = [params[f"Dense_{i}"] for i in range(DEPTH + 1)]
    x = jnp.reshape(jnp.asarray(examples.x), (len(examples.y), -1))

    def total(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        a, seen = x, []
        for layer, shift in zip(layers[:-1], shifts, strict=True):
            z = a @ layer["kernel"] + layer["bias"][None, :] + shift
            a = function(z)
            seen.append((a, z))
        logits = a @ layers[-1]["kernel"] + layers[-1]["bias"][None, :]
        return losses.softmax_cross_entropy(logits, jnp.asarray(examples.y)).sum(), seen

    shifts = [jnp.zeros((len(x), layer["bias"].shape[0])) for layer in layers[:-1]]
    errors, seen = jax.grad(total, has_aux=True)(shifts)
    slopes = [jax.vjp(function, z)[1](jnp.ones_like(z))[0] / steepest for _, z in seen]
    return Signals([a for a, _ in seen], slopes, errors)


def weight_gradient_variances(found: Signals, x: Any) -> jax.Array:
    """`(DEPTH,)`: mean square of an entry of each hidden kernel's gradient for one image, mean over the images."""
    below = [jnp.reshape(jnp.asarray(x), (len(x), -1)), *found.activations[:-1]]
    return jnp.stack([jnp.mean((a**2).mean(1) * (d**2).mean(1)) for a, d in zip(below, found.errors, strict=True)])


def error_variances(found: Signals) -> jax.Array:
    """`(DEPTH,)`, of the entries of the error signals."""
    return jnp.stack([jnp.var(d) for d in found.errors])


def moments(name: str, params: Any, examples: Examples) -> dict[str, jax.Array]:
    """What is watched in training, `(DEPTH,)` each."""
    found = signals(name, params, examples)
    return {
        "mean": jnp.stack([a.mean() for a in found.activations]),
        "deviation": jnp.stack([a.std() for a in found.activations]),
        "slope": jnp.stack([s.mean() for s in found.slopes]),
        "error": error_variances(found),
    }


class Trained(NamedTuple):
    """An arm at the rate that was chosen for it.

    Attributes:
      rate: the rate.
      tuned: whether it lies inside of the grid.
      test: `(seeds,)`, error in percent at the best validation epoch.
      validation: `(seeds, epochs)`, error in percent.
      watched: `{name: (seeds, times, DEPTH)}`, see `moments`; the first before training, the last after it.
      steps: `(times,)`, updates done when it was looked.
      first, last: parameters of the first seed before and after training.
    """

    rate: float
    tuned: bool
    test: np.ndarray
    validation: np.ndarray
    watched: Mapping[str, np.ndarray]
    steps: np.ndarray
    first: Any
    last: Any


def train(run: Run, name: str, rates: Sequence[float]) -> Trained:
    """Chooses the rate by the best validation loss over seeds that are not judged, and trains the judged ones at it."""
    settings, count = run.settings, run.settings["images"][run.dataset]
    images = jax.device_put(Examples(*(array[:count] for array in run.splits.train)))
    epochs, width = settings["epochs"][run.dataset], settings["width"][run.dataset]
    objective, per_epoch = objective_of(name, width), count // BATCH
    every = max(1, epochs * per_epoch // settings["looks"])
    few = Examples(*(array[:LOOKED_AT] for array in images))
    watch = jax.jit(functools.partial(moments, name))

    def make_step(learning_rate: Any) -> training.TrainStep:
        return training.make_train_step(
            objective, optax.sgd(learning_rate), measure=lambda moment: watch(moment.params, few), measure_every=every
        )

    def init(key: jax.Array, learning_rate: Any) -> training.TrainState:
        return training.init_state(network(name, width), optax.sgd(learning_rate), images.x[:1], key=key)

    def many(rates: Sequence[float], seeds: Sequence[int], epochs: int) -> training.ManyRuns:
        return training.run_many(
            make_step, init, images, seeds=seeds, hyperparameters={"learning_rate": list(rates)}, epochs=epochs,
            batch_size=BATCH, validation=run.splits.validation, mode="map", progress=False,
            early_stopping=training.EarlyStopping(patience=epochs + 1),
        )  # fmt: skip

    seeds = range(run.seeds, run.seeds + settings["tuning_seeds"])
    tuning = many(rates, seeds, settings["tuning_epochs"][run.dataset]).history.validation["loss"]
    best = np.where(np.isfinite(tuning), tuning, np.inf).min(-1).reshape(len(rates), -1).mean(1)
    chosen = int(np.argmin(best))
    runs = many([rates[chosen]], range(run.seeds), epochs)
    members = [training.member(runs.states, i) for i in range(run.seeds)]
    ends = [watch(state.params, few) for state in members]
    watched = {
        key: np.concatenate([values, np.stack([np.asarray(end[key]) for end in ends])[:, None]], 1)
        for key, values in runs.history.measures.items()
    }
    test = [
        100 - 100 * training.evaluate(objective, training.best(state), run.splits.test)["accuracy"]
        for state in members
    ]  # fmt: skip
    print(f"  {name}: rate {rates[chosen]:g}, {np.mean(test):.2f} %, {runs.history.run_seconds:.0f} s")
    return Trained(
        rate=rates[chosen],
        tuned=chosen not in (0, len(rates) - 1),
        test=np.array(test),
        validation=100 - 100 * runs.history.validation["accuracy"],
        watched=watched,
        steps=np.append(runs.history.measure_steps, epochs * per_epoch),
        first=init(jax.random.key(0), rates[chosen]).params,
        last=members[0].params,
    )
