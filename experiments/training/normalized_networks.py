"""Small networks with every normalization, and batches of a given composition."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl.layers import BatchRenorm, CosineDense

WIDTH, HIDDEN, NUM_CLASSES, MOMENTUM = 100, 2, 10, 0.99
R_MAX, D_MAX = 3.0, 5.0


class Layout(NamedTuple):
    """How many examples a batch holds, and of how many labels; 0: drawn at random."""

    size: int
    labels: int = 0


class NormalizedMLP(nn.Module):
    """Hidden layers of ReLU with a normalization before it, and ten logits.

    Attributes:
      normalization: one of the names below.
      num_steps: of the training, for the ramp of batch renormalization.
    """

    normalization: str
    num_steps: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Logits `(batch, 10)` of images."""
        x = x.reshape(x.shape[0], -1)
        for _ in range(HIDDEN):
            x = nn.relu(self.normalized(x, train))
        return nn.Dense(NUM_CLASSES)(x)

    def normalized(self, x: jax.Array, train: bool) -> jax.Array:
        """The pre-activations of a hidden layer."""
        name, running = self.normalization, not train
        if name == "weight norm":
            return nn.WeightNorm(nn.Dense(WIDTH))(x)
        if name.endswith("cosine"):
            return CosineDense(WIDTH, centered=name.startswith("centred"))(x)
        z = nn.Dense(WIDTH, use_bias=name == "none")(x)
        if name == "batch norm":
            return nn.BatchNorm(use_running_average=running, momentum=MOMENTUM, use_fast_variance=False)(z)
        if name == "batch renorm":
            begin, over = max(self.num_steps // 10, 1), max(self.num_steps // 5, 1)
            r_max = optax.linear_schedule(1.0, R_MAX, over, begin)
            d_max = optax.linear_schedule(0.0, D_MAX, over, begin)
            return BatchRenorm(use_running_average=running, momentum=MOMENTUM, r_max=r_max, d_max=d_max)(z)
        if name == "bound batch renorm":
            return BatchRenorm(use_running_average=running, momentum=MOMENTUM, r_max=1.0, d_max=0.0)(z)
        if name == "layer norm":
            return nn.LayerNorm()(z)
        return z


def network(normalization: str, *, num_steps: int) -> NormalizedMLP:
    """The network of an arm."""
    return NormalizedMLP(normalization, num_steps)


def arranged(examples: jaxdl.data.Examples, layout: Layout, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples in batches: x `(batches, size, ...)` and y `(batches, size)`; what fills no batch is left out."""
    draws, y = np.random.default_rng(seed), examples.y
    if not layout.labels:
        chosen = draws.permutation(len(y))[: len(y) // layout.size * layout.size].reshape(-1, layout.size)
        return examples.x[chosen], y[chosen]
    share, batches = layout.size // layout.labels, []
    pools = [draws.permutation(np.flatnonzero(y == label)) for label in range(NUM_CLASSES)]
    while True:
        enough = [label for label, pool in enumerate(pools) if len(pool) >= share]
        if len(enough) < layout.labels:
            break
        labels = draws.choice(enough, layout.labels, replace=False)
        batches.append(np.concatenate([pools[label][:share] for label in labels]))
        for label in labels:
            pools[label] = pools[label][share:]
    chosen = np.stack(batches)
    return examples.x[chosen], y[chosen]


def objective(model: Any) -> Any:
    """Softmax cross-entropy; one of the examples that `fit` shuffles is a whole batch, so that it stays together."""
    inner = jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )

    def grouped(params: Any, batch: Any, *, model_state: Any, key: Any, train: bool) -> Any:
        x, y = batch
        if y.ndim == 1:  # plain examples, in evaluation
            return inner(params, batch, model_state=model_state, key=key, train=train)
        flat = (x.reshape(-1, *x.shape[2:]), y.reshape(-1))
        losses, aux = inner(params, flat, model_state=model_state, key=key, train=train)
        means = {name: values.reshape(y.shape).mean(1) for name, values in aux.metrics.items()}
        return losses.reshape(y.shape).mean(1), jaxdl.training.Aux(aux.model_state, means)

    return grouped
