"""The networks of `pretraining`: how their layers are learned beforehand, and how the whole is fine-tuned."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import diagnostics, initializers, procedures, training
from jaxdl.data import Examples

NUM_CLASSES, RATE = 10, 0.1
NONE, AUTOENCODER, RBM, SUPERVISED, SHUFFLED, RELU = (
    "none",
    "denoising autoencoders",
    "RBMs (CD-1)",
    "supervised, greedy",
    "autoencoders' weights shuffled",
    "ReLU + He, none",
)
ARMS = (NONE, AUTOENCODER, RBM, SUPERVISED, SHUFFLED, RELU)
# Theano's tutorials: four times Glorot's interval for sigmoids.
SIGMOID_START = initializers.variance_scaling(16.0, "fan_avg", "uniform")


class Plan(NamedTuple):
    """Sizes and budgets: hidden layers, batch, epochs of each layer's learning and of fine-tuning."""

    widths: Sequence[int]
    batch: int
    layer_epochs: int
    epochs: int


class Tuned(NamedTuple):
    """Of one arm.

    Attributes:
      error: `(seeds,)`, of the test split in percent, after the last epoch.
      curves: `(seeds, epochs)`, validation error in percent.
      loss: `(seeds, epochs)`, mean training loss of each epoch.
      distance: `(seeds, layers)`, of the fine-tuned weights from where fine-tuning began, over the norm there.
      cosine: `(seeds, layers)`, between both.
    """

    error: np.ndarray
    curves: np.ndarray
    loss: np.ndarray
    distance: np.ndarray
    cosine: np.ndarray


def network(arm: str, widths: Sequence[int]) -> jaxdl.models.MLP:
    """Sigmoids from Theano's start, or ReLU from He's."""
    relu = arm == RELU
    return jaxdl.models.MLP(
        (*widths, NUM_CLASSES),
        activation=nn.relu if relu else nn.sigmoid,
        kernel_init=initializers.he_normal() if relu else SIGMOID_START,
    )


def learners(arm: str, widths: Sequence[int]) -> list[procedures.LayerLearner]:
    """What each layer is learned with: corruption 0.1, 0.2, 0.3, ... of autoencoders, rates of Theano's tutorials."""
    found = []
    for number, width in enumerate(widths):
        if number and arm != AUTOENCODER and width == widths[number - 1]:
            found.append(found[-1])  # compiled once
            continue
        if arm == AUTOENCODER:
            model: Any = jaxdl.models.Autoencoder(
                (width,), tied=True, masking_rate=min(0.1 * (number + 1), 0.5), kernel_init=SIGMOID_START
            )
            objective, rate, layer = (
                training.reconstruction(model, jaxdl.losses.sigmoid_cross_entropy),
                0.02,
                "encoder_0",
            )
        elif arm == RBM:
            model = jaxdl.models.RBM(width)
            objective, rate, layer = training.contrastive_divergence(model), RATE, "hidden"
        else:
            model = jaxdl.models.MLP((width, NUM_CLASSES), activation=nn.sigmoid, kernel_init=SIGMOID_START)
            objective, rate, layer = training.supervised(model, jaxdl.losses.softmax_cross_entropy), RATE, "Dense_0"
        encode = procedures.dense_encoding("Dense_0", nn.sigmoid) if arm == SUPERVISED else None
        found.append(
            procedures.LayerLearner(model, training.make_train_step(objective, optax.sgd(rate)), layer, encode)
        )
    return found


def pretrained(arm: str, plan: Plan, train: Examples, *, seeds: int) -> list[tuple[Any, ...]]:
    """The layers `{kernel, bias}` that each seed learned."""
    chosen = learners(arm, plan.widths)
    options: dict[str, Any] = dict(epochs=plan.layer_epochs, batch_size=plan.batch, progress=False)
    x = train.x.reshape(len(train.x), -1)
    keys = [jax.random.fold_in(jax.random.key(seed), 1) for seed in range(seeds)]
    if arm == SUPERVISED:
        return [procedures.greedy_supervised(chosen, (x, train.y), key=key, **options).layers for key in keys]
    return [procedures.greedy_pretraining(chosen, x, key=key, **options).layers for key in keys]


