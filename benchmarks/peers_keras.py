"""Keras 3 on the JAX backend: `compile` with jit, and `fit` on arrays in memory.

`steps_per_execution` is 1 unless a user raises it, which makes one program of several steps.
"""

import os
from typing import Any

import jax
import numpy as np

from benchmarks.workloads import NUM_CLASSES, NUM_FEATURES, Data, Workload


class KerasFit:
    def __init__(self, workload: Workload, data: Data, *, steps_per_execution: int) -> None:
        os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is first imported
        import keras

        if keras.backend.backend() != "jax":
            raise RuntimeError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax.")

        def summed_cross_entropy(targets: Any, logits: Any) -> Any:
            return keras.ops.sum(keras.ops.binary_crossentropy(targets, logits, from_logits=True), -1)

        self.batch_size = workload.batch_size
        hidden = [keras.layers.Dense(size, activation=workload.activation) for size in workload.hidden]
        self.model: Any = keras.Sequential([keras.Input((NUM_FEATURES,)), *hidden, keras.layers.Dense(NUM_CLASSES)])
        self.model.set_weights(workload.initial_parameters())
        optimizers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
        is_sigmoid = workload.outputs == "sigmoid"
        self.model.compile(
            optimizer=optimizers[workload.optimizer](workload.learning_rate),
            loss=summed_cross_entropy if is_sigmoid else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
            steps_per_execution=steps_per_execution,
        )
        used = workload.steps_per_epoch * workload.batch_size  # Keras would train on a smaller last batch too
        self.x, y = data.x[:used], data.y[:used]
        self.y = np.eye(NUM_CLASSES, dtype=np.float32)[y] if is_sigmoid else y

    def parameters(self) -> list[np.ndarray]:
        return [np.array(array) for array in self.model.get_weights()]

    def train(self) -> None:
        self.model.fit(self.x, self.y, batch_size=self.batch_size, epochs=1, shuffle=True, verbose=0)
        jax.block_until_ready([variable.value for variable in self.model.variables])
