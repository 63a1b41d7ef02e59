"""The thirty-layer network of `deep_rescue`, and its starts: as drawn, and after each cure."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import initializers, procedures, training

NUM_CLASSES, BATCH, PRETRAINING_RATE = 10, 32, 0.01
UNTREATED, CONTROL = "untreated", "output layer redrawn"
GREEDY, LSUV, BATCH_NORM, RESIDUAL = "greedy pretraining", "LSUV", "batch norm", "residual"
LEARNERS_START = "the autoencoders' start alone"
CURES = (GREEDY, LSUV, BATCH_NORM, RESIDUAL)
ARMS = (UNTREATED, *CURES, LEARNERS_START, CONTROL)
LEARNERS_INIT = initializers.glorot_uniform()
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"tanh": jnp.tanh, "sigmoid": nn.sigmoid}


class Shape(NamedTuple):
    """Hidden layers, their units, and the units' activation by name."""

    depth: int
    width: int
    activation: str


def network(arm: str, shape: Shape) -> jaxdl.models.MLP:
    """The network of an arm; every weight is drawn from N(0, 1), biases are 0."""
    return jaxdl.models.MLP(
        (shape.width,) * shape.depth + (NUM_CLASSES,),
        activation=ACTIVATIONS[shape.activation],
        kernel_init=initializers.normal(1.0),
        normalization="batch" if arm == BATCH_NORM else None,
        residual=arm == RESIDUAL,
    )


def objective(model: Any) -> Any:
    """Softmax cross-entropy, with accuracy."""
    return training.supervised(model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct})


def starts(arm: str, shape: Shape, x: np.ndarray, *, seeds: Sequence[int], epochs: int) -> Any:
    """Variables before the supervised training, one set a seed along a leading axis.

    The same seed has the same N(0, 1) draws in every arm whose network has the same shapes.

    Args:
      arm: one of `ARMS`.
      shape: of the network.
      x: training images.
      seeds: of the draws.
      epochs: of the pretraining of each layer.
    """
    model = network(arm, shape)

    output = f"Dense_{shape.depth}"

    def drawn(key: jax.Array) -> Any:
        variables: Any = dict(model.init(key, x[:1]))
        own_key = jax.random.fold_in(key, 1)
        if arm == LSUV:
            return initializers.lsuv(model, variables, x[:256], key=own_key).variables
        if arm in (CONTROL, LEARNERS_START):
            standard = model.clone(kernel_init=LEARNERS_INIT).init(own_key, x[:1])["params"]
            redrawn = [name for name in standard if (name == output) == (arm == CONTROL)]
            return {"params": {**variables["params"], **{name: standard[name] for name in redrawn}}}
        return variables

    draw = jax.jit(drawn)
    found = stacked([draw(jax.random.key(seed)) for seed in seeds])
    if arm != GREEDY:
        return found
    learners = layer_learners(shape)
    layers = [
        procedures.greedy_pretraining(
            learners,
            x,
            key=jax.random.fold_in(jax.random.key(seed), 2),
            epochs=epochs,
            batch_size=BATCH,
            progress=False,
        ).layers
        for seed in seeds
    ]
    return {"params": procedures.with_layers(found["params"], stacked(layers))}


def stacked(trees: Sequence[Any]) -> Any:
    """Their leaves along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def layer_learners(shape: Shape) -> list[procedures.LayerLearner]:
    """Tied autoencoders with linear outputs, from a standard start: from N(0, 1) they do not learn either."""
    model = jaxdl.models.Autoencoder(
        (shape.width,), activation=ACTIVATIONS[shape.activation], tied=True, kernel_init=LEARNERS_INIT
    )
    step = training.make_train_step(
        training.reconstruction(model, jaxdl.losses.quadratic_cost), optax.adam(PRETRAINING_RATE)
    )
    return [procedures.LayerLearner(model, step, "encoder_0")] * shape.depth
