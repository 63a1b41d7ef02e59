"""One life of a run that is killed: `python -m tests.training.survivor FOLDER OUT SEED LONGEST EPOCHS SOURCE`.

Trains with all that has a state: Adam, an average, dropout, augmentation, batch normalization, early stopping. With
LONGEST > 0 it kills itself, at a moment that SEED determines, up to LONGEST seconds after it began; else it runs to its
end and writes all numbers of state and history to OUT.
"""

import os
import random
import signal
import sys
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.training.callbacks import Callback


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x)))
        x = nn.Dropout(0.2, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(10)(x)


class Death(Callback):
    """Kills the process some time after its first steps; one time in six after its start, when it compiles."""

    def __init__(self, seed: int, longest: float) -> None:
        draws = random.Random(seed)
        self.seconds, self.early = draws.uniform(0, longest), draws.random() < 1 / 6
        self.running = False

    def on_start(self, run: Any) -> None:
        if self.early:
            self.count_down()

    def on_steps(self, steps: Any) -> None:
        if not self.running:
            self.count_down()

    def count_down(self) -> None:
        def kill() -> None:
            time.sleep(self.seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        self.running = True
        threading.Thread(target=kill, daemon=True).start()


def data() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.RandomState(0)
    return draws.rand(250, 8, 8, 1).astype(np.float32), draws.randint(0, 10, 250).astype(np.int32)


def parts(examples: tuple[np.ndarray, np.ndarray]) -> tuple[training.TrainStep, training.TrainState]:
    model = Net()
    augment = jaxdl.data.make_augmentation(rotation=10.0)
    objective = training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, augment=augment, metrics={"accuracy": jaxdl.losses.correct}
    )
    step = training.make_train_step(objective, optax.adam(1e-3), average=training.ema(0.9))
    state = training.init_state(model, step.tx, examples[0][:1], key=jax.random.key(0), average=True)
    return step, state


def run(folder: str | None, *, epochs: int, source: str, callbacks: Any = ()) -> training.FitResult:
    examples = data()
    step, state = parts(examples)
    streamed = jaxdl.data.stream(examples, batch_size=10, key=jax.random.key(1))
    saving = dict(checkpoints=training.Checkpoints(every_steps=7, keep_best=1)) if folder else {}
    return training.fit(
        step, state, streamed if source == "stream" else examples, epochs=epochs, batch_size=10, validation=examples,
        early_stopping=training.EarlyStopping(patience=1000), folder=folder, callbacks=callbacks, progress=False,
        engine="chunk", chunk_size=7, **saving,
    )  # fmt: skip


def numbers(result: training.FitResult) -> dict[str, np.ndarray]:
    """All of state and history, by name."""
    state, history = result
    plain = jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, state
    )
    named = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(plain)}
    rows = {f"train/{name}": values for name, values in history.train.items()}
    rows |= {f"validation/{name}": values for name, values in history.validation.items()}
    return named | rows | {"validation_steps": history.validation_steps}


def main() -> None:
    folder, out, seed, longest, epochs, source = sys.argv[1:]
    callbacks = [Death(int(seed), float(longest))] if float(longest) else []
    result = run(folder, epochs=int(epochs), source=source, callbacks=callbacks)
    np.savez(out, **numbers(result))


if __name__ == "__main__":
    main()
