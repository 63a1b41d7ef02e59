"""Per-example gradients in JAX: by hand, and by the library. Each contestant is a pure function of (params, batch)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.example_workloads import ExampleWorkload, losses
from jaxdl import diagnostics

PyTree = Any
MAX_NORM = 1.0


def batch_gradient(params: PyTree, batch: PyTree) -> PyTree:
    return jax.grad(lambda params: losses(params, batch).mean())(params)


def formed(params: PyTree, batch: PyTree) -> PyTree:
    def loss(params: PyTree, example: PyTree) -> jax.Array:
        return losses(params, jax.tree.map(lambda leaf: leaf[None], example))[0]

    return jax.vmap(jax.grad(loss), (None, 0))(params, batch)


def norms_of_formed(params: PyTree, batch: PyTree) -> jax.Array:
    leaves = jax.tree.leaves(formed(params, batch))
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf), tuple(range(1, leaf.ndim))) for leaf in leaves))


def norms(params: PyTree, batch: PyTree) -> jax.Array:
    return diagnostics.per_example_gradient_norms(losses, params, batch)


def gradients(params: PyTree, batch: PyTree) -> PyTree:
    return diagnostics.per_example_gradients(losses, params, batch)


def clipped_mean(params: PyTree, batch: PyTree) -> PyTree:
    return diagnostics.per_example_clipped_mean(losses, params, batch, max_norm=MAX_NORM)


class JaxContestant:
    """A compiled function; every call runs it some times in a row and waits for each."""

    def __init__(self, fn: Callable[[PyTree, PyTree], PyTree], workload: ExampleWorkload, *, repeats: int) -> None:
        data = workload.data()
        self.params = jax.device_put(workload.parameters())
        self.batch = jax.device_put((data.x, data.y))
        self.program = jax.jit(fn).lower(self.params, self.batch).compile()
        self.repeats = repeats

    def __call__(self) -> None:
        for _ in range(self.repeats):
            jax.block_until_ready(self.program(self.params, self.batch))

    def result(self) -> np.ndarray | None:
        """The norms, where these are what it computes."""
        found = self.program(self.params, self.batch)
        return np.asarray(found) if isinstance(found, jax.Array) else None

    def megabytes(self) -> float:
        """What the program holds beside its inputs: temporary buffers and results, as the compiler laid them out."""
        memory: Any = self.program.memory_analysis()
        return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6
