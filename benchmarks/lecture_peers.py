"""The steps of `benchmarks.lecture_models` in PyTorch, eager, and in Keras on JAX; every call is a turn of steps."""

import os
from typing import Any

import jax
import numpy as np

from benchmarks.lecture_jax import batches
from benchmarks.lecture_workloads import BATCH, CONV_RATE, DENSE_RATE, LEARNING_RATE, SIDE, UNITS, LectureWorkload
from benchmarks.workloads import NUM_CLASSES, Data


class TorchEager:
    """Images are NCHW, in the order of memory that PyTorch has by default."""

    def __init__(self, workload: LectureWorkload, data: Data) -> None:
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        layers = torch.nn
        self.torch: Any = torch
        if workload.has_channels:
            self.model: Any = layers.Sequential(
                layers.Conv2d(1, 32, 3), layers.ReLU(), layers.Conv2d(32, 64, 3), layers.ReLU(), layers.MaxPool2d(2),
                layers.Dropout(CONV_RATE), layers.Flatten(), layers.Linear(12 * 12 * 64, 128), layers.ReLU(),
                layers.Dropout(DENSE_RATE), layers.Linear(128, NUM_CLASSES),
            )  # fmt: skip
        else:
            self.model = layers.ModuleDict(
                {"lstm": layers.LSTM(SIDE, UNITS, batch_first=True), "dense": layers.Linear(UNITS, NUM_CLASSES)}
            )
        self.has_channels = workload.has_channels
        x = data.x.transpose(0, 3, 1, 2).copy() if workload.has_channels else data.x
        self.batches = [
            (torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))) for x, y in batches(Data(x, data.y))
        ]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    def __call__(self) -> None:
        for x, y in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            self.torch.nn.functional.cross_entropy(self.logits(x), y).backward()
            self.optimizer.step()

    def logits(self, x: Any) -> Any:
        return self.model(x) if self.has_channels else self.model["dense"](self.model["lstm"](x)[0][:, -1])

    def parameters(self) -> list[np.ndarray]:
        return [parameter.detach().numpy().copy() for parameter in self.model.parameters()]


class KerasOnJax:
    """`compile` with jit, then `fit` on arrays in memory."""

    def __init__(self, workload: LectureWorkload, data: Data) -> None:
        os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is first imported
        import keras

        if keras.backend.backend() != "jax":
            raise RuntimeError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax.")
        layers = keras.layers
        hidden = [layers.LSTM(UNITS)]
        if workload.has_channels:
            hidden = [
                layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2), layers.Dropout(CONV_RATE), layers.Flatten(),
                layers.Dense(128, activation="relu"), layers.Dropout(DENSE_RATE),
            ]  # fmt: skip
        self.model: Any = keras.Sequential([keras.Input(data.x.shape[1:]), *hidden, layers.Dense(NUM_CLASSES)])
        self.model.compile(
            optimizer=keras.optimizers.Adam(LEARNING_RATE),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
        )
        self.data = data

    def __call__(self) -> None:
        self.model.fit(self.data.x, self.data.y, batch_size=BATCH, epochs=1, shuffle=True, verbose=0)
        jax.block_until_ready([variable.value for variable in self.model.variables])

    def parameters(self) -> list[np.ndarray]:
        return [np.array(variable.value) for variable in self.model.trainable_variables]
