"""PyTorch on the CPU: tensors in memory, batches by index, no DataLoader; eager, or forward and backward compiled."""

import os
from typing import Any

import numpy as np

from benchmarks.workloads import NUM_CLASSES, Data, Workload


class TorchTraining:
    def __init__(self, workload: Workload, data: Data, *, compiled: bool) -> None:
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        self.torch: Any = torch
        self.batch_size, self.used = workload.batch_size, workload.steps_per_epoch * workload.batch_size
        activation = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}[workload.activation]
        layers = [torch.nn.Linear(*shape) for shape in workload.shapes]
        self.model = torch.nn.Sequential(*[part for layer in layers[:-1] for part in (layer, activation())], layers[-1])
        with torch.no_grad():
            for parameter, array in zip(self.model.parameters(), workload.initial_parameters(), strict=True):
                parameter.copy_(torch.from_numpy(array.T.copy()))
        optimizers = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
        self.optimizer = optimizers[workload.optimizer](self.model.parameters(), lr=workload.learning_rate, fused=True)
        is_sigmoid = workload.outputs == "sigmoid"
        self.x = torch.from_numpy(data.x)
        self.y = torch.from_numpy(
            np.eye(NUM_CLASSES, dtype=np.float32)[data.y] if is_sigmoid else data.y.astype(np.int64)
        )

        def loss(x: Any, y: Any) -> Any:
            logits = self.model(x)
            if is_sigmoid:
                summed = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
                return summed / self.batch_size
            return torch.nn.functional.cross_entropy(logits, y)

        self.loss: Any = torch.compile(loss) if compiled else loss

    def parameters(self) -> list[np.ndarray]:
        return [parameter.detach().numpy().T.copy() for parameter in self.model.parameters()]

    def train(self) -> None:
        order = self.torch.randperm(len(self.x))[: self.used]
        for rows in order.split(self.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.x.index_select(0, rows), self.y.index_select(0, rows)).backward()
            self.optimizer.step()
