"""Times augmentation against the training step it precedes, and the step with it against the step without.

python -m benchmarks.augmentation [--rounds 40] [--write]
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from benchmarks import report
from benchmarks.timing import Timing, take_turns
from jaxdl import losses, training
from jaxdl.data import make_augmentation

BATCH, SIZE = 128, 28
TITLE = f"Augmentation of {BATCH}x{SIZE}x{SIZE}x1 images, beside a step of conv 32 - conv 64 - pool - dense 256 - 10"
AUGMENTATIONS = {
    "affine": dict(rotation=15, shift=0.1, zoom=0.1, shear=10),
    "affine and elastic": dict(rotation=15, shift=0.1, zoom=0.1, shear=10, elastic=(34, 4)),
}
OPTIMIZERS = {"SGD": lambda: optax.sgd(0.01), "Adam": lambda: optax.adam(1e-3)}


class ConvNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (32, 64):
            x = nn.relu(nn.Conv(features, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2)).reshape(x.shape[0], -1)
        return nn.Dense(10)(nn.relu(nn.Dense(256)(x)))


class Step:
    """A jitted training step; every call does some of them on a state of its own and waits for the last."""

    def __init__(self, tx: optax.GradientTransformation, augment: Any, batch: Any, *, repeats: int) -> None:
        model = ConvNet()
        objective = training.supervised(model, losses.softmax_cross_entropy, augment=augment)
        self.state = training.init_state(model, tx, batch[0][:1], key=jax.random.key(0))
        self.step = jax.jit(training.make_train_step(objective, tx), donate_argnums=0)
        self.batch, self.repeats = batch, repeats

    def __call__(self) -> None:
        for _ in range(self.repeats):
            self.state, _ = self.step(self.state, self.batch)
        jax.block_until_ready(self.state)


class Augmentation:
    """A jitted augmentation; every call does it many times, one after another, and waits for the last."""

    def __init__(self, augment: Any, batch: Any, *, repeats: int) -> None:
        self.augment = jax.jit(augment)
        self.images, self.repeats = batch[0], repeats
        self.keys = list(jax.random.split(jax.random.key(1), repeats))

    def __call__(self) -> None:
        for key in self.keys:
            jax.block_until_ready(self.augment(key, self.images))


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("augmentation", __doc__, TITLE, section, rounds=40, arguments=arguments)


def section(*, rounds: int) -> str:
    batch = (jax.random.uniform(jax.random.key(2), (BATCH, SIZE, SIZE, 1)), jnp.arange(BATCH) % 10)
    augments = {name: make_augmentation(**options) for name, options in AUGMENTATIONS.items()}
    running = [warmed_up(name, Augmentation, augment, batch, repeats=100) for name, augment in augments.items()]
    for name, make in OPTIMIZERS.items():
        running.append(warmed_up(f"{name} step", Step, make(), None, batch, repeats=1))
        for augmentation, augment in augments.items():
            running.append(warmed_up(f"{name} step with {augmentation}", Step, make(), augment, batch, repeats=1))
    take_turns(running, rounds=rounds)
    timings = {timing.name: timing for timing, _, _ in running}
    references = [timings[f"{name} step"] for name in OPTIMIZERS]
    return f"{report.table(list(timings.values()), references, unit='ms')}\n\n{claims(timings)}"


def warmed_up(name: str, make: Callable[..., Any], *arguments: Any, repeats: int) -> tuple[Timing, Any, int]:
    started = time.perf_counter()
    call = make(*arguments, repeats=repeats)
    call()
    return Timing(name, time.perf_counter() - started), call, repeats


def claims(timings: dict[str, Timing]) -> str:
    lines = []
    for optimizer in OPTIMIZERS:
        step = timings[f"{optimizer} step"]
        for name in AUGMENTATIONS:
            share = np.median(timings[name].over(step))
            with_it = timings[f"{optimizer} step with {name}"]
            inside, fastest = np.median(with_it.over(step)) - 1, min(with_it.seconds) / min(step.seconds) - 1
            lines.append(
                f"- {name}, alone: {share:.2%} of the {optimizer} step; the step with it takes {inside:+.1%}, "
                f"the fastest one {fastest:+.1%}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