def shuffled(layers: Sequence[Any], seed: int) -> tuple[Any, ...]:
    """The same weights at other places in their kernels, biases too: nothing of what was learned but their sizes."""
    draws = np.random.default_rng(seed)

    def mixed(leaf: Any) -> jax.Array:
        return jnp.asarray(draws.permutation(np.asarray(leaf).ravel()).reshape(leaf.shape))

    return tuple(jax.tree.map(mixed, layer) for layer in layers)


def starts(plan: Plan, train: Examples, *, seeds: int) -> dict[str, list[Any]]:
    """Parameters from which each arm is fine-tuned, a list of one a seed; the same draws where nothing was learned."""
    layers: dict[str, Sequence[Sequence[Any]]] = {
        arm: pretrained(arm, plan, train, seeds=seeds) for arm in (AUTOENCODER, RBM, SUPERVISED)
    }
    layers[SHUFFLED] = [shuffled(each, seed) for seed, each in enumerate(layers[AUTOENCODER])]
    found = {}
    for arm in ARMS:
        model = network(arm, plan.widths)
        drawn = [model.init(jax.random.key(seed), train.x[:1])["params"] for seed in range(seeds)]
        output = f"Dense_{len(plan.widths)}"
        drawn = [{**each, output: jax.tree.map(jnp.zeros_like, each[output])} for each in drawn]
        found[arm] = [
            procedures.with_layers(each, layers[arm][seed]) if arm in layers else each
            for seed, each in enumerate(drawn)
        ]
    return found


def fine_tuned(
    starts: Mapping[str, Sequence[Any]], plan: Plan, train: Examples, validation: Examples, test: Examples
) -> dict[str, Tuned]:
    """Arms of one activation, all seeds, with the same batches for all arms of a seed."""
    arms, seeds = list(starts), len(next(iter(starts.values())))
    model = network(arms[0], plan.widths)
    tx = optax.sgd(RATE)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    members = [each for arm in arms for each in starts[arm]]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)

    def make_step(start: Any) -> training.TrainStep:
        return training.make_train_step(objective, tx)

    def init(key: jax.Array, start: Any) -> training.TrainState:
        number = start.astype("int32")
        own = jax.random.fold_in(jax.random.key(2), number % seeds)
        return training.make_state(jax.tree.map(lambda leaf: leaf[number], stacked), tx, key=own)

    states, history = training.run_many(
        make_step, init, train, seeds=[0], hyperparameters={"start": list(range(len(members)))}, epochs=plan.epochs,
        batch_size=plan.batch, validation=validation, mode="map", progress=False,
    )  # fmt: skip
    ends = [training.member(states, i) for i in range(len(members))]
    error = np.array([100 * (1 - training.evaluate(objective, each, test)["accuracy"]) for each in ends])
    curves = 100 * (1 - history.validation["accuracy"])
    loss = history.train["loss"].reshape(len(members), plan.epochs, -1).mean(-1)
    drifts = [
        diagnostics.parameter_drift(_kernels(end.params), _kernels(start))
        for end, start in zip(ends, members, strict=True)
    ]
    distance, cosine = (np.stack([np.asarray(getattr(d, name)) for d in drifts]) for name in ("distance", "cosine"))
    columns = (error, curves, loss, distance, cosine)
    return {arm: Tuned(*(column[i * seeds : (i + 1) * seeds] for column in columns)) for i, arm in enumerate(arms)}


def _kernels(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the hidden layers; the output layer starts at zero."""
    hidden = sorted(params, key=lambda name: int(name.removeprefix("Dense_")))[:-1]
    return {name: {"kernel": params[name]["kernel"]} for name in hidden}
