"""The networks of the experiment `elu`: eight hidden layers with one of three activations, from the same start."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from jaxdl import initializers, training
from jaxdl.data import Examples

DEPTH, WIDTH, NUM_CLASSES, ETA, SLOPE = 8, 128, 10, 0.01, 0.1
BATCH = {"digits": 8, "mnist": 64}
LOOKED_AT = 500  # training images over which a unit's mean is taken
CHUNK = 40  # steps timed in one go


def leaky(z: jax.Array) -> jax.Array:
    """z or z/10."""
    return nn.leaky_relu(z, SLOPE)


ACTIVATIONS: Mapping[str, Any] = {"ELU": nn.elu, "leaky ReLU": leaky, "ReLU": nn.relu}


class Trained(NamedTuple):
    """One activation.

    Attributes:
      loss: `(seeds, epochs)`, mean training loss of the steps of each epoch.
      medians: `(seeds, epochs + 1)`, median over all units of their mean activation, at the start and after each epoch.
      last_means: `(seeds, DEPTH, WIDTH)`, the units' means at the end.
    """

    loss: np.ndarray
    medians: np.ndarray
    last_means: np.ndarray


def network(name: str) -> jaxdl.models.MLP:
    """Weights N(0, 2/fan_in), the same draws for every activation, biases 0."""
    return jaxdl.models.MLP(
        (WIDTH,) * DEPTH + (NUM_CLASSES,), activation=ACTIVATIONS[name], kernel_init=initializers.he_normal()
    )


def unit_means(name: str, params: Any, x: Any) -> jax.Array:
    """Mean activation of every hidden unit over some images, `(DEPTH, WIDTH)`."""
    model: Any = network(name)
    _, kept = model.apply({"params": params}, x, capture_intermediates=lambda module, _: isinstance(module, nn.Dense))
    outputs = (kept["intermediates"][f"Dense_{i}"]["__call__"][0] for i in range(DEPTH))
    return jnp.stack([ACTIVATIONS[name](z).mean(0) for z in outputs])


def step_of(name: str, **options: Any) -> tuple[Any, training.TrainStep]:
    """The optimizer and the training step."""
    tx = optax.sgd(ETA)
    objective = training.supervised(network(name), jaxdl.losses.softmax_cross_entropy)
    return tx, training.make_train_step(objective, tx, **options)


def images_of(run: Run) -> Examples:
    """The first training images, on the device."""
    count = run.settings["images"][run.dataset]
    return jax.device_put(Examples(*(array[:count] for array in run.splits.train)))


def train(run: Run, name: str, images: Examples) -> Trained:
    """Every seed; the units are looked at before the first step of every epoch and at the end."""
    epochs, batch = run.settings["epochs"][run.dataset], BATCH[run.dataset]
    looked_at = images.x[:LOOKED_AT]
    tx, step = step_of(
        name,
        measure=lambda moment: jnp.median(unit_means(name, moment.params, looked_at)),
        measure_every=len(images.y) // batch,
    )
    states, history = training.run_many(
        step, lambda key: training.init_state(network(name), tx, images.x[:1], key=key), images,
        seeds=range(run.seeds), epochs=epochs, batch_size=batch, mode="map" if run.dataset == "mnist" else "vmap",
        progress=False,
    )  # fmt: skip
    means = np.asarray(jax.jit(jax.vmap(lambda params: unit_means(name, params, looked_at)))(states.params))
    print(f"  {name}: {history.run_seconds:.0f} s")
    return Trained(
        loss=history.train["loss"].reshape(run.seeds, epochs, -1).mean(-1),
        medians=np.concatenate([history.measures, np.median(means, (1, 2))[:, None]], 1),
        last_means=means,
    )


def seconds_per_step(run: Run, images: Examples, *, repeats: int) -> dict[str, np.ndarray]:
    """`(repeats,)` by activation: one chunk of steps of each in turn, so that all meet the same disturbances."""
    batch = jax.tree.map(lambda leaf: leaf[: BATCH[run.dataset]], images)
    programs = {}
    for name in ACTIVATIONS:
        tx, step = step_of(name)
        state = training.init_state(network(name), tx, images.x[:1], key=jax.random.key(0))

        def advance(state: Any, batch: Any, step: training.TrainStep = step) -> Any:
            return jax.lax.scan(lambda state, _: (step(state, batch)[0], None), state, length=CHUNK)[0]

        program = jax.jit(advance).lower(state, batch).compile()
        jax.block_until_ready(program(state, batch))
        programs[name] = program, state
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, (program, state) in programs.items():
            started = time.perf_counter()
            jax.block_until_ready(program(state, batch))
            taken[name].append((time.perf_counter() - started) / CHUNK)
    return {name: np.array(values) for name, values in taken.items()}
