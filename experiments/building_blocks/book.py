"""The networks of Nielsen's book, chapters 3 and 5, which the lectures' figures come from.

Sigmoid units everywhere, ten sigmoid outputs with cross-entropy summed over them, weights N(0, 1/fan_in) from an
untruncated Gaussian, biases N(0, 1), and a decay of eta*lambda/n on the weights alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import linen as nn

import jaxdl

WIDTH, NUM_CLASSES = 30, 10
ETA, DECAY = 0.1, 5.0
DECAY_EXAMPLES = 50_000  # the training set DECAY is meant for


def network(num_hidden: int, *, width: int = WIDTH) -> jaxdl.models.MLP:
    """`num_hidden` layers of `width` sigmoids and ten logits."""
    return jaxdl.models.MLP(
        (width,) * num_hidden + (NUM_CLASSES,),
        activation=nn.sigmoid,
        kernel_init=jaxdl.initializers.lecun_normal(),
        bias_init=jaxdl.initializers.normal(1.0),
    )


def relu_he_network(num_hidden: int, *, width: int = WIDTH) -> jaxdl.models.MLP:
    """The same shape with ReLU, weights N(0, 2/fan_in) and zero biases: the control that must not vanish."""
    return jaxdl.models.MLP(
        (width,) * num_hidden + (NUM_CLASSES,),
        activation=nn.relu,
        kernel_init=jaxdl.initializers.he_normal(),
    )


def objective(model: Any) -> Any:
    """Cross-entropy of ten independent sigmoids, with accuracy by the largest output."""
    return jaxdl.training.supervised(
        model, jaxdl.losses.sigmoid_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )


def descent(num_training: int, *, eta: float = ETA, decay: float = DECAY) -> optax.GradientTransformation:
    """`W <- (1 - eta*decay/n) W - eta * dC/dW`, `b <- b - eta * dC/db`, with n the size of the TRAINING set."""

    def kernels(params: Any) -> Any:
        return jaxdl.tree.resolve("**/kernel", params)

    return optax.chain(optax.add_decayed_weights(decay / num_training, mask=kernels), optax.sgd(eta))


def decay_for(num_training: int) -> float:
    """The lambda that keeps lambda/n at the book's value, as its chapter 3 does when the training set changes."""
    return DECAY * num_training / DECAY_EXAMPLES


def starter(model: Any, tx: optax.GradientTransformation, x: Any) -> Callable[[jax.Array], Any]:
    """`init(key) -> TrainState` for `run_many`."""
    return lambda key: jaxdl.training.init_state(model, tx, x[:1], key=key)
