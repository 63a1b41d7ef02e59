"""The networks of the experiment `mlp_baselines`: one hidden layer, three protocols."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import data, initializers, losses, regularizers, training
from jaxdl.data import Examples

NUM_CLASSES, HELD_OUT = 10, {"digits": 300, "mnist": 6000}
SGD, THEANO, WIDE = "per-sample SGD", "tanh, weight decay", "800 units"
HIDDEN = {SGD: 128, THEANO: 500, WIDE: 800}
BATCH, ETA = {SGD: 1, THEANO: 20, WIDE: 32}, {SGD: 0.01, THEANO: 0.01, WIDE: 0.1}
PENALTY = 1e-4  # times the sum of the squared weights, without 1/2
NONE, AFFINE, ELASTIC, FLIPPED = "none", "affine", "elastic", "flipped"
FIELD = {"digits": (4.0, 2.0), "mnist": (34.0, 4.0)}  # alpha and sigma in pixels


class Reached(NamedTuple):
    """Of every seed, `(seeds,)` in percent but for the curve.

    Attributes:
      test: accuracy on the test images.
      validation: on the validation images.
      curve: `(seeds, epochs)`, accuracy on the validation images.
    """

    test: np.ndarray
    validation: np.ndarray
    curve: np.ndarray


def network(protocol: str) -> jaxdl.models.MLP:
    """One hidden layer of ReLU, or tanh, from Glorot's uniform start; biases 0."""
    activation = nn.tanh if protocol == THEANO else nn.relu
    return jaxdl.models.MLP(
        (HIDDEN[protocol], NUM_CLASSES), activation=activation, kernel_init=initializers.glorot_uniform()
    )


def half_shifted(key: jax.Array, images: jax.Array) -> jax.Array:
    """Half of the images, drawn anew, by -1, 0 or 1 pixel along rows and along columns."""
    choice_key, shift_key = jax.random.split(key)
    moved = data.make_augmentation(shift_pixels=1)(shift_key, images)
    return jnp.where(jax.random.bernoulli(choice_key, 0.5, (len(images), 1, 1, 1)), moved, images)


def distortions(dataset: str) -> dict[str, Any]:
    """Of the arms with 800 units; flips change the meaning of digits, and so are the control."""
    return {
        NONE: None,
        AFFINE: data.make_augmentation(rotation=15.0, shear=15.0, zoom=0.15, shift=0.05),
        ELASTIC: data.make_augmentation(elastic=FIELD[dataset]),
        FLIPPED: data.make_augmentation(flip_horizontal=True, flip_vertical=True),
    }


def pooled(run: Run) -> Examples:
    """All images with labels but those of the test split; 60,000 on MNIST."""
    pairs = zip(run.splits.train, run.splits.validation, strict=True)
    return Examples(*(np.concatenate(pair) for pair in pairs))


def train(
    run: Run,
    protocol: str,
    images: Examples,
    held_out: Examples,
    *,
    epochs: int,
    augment: Any = None,
    best: bool = False,
) -> Reached:
    """Every seed, the same starts and orders whatever the augmentation.

    Args:
      run: gives seeds and test images.
      protocol: network, rate, batch size and penalty.
      images: to train on.
      held_out: validation images, looked at after every epoch.
      epochs: over the images.
      augment: applied to each batch.
      best: whether the epoch of the best validation accuracy is kept, instead of the last.
    """
    model, tx = network(protocol), optax.sgd(ETA[protocol])
    objective = training.supervised(
        model, losses.softmax_cross_entropy, metrics={"accuracy": losses.correct}, augment=augment
    )
    step = training.make_train_step(
        objective, tx, regularizer=regularizers.l2(2 * PENALTY) if protocol == THEANO else None
    )
    stopping = training.EarlyStopping(patience=epochs + 1, metric="accuracy", mode="max") if best else None
    states, history = training.run_many(
        step, lambda key: training.init_state(model, tx, images.x[:1], key=key), jax.device_put(images),
        seeds=range(run.seeds), epochs=epochs, batch_size=BATCH[protocol], validation=jax.device_put(held_out),
        mode="vmap" if protocol == SGD else "map", early_stopping=stopping, progress=False,
    )  # fmt: skip
    members = [training.member(states, i) for i in range(run.seeds)]
    chosen = [training.best(state) if best else state for state in members]
    test = [100 * training.evaluate(objective, state, run.splits.test)["accuracy"] for state in chosen]
    curve = 100 * history.validation["accuracy"]
    print(f"  {protocol}: {np.mean(test):.2f} %, {history.run_seconds:.0f} s")
    return Reached(np.array(test), curve.max(1) if best else curve[:, -1], curve)
