"""The networks of figure 1 of the batch normalization paper, and what is measured inside of them."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import procedures, training
from jaxdl.data import Examples

HIDDEN, WIDTH, NUM_CLASSES, BATCH, RATE = 3, 100, 10, 60, 0.5
DEVIATION = 0.1  # of the weights at the start; the paper says "small"
MOMENTUM = 0.9
PROBES, PERCENTILES = 500, (15, 50, 85)
PLAIN, NORMALIZED, AFFINE = "plain", "batch norm", "scale and shift alone"


class Affine(nn.Module):
    """What is learned in batch normalization, without its statistics: `gamma z + beta`."""

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """`(batch, units)` to the same."""
        gamma = self.param("scale", nn.initializers.ones_init(), z.shape[-1:])
        beta = self.param("bias", nn.initializers.zeros_init(), z.shape[-1:])
        return z * gamma[None, :] + beta[None, :]


NORMALIZATIONS: dict[str, Any] = {
    PLAIN: None,
    NORMALIZED: partial(nn.BatchNorm, momentum=MOMENTUM, use_fast_variance=False),
    AFFINE: Affine,
}
INPUTS = {PLAIN: f"Dense_{HIDDEN - 1}", NORMALIZED: f"BatchNorm_{HIDDEN - 1}", AFFINE: f"Affine_{HIDDEN - 1}"}


def network(arm: str, *, deviation: float = DEVIATION) -> jaxdl.models.MLP:
    """Three layers of 100 sigmoids and ten logits."""
    return jaxdl.models.MLP(
        (WIDTH,) * HIDDEN + (NUM_CLASSES,),
        activation=nn.sigmoid,
        kernel_init=jaxdl.initializers.normal(deviation),
        normalization=NORMALIZATIONS[arm],
    )


def binary(examples: Examples) -> Examples:
    """Pixels 0 or 1, cut at one half."""
    return Examples((examples.x > 0.5).astype(np.float32), examples.y)


def sigmoid_inputs(model: Any, arm: str, params: Any, model_state: Any, x: jax.Array) -> jax.Array:
    """What goes into the sigmoids of the last hidden layer in training mode, `(batch, units)`."""
    _, found = model.apply(
        {"params": params, **model_state}, x, train=True, mutable=["batch_stats", "intermediates"],
        capture_intermediates=True,
    )  # fmt: skip
    return found["intermediates"][INPUTS[arm]]["__call__"][0]


class Trained(NamedTuple):
    """What an arm reached.

    Attributes:
      test: test accuracy in percent at the end, `(seeds,)`.
      curve: validation accuracy in percent, `(seeds, epochs)`.
      steps: `(epochs,)`, updates done before each.
      percentiles: `(seeds, measurements, percentiles, units)`, of the inputs of the last hidden layer's sigmoids.
      measured: `(measurements,)`, updates done before each.
    """

    test: np.ndarray
    curve: np.ndarray
    steps: np.ndarray
    percentiles: np.ndarray
    measured: np.ndarray


def train(run: Run, arm: str, *, steps: int, measure_every: int, deviation: float = DEVIATION) -> Trained:
    """All seeds of one arm as one program; a seed has the same start of the kernels and the same batches in all."""
    train, validation, test = (binary(split) for split in run.splits)
    model, tx = network(arm, deviation=deviation), jaxdl.optimizers.gradient_descent(RATE)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    probe = jnp.asarray(validation.x[:PROBES])

    def measure(moment: training.Moment) -> jax.Array:
        z = sigmoid_inputs(model, arm, moment.params, moment.model_state, probe)
        return jnp.percentile(z, jnp.array(PERCENTILES, jnp.float32), axis=0)

    states, history = training.run_many(
        training.make_train_step(objective, tx, measure=measure, measure_every=measure_every),
        lambda key: training.init_state(model, tx, train.x[:1], key=key), train, seeds=range(run.seeds), steps=steps,
        batch_size=BATCH, validation=validation, mode="vmap", progress=False,
    )  # fmt: skip
    members = [averaged_statistics(model, training.member(states, i), train) for i in range(run.seeds)]
    accuracy = [100 * training.evaluate(objective, state, test)["accuracy"] for state in members]
    curve = 100 * np.asarray(history.validation["accuracy"])
    return Trained(
        np.array(accuracy), curve, history.validation_steps, np.asarray(history.measures), history.measure_steps
    )


def averaged_statistics(model: Any, state: Any, train: Examples) -> Any:
    """The state with means and variances averaged over training batches, the variances m / (m - 1) times (the paper).

    Running averages of momentum 0.9 stand on some ten batches, and weigh networks that are no longer there.
    """
    if not state.model_state:
        return state
    x = train.x[: len(train.x) // BATCH * BATCH][: 200 * BATCH]
    found = procedures.recompute_statistics(
        model, {"params": state.params, **state.model_state}, x, batch_size=BATCH
    )  # fmt: skip
    unbiased = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * (BATCH / (BATCH - 1)) if jaxdl.tree.path_name(path).endswith("/var") else leaf, found
    )
    return procedures.as_state(unbiased)
