"""Contestants run in turns, so that a slow minute of the machine is a slow minute for all of them."""

import functools
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import jax
import numpy as np

from benchmarks.workloads import Data, Workload


class Contestant(Protocol):
    def train(self) -> None:
        """Trains on, for the epochs its entry states, and returns when everything is computed."""
        ...

    def parameters(self) -> list[np.ndarray]:
        """`[W, b, W, b, ...]` as they are now."""
        ...


@dataclass(frozen=True)
class Entry:
    """How a contestant enters: `epochs` is what one call of its `train` amounts to, over all members of a sweep."""

    name: str
    make: Callable[[Workload, Data], Contestant]
    epochs: int = 1
    is_peer: bool = False


@dataclass
class Timing:
    """Seconds an epoch, or of another unit, one for each round; `missing` says why there are none."""

    name: str
    warm_up: float = 0.0
    seconds: list[float] = field(default_factory=list)
    missing: str = ""

    def over(self, reference: "Timing") -> np.ndarray:
        """Ratio of the two in each round."""
        return np.array(self.seconds) / np.array(reference.seconds)


def measure(entries: Sequence[Entry], workload: Workload, data: Data, *, rounds: int) -> list[Timing]:
    """Warms every contestant up with one call, then lets each run once a round, another one first in each round."""
    timings, running = [], []
    for entry in entries:
        timings.append(Timing(entry.name))
        contestant = _warmed_up(entry, timings[-1], workload, data)
        if contestant is not None:
            running.append((entry, timings[-1], contestant, contestant.parameters()))
    take_turns([(timing, contestant.train, entry.epochs) for entry, timing, contestant, _ in running], rounds=rounds)
    for entry, _, contestant, before in running:
        if all(np.array_equal(old, new) for old, new in zip(before, contestant.parameters(), strict=True)):
            raise RuntimeError(f"{entry.name}: expected the timed epochs to change the parameters; they did not.")
    return timings


def take_turns(running: Sequence[tuple[Timing, Callable[[], None], int]], *, rounds: int) -> None:
    """Lets each warm call run once a round, and notes its seconds for each of the units that it amounts to."""
    for i in range(rounds):
        first = i * len(running) // rounds
        for timing, call, units in [*running[first:], *running[:first]]:
            timing.seconds.append(_seconds(call, timing.name) / units)


def _warmed_up(entry: Entry, timing: Timing, workload: Workload, data: Data) -> Contestant | None:
    """The contestant after its first call, which must have lowered the loss; None for a peer that cannot run."""
    started = time.perf_counter()
    try:
        contestant = entry.make(workload, data)
        contestant.train()
    except ModuleNotFoundError as error:
        if not entry.is_peer:
            raise
        timing.missing = f"not installed ({error.name})"
        return None
    except Exception as error:
        if not entry.is_peer:
            raise
        timing.missing = f"not available: {type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"
        return None
    timing.warm_up = time.perf_counter() - started
    before = workload.loss(workload.initial_parameters(), data)
    after = workload.loss(contestant.parameters(), data)
    if not after < before:
        raise RuntimeError(f"{entry.name}: expected training to lower the loss; it went from {before} to {after}.")
    return contestant


def _seconds(call: Callable[[], None], name: str) -> float:
    compilations = _compilations()
    gc.collect()  # nobody pays for another's garbage
    time.sleep(0.05)  # nor for threads that still spin
    count, started = len(compilations), time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    if len(compilations) > count:
        raise RuntimeError(f"{name}: expected a warm program; JAX compiled for {compilations[count:]} seconds.")
    return seconds


@functools.cache
def _compilations() -> list[float]:
    """Seconds of every compilation of JAX since the first call."""
    seconds: list[float] = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


def matmul_peak(*, sizes: Sequence[int] = (2048, 3072, 4096), repeats: int = 5) -> float:
    """FLOP/s of the fastest float32 product of two large square matrices."""
    best = 0.0
    product = jax.jit(jax.numpy.matmul)
    for size in sizes:
        a = jax.random.uniform(jax.random.key(size), (size, size))
        jax.block_until_ready(product(a, a))
        for _ in range(repeats):
            started = time.perf_counter()
            jax.block_until_ready(product(a, a))
            best = max(best, 2.0 * size**3 / (time.perf_counter() - started))
    return best
