"""Per-example gradient norms in PyTorch: torch.func, Opacus' ghost norms, BackPACK; and the batch gradient."""

import multiprocessing
import os
import re
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.example_workloads import EXAMPLE_WORKLOADS, ExampleWorkload

Method = Literal["gradient", "func", "opacus", "backpack"]
WARM_UP_EXAMPLES = 4


class TorchContestant:
    """Every call runs its method some times in a row."""

    def __init__(self, method: Method, workload: ExampleWorkload, *, repeats: int) -> None:
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        warnings.filterwarnings("ignore", "Full backward hook is firing")  # inputs need no gradient, and get none
        self.torch: Any = torch
        self.method, self.repeats, self.num_examples = method, repeats, workload.batch_size
        model = network(torch, workload)
        data = workload.data()
        x = data.x.transpose(0, 3, 1, 2) if workload.channels else data.x
        self.x, self.y = torch.from_numpy(x.copy()), torch.from_numpy(data.y.astype(np.int64))
        self.loss: Any = torch.nn.CrossEntropyLoss(reduction="sum")
        if method == "opacus":
            from opacus.grad_sample import GradSampleModuleFastGradientClipping

            model = GradSampleModuleFastGradientClipping(model, loss_reduction="sum", max_grad_norm=1)
        elif method == "backpack":
            from backpack import backpack, extend
            from backpack.extensions import BatchL2Grad

            model, self.loss = extend(model), extend(self.loss)
            self.extension = lambda: backpack(BatchL2Grad())
        self.model: Any = model.train()
        self.parameters = list(self.model.parameters())

    def __call__(self) -> None:
        for _ in range(self.repeats):
            self.once(self.x, self.y)

    def once(self, x: Any, y: Any) -> Any:
        for parameter in self.parameters:
            parameter.grad = None
        return getattr(self, f"_{self.method}")(x, y)

    def result(self) -> np.ndarray | None:
        found = self.once(self.x, self.y)
        return None if found is None else found.detach().numpy()

    def _gradient(self, x: Any, y: Any) -> None:
        (self.loss(self.model(x), y) / len(x)).backward()

    def _func(self, x: Any, y: Any) -> Any:
        func = self.torch.func

        def loss(parameters: Any, x: Any, y: Any) -> Any:
            return self.loss(func.functional_call(self.model, parameters, (x[None],)), y[None])

        parameters = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        gradients = func.vmap(func.grad(loss), (None, 0, 0))(parameters, x, y)
        return self.torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)

    def _opacus(self, x: Any, y: Any) -> Any:
        """The first of the two passes of ghost clipping, which is the one that gives the norms."""
        self.loss(self.model(x), y).backward()
        return self.model.get_norm_sample()

    def _backpack(self, x: Any, y: Any) -> Any:
        with self.extension():
            self.loss(self.model(x), y).backward()
        return self.torch.stack([parameter.batch_l2 for parameter in self.parameters]).sum(0).sqrt()


def network(torch: Any, workload: ExampleWorkload) -> Any:
    parts, arrays, channels = [], [], 1
    layers = workload.parameters()
    for i, (kernel, bias) in enumerate(layers):
        if kernel.ndim == 4:
            parts += [torch.nn.Conv2d(channels, len(bias), 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
            channels = len(bias)
            arrays += [kernel.transpose(3, 2, 0, 1), bias]
            continue
        if i and layers[i - 1][0].ndim == 4:
            parts.append(torch.nn.Flatten())
            # PyTorch flattens channels first.
            side = round((len(kernel) / channels) ** 0.5)
            kernel = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(len(kernel), -1)
        parts.append(torch.nn.Linear(*kernel.shape))
        parts += [torch.nn.ReLU()] if i + 1 < len(layers) else []
        arrays += [kernel.T, bias]
    model = torch.nn.Sequential(*parts)
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array.copy()))
    return model


def megabytes(method: Method, workload: ExampleWorkload) -> float:
    """How far the resident memory of a process of its own rises over one call, above that of a call on few examples."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_rise, (method, workload.name))


def _rise(method: Method, name: str) -> float:
    contestant = TorchContestant(method, EXAMPLE_WORKLOADS[name], repeats=1)
    contestant.once(contestant.x[:WARM_UP_EXAMPLES], contestant.y[:WARM_UP_EXAMPLES])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    contestant.once(contestant.x, contestant.y)
    return (_status("VmHWM") - before) / 1e3


def _status(field: str) -> float:
    """Kilobytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return float(found.group(1))
