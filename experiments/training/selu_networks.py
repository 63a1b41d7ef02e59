"""The networks of the experiment `selu`: two activations, each from two starts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import initializers, layers, training
from jaxdl.data import Examples, Splits

HIDDEN, NUM_CLASSES, BATCH, RATE = (512, 256), 10, 128, 0.05
ETA = {"digits": 0.02, "mnist": 1e-3}
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, as the tutorial has them
RELU, SELU = "ReLU, default start", "SELU, LeCun's start"
RELU_HE, SELU_DEFAULT = "ReLU, He's start", "SELU, default start"


class Network(nn.Module):
    """Dense layers, each but the last with its activation and its dropout.

    Attributes:
      activation: of the hidden layers.
      dropout: the layer after each activation, of one `rate`.
      kernel_init: of every kernel.
      uniform_bias: whether biases are U(+-1/sqrt(fan_in)), as PyTorch draws them, instead of 0.
    """

    activation: Callable[[jax.Array], jax.Array]
    dropout: Callable[..., Any]
    kernel_init: Callable[..., jax.Array]
    uniform_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits `(batch, 10)` of images."""
        x = jax.lax.collapse(x, 1)
        for width in HIDDEN:
            x = self.activation(self._dense(width, x))
            x = self.dropout(rate=RATE)(x, deterministic=not train)
        return self._dense(NUM_CLASSES, x)

    def _dense(self, width: int, x: jax.Array) -> jax.Array:
        bound = x.shape[-1] ** -0.5

        def symmetric(key: jax.Array, shape: Any, dtype: Any = jax.numpy.float32) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        bias_init = symmetric if self.uniform_bias else initializers.zeros
        return nn.Dense(width, kernel_init=self.kernel_init, bias_init=bias_init)(x)


def networks() -> dict[str, Network]:
    """The two arms of the tutorial, then those that part activation from start."""
    default, lecun = initializers.standard_uniform(), initializers.lecun_normal()
    return {
        RELU: Network(nn.relu, layers.Dropout, default, uniform_bias=True),
        SELU: Network(nn.selu, layers.AlphaDropout, lecun, uniform_bias=False),
        RELU_HE: Network(nn.relu, layers.Dropout, initializers.he_normal(), uniform_bias=False),
        SELU_DEFAULT: Network(nn.selu, layers.AlphaDropout, default, uniform_bias=True),
    }


def prepared(splits: Splits, dataset: str) -> Splits:
    """Standardized by one mean and one deviation; training and validation images divided anew, at random."""
    x, y = (np.concatenate(pair) for pair in zip(splits.train, splits.validation, strict=True))
    mean, deviation = (MEAN, DEVIATION) if dataset == "mnist" else (splits.train.x.mean(), splits.train.x.std())
    order = np.random.RandomState(0).permutation(len(y))
    first, rest = np.split(order, [len(splits.train.y)])

    def standardized(images: np.ndarray, labels: np.ndarray) -> Examples:
        return Examples(((images - mean) / deviation).astype(np.float32), labels)

    parts = standardized(x[first], y[first]), standardized(x[rest], y[rest]), standardized(*splits.test)
    return Splits(*jax.device_put(parts))


class Trained(NamedTuple):
    """One arm.

    Attributes:
      validation: `(seeds, evaluations)`, accuracy in percent.
      loss: `(seeds, evaluations)`, on the validation images.
      test: `(seeds,)`, accuracy in percent at the best evaluation.
      seconds: of all seeds together.
    """

    validation: np.ndarray
    loss: np.ndarray
    test: np.ndarray
    seconds: float


def train(run: Run, model: Network, splits: Splits, *, epochs: int) -> Trained:
    """Every seed; evaluated after every epoch, on digits after every `every`-th."""
    tx = optax.sgd(ETA[run.dataset])
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    states, history = training.run_many(
        training.make_train_step(objective, tx),
        lambda key: training.init_state(model, tx, splits.train.x[:1], key=key),
        splits.train, seeds=range(run.seeds), epochs=epochs, batch_size=BATCH, validation=splits.validation,
        evaluate_every=run.settings["every"][run.dataset], mode="map", progress=False,
        early_stopping=training.EarlyStopping(patience=epochs, metric="accuracy", mode="max"),
    )  # fmt: skip
    chosen = [training.best(training.member(states, i)) for i in range(run.seeds)]
    test = [100 * training.evaluate(objective, state, splits.test)["accuracy"] for state in chosen]
    return Trained(
        100 * history.validation["accuracy"], history.validation["loss"], np.array(test), history.run_seconds
    )
