"""The networks of Nielsen's book, chapters 1, 3 and 5, which the lectures' figures come from.

Sigmoid units everywhere, ten sigmoid outputs with cross-entropy summed over them, weights N(0, 1/fan_in) from an
untruncated Gaussian (or N(0, 1), as in his first chapters), biases N(0, 1), mini-batches of 10, and a decay of
eta*lambda/n on the weights alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl.data import Examples

WIDTH, NUM_CLASSES, BATCH = 30, 10, 10
ETA, DECAY = 0.1, 5.0
DECAY_EXAMPLES = 50_000  # the training set DECAY is meant for


def network(num_hidden: int, *, width: int = WIDTH, start: Any = None, dropout_rate: Any = 0.0) -> jaxdl.models.MLP:
    """`num_hidden` layers of `width` sigmoids and ten logits; the weights from `start`, or N(0, 1/fan_in)."""
    return jaxdl.models.MLP(
        (width,) * num_hidden + (NUM_CLASSES,),
        activation=nn.sigmoid,
        kernel_init=start or jaxdl.initializers.lecun_normal(),
        bias_init=jaxdl.initializers.normal(1.0),
        dropout_rate=dropout_rate,
    )


def large_start() -> Any:
    """Weights N(0, 1), with which the book begins."""
    return jaxdl.initializers.normal(1.0)


def relu_he_network(num_hidden: int, *, width: int = WIDTH) -> jaxdl.models.MLP:
    """The same shape with ReLU, weights N(0, 2/fan_in) and zero biases: the control that must not vanish."""
    return jaxdl.models.MLP(
        (width,) * num_hidden + (NUM_CLASSES,),
        activation=nn.relu,
        kernel_init=jaxdl.initializers.he_normal(),
    )


def quadratic(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """`1/2 ||a - y||^2` of the sigmoid outputs `a` and the one-hot label `y`: his first cost."""
    return jaxdl.losses.quadratic_cost(nn.sigmoid(logits), jaxdl.data.one_hot(labels, NUM_CLASSES))


def objective(model: Any, *, loss: Any = jaxdl.losses.sigmoid_cross_entropy) -> Any:
    """Cross-entropy of ten independent sigmoids, or another loss, with accuracy by the largest output."""
    return jaxdl.training.supervised(model, loss, metrics={"accuracy": jaxdl.losses.correct})


@dataclass(frozen=True, eq=False)
class Monitored:
    """An objective whose metric `cost` adds the penalty `decay / (2 count) sum w^2` to the loss."""

    objective: Any
    decay: Any
    count: int

    def __call__(self, params: Any, batch: Any, *, model_state: Any, key: Any, train: bool) -> Any:
        """As the objective."""
        losses, aux = self.objective(params, batch, model_state=model_state, key=key, train=train)
        penalty = jaxdl.regularizers.l2(self.decay / self.count)(params)
        return losses, jaxdl.training.Aux(aux.model_state, {**aux.metrics, "cost": losses + penalty})


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


class Trained(NamedTuple):
    """Members of all seeds.

    Attributes:
      states: with a leading axis of seeds.
      watched: `{metric: (seeds, evaluations)}` on the watched data; accuracy in percent.
      seconds: of running, without compilation.
    """

    states: Any
    watched: dict[str, np.ndarray]
    seconds: float


def train(
    model: Any,
    objective: Any,
    tx: optax.GradientTransformation,
    data: Examples,
    watched: Examples,
    *,
    regularizer: Any = None,
    **options: Any,
) -> Trained:
    """Mini-batches of 10 for every seed; `options` are those of `run_many`, `seeds` and `epochs` among them."""
    step = jaxdl.training.make_train_step(objective, tx, regularizer=regularizer)
    states, history = jaxdl.training.run_many(
        step, starter(model, tx, data.x), data, validation=watched,
        **{"batch_size": BATCH, "mode": "vmap", "progress": False, **options},
    )  # fmt: skip
    scale = {"accuracy": 100.0}
    values = {name: scale.get(name, 1.0) * np.asarray(each) for name, each in history.validation.items()}
    return Trained(states, values, history.run_seconds)
