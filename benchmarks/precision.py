"""Compares training in bfloat16 by policy with training in float32, on MNIST, seed by seed.

JAXDL_DATA_DIR=... python -m benchmarks.precision [--rounds 10] [--write]

The rounds are seeds: parameters and order of the examples are the same under both policies.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from scipy import stats

import jaxdl
from benchmarks import report
from jaxdl import training

TOLERANCE = 0.3  # points of validation accuracy; stated before the first run
CONFIDENCE = 0.95
TITLE = "Precision: bfloat16 by policy beside float32, MNIST, validation accuracy"


class SmallConvolutional(nn.Module):
    """Two convolutions, each with a pool, and a linear layer."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (16, 32):
            x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


class Compared(NamedTuple):
    """A network, and how long it is trained by Adam at 1e-3 in batches of 128."""

    title: str
    model: Any
    steps: int


NETWORKS = (
    Compared("W2: 784-512-512-10 ReLU", jaxdl.models.MLP((512, 512, 10)), 1170),
    Compared("CNN: conv 16 - pool - conv 32 - pool - 10", SmallConvolutional(), 400),
)


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("precision", __doc__, TITLE, section, rounds=10, arguments=arguments)


def section(*, rounds: int) -> str:
    digits = jaxdl.data.load("mnist")
    lines = [
        "| network | steps | float32 | bfloat16 | difference | 95% interval | within |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for network in NETWORKS:
        full, mixed = (
            np.asarray([accuracy(model, network.steps, digits, seed) for seed in range(rounds)])
            for model in (network.model, training.mixed_precision(network.model))
        )
        mean, low, high = paired(mixed - full)
        kept = "kept" if max(abs(low), abs(high)) <= TOLERANCE else "not kept"
        lines.append(
            f"| {network.title} | {network.steps} | {full.mean():.2f} | {mixed.mean():.2f} | {mean:+.3f} | "
            f"{low:+.3f} to {high:+.3f} | {TOLERANCE}: {kept} |"
        )
        print(lines[-1], flush=True)
    explanation = (
        "Points of accuracy on the 10,000 examples of the validation split, Adam 1e-3, batches of 128; a round is a "
        "seed. Difference: mean over the seeds of bfloat16 less float32 from the same start on the same batches, "
        "with its interval by Student's t."
    )
    return "\n".join(lines) + f"\n\n{explanation}"


def accuracy(model: Any, steps: int, digits: Any, seed: int) -> float:
    """Points after so many steps."""
    tx = optax.adam(1e-3)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    state = training.init_state(model, tx, digits.train.x[:1], key=jax.random.key(seed))
    step = training.make_train_step(objective, tx)
    history = training.fit(step, state, digits.train, steps=steps, batch_size=128, validation=digits.validation).history
    return 100 * float(history.validation["accuracy"][-1])


def paired(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean of paired differences and its interval."""
    mean, error = differences.mean(), stats.sem(differences)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


if __name__ == "__main__":
    main()
