"""Times the convolutions of the small CNN, forward and each gradient, beside a large product in the same process.

python -m benchmarks.convolutions [--rounds 7] [--write]; run it with every version of JAX that is to be compared.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import report
from benchmarks.lecture_workloads import BATCH
from benchmarks.timing import Timing, matmul_peak, take_turns

REPEATS = 3
FIRST = f"XLA-{jax.__version__}"
TITLE = f"{FIRST}: GFLOP/s of convolutions 3x3 on CPU, batch {BATCH}, NHWC, float32"
NOTE = (
    "Each part is a program of its own, at the top level, not in a loop; `whole layer` is forward and both gradients "
    "in one. The peak is that of the fastest product of two large float32 matrices in JAX in the same process. "
    "PyTorch's layer is NCHW, eager."
)


class Layer(NamedTuple):
    """Images of `side` pixels and `inputs` channels, `outputs` maps, no padding."""

    side: int
    inputs: int
    outputs: int

    @property
    def flops(self) -> float:
        """Of the forward pass, and of each gradient."""
        return 2.0 * BATCH * (self.side - 2) ** 2 * 9 * self.inputs * self.outputs

    @property
    def name(self) -> str:
        return f"{self.side} x {self.side} x {self.inputs} to {self.outputs} maps"


LAYERS = (Layer(28, 1, 32), Layer(26, 32, 64))


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("convolutions", __doc__, TITLE, section, rounds=7, arguments=arguments)


def section(*, rounds: int) -> str:
    running, flops = [], {}
    for layer in LAYERS:
        for name, (call, passes) in {**xla(layer), **pytorch(layer)}.items():
            timing = Timing(f"{layer.name}, {name}")
            started = time.perf_counter()
            call()
            timing.warm_up = time.perf_counter() - started
            running.append((timing, call, REPEATS))
            flops[timing.name] = passes * layer.flops
    take_turns(running, rounds=rounds)
    peak = matmul_peak()
    lines = ["| | ms | GFLOP/s | of a product's |", "|---|---:|---:|---:|"]
    for timing, *_ in running:
        speed = flops[timing.name] / np.median(timing.seconds)
        cells = (timing.name, f"{1e3 * np.median(timing.seconds):.2f}", f"{speed / 1e9:.0f}", f"{speed / peak:.0%}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nPeak: {peak / 1e9:.0f} GFLOP/s. {NOTE}"


def xla(layer: Layer) -> dict[str, tuple[Callable[[], None], int]]:
    """Calls, and how many times the FLOPs of a forward pass each takes."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.uniform(keys[0], (BATCH, layer.side, layer.side, layer.inputs))
    kernel = jax.random.normal(keys[1], (3, 3, layer.inputs, layer.outputs))
    cotangent = jax.random.normal(keys[2], (BATCH, layer.side - 2, layer.side - 2, layer.outputs))

    def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def by_kernel(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        return jax.vjp(lambda kernel: conv(x, kernel), kernel)[1](cotangent)

    def by_input(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        return jax.vjp(lambda x: conv(x, kernel), x)[1](cotangent)

    def whole(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        y, pull_back = jax.vjp(conv, x, kernel)
        return jnp.sum(y), pull_back(cotangent)

    def repeated(fn: Callable[..., Any], *arguments: jax.Array) -> Callable[[], None]:
        program = jax.jit(fn)

        def call() -> None:
            for _ in range(REPEATS):
                jax.block_until_ready(program(*arguments))

        return call

    everything = (x, kernel, cotangent)
    return {
        "XLA forward": (repeated(conv, x, kernel), 1),
        "XLA gradient by kernel": (repeated(by_kernel, *everything), 1),
        "XLA gradient by input": (repeated(by_input, *everything), 1),
        "XLA whole layer": (repeated(whole, *everything), 3),
    }


def pytorch(layer: Layer) -> dict[str, tuple[Callable[[], None], int]]:
    """Nothing where PyTorch is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    x = torch.rand(BATCH, layer.inputs, layer.side, layer.side, requires_grad=True)
    kernel = torch.randn(layer.outputs, layer.inputs, 3, 3, requires_grad=True)
    cotangent = torch.randn(BATCH, layer.outputs, layer.side - 2, layer.side - 2)

    def call() -> None:
        for _ in range(REPEATS):
            x.grad = kernel.grad = None
            torch.nn.functional.conv2d(x, kernel).backward(cotangent)

    return {"PyTorch whole layer": (call, 3)}


if __name__ == "__main__":
    main()
