"""Times a training step of the small CNN and of an LSTM classifier: by hand, jaxdl, PyTorch eager, Keras on JAX.

python -m benchmarks.lecture_models [--workload CNN LSTM] [--rounds 7] [--no-peers] [--write]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.epoch_time import publish
from benchmarks.lecture_jax import Bare, Library
from benchmarks.lecture_peers import KerasOnJax, TorchEager
from benchmarks.lecture_workloads import BATCH, LECTURE_WORKLOADS, LectureWorkload
from benchmarks.timing import Timing, take_turns
from benchmarks.workloads import Data

BARE, STEP = "bare step", "jaxdl's step"
ENTRIES: dict[str, Callable[[LectureWorkload, Data], Any]] = {
    BARE: Bare,
    STEP: partial(Library, engine=None),
    "jaxdl, fit, loop engine": partial(Library, engine="loop"),
    "jaxdl, fit, epoch engine": partial(Library, engine="epoch"),
}
PEERS: dict[str, Callable[[LectureWorkload, Data], Any]] = {"PyTorch eager": TorchEager, "Keras on JAX": KerasOnJax}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lecture_models", description=__doc__)
    parser.add_argument("--workload", nargs="+", choices=LECTURE_WORKLOADS, default=list(LECTURE_WORKLOADS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-peers", action="store_true", help="without PyTorch and Keras")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected a number >= 1")
    report.warn_if_busy()
    for name in options.workload:
        workload = LECTURE_WORKLOADS[name]
        body = section(workload, rounds=options.rounds, with_peers=not options.no_peers)
        title = f"{name}: a training step, batch {BATCH}, Adam; {workload.title}"
        publish(title, body, rounds=options.rounds, write=options.write)


def section(workload: LectureWorkload, *, rounds: int, with_peers: bool) -> str:
    data = workload.data()
    timings, running = [], []
    for name, make in (ENTRIES | PEERS if with_peers else ENTRIES).items():
        timings.append(Timing(name))
        contestant = warmed_up(make, timings[-1], workload, data, is_peer=name in PEERS)
        if contestant is not None:
            running.append((timings[-1], contestant, workload.steps))
    before = [contestant.parameters() for _, contestant, _ in running]
    take_turns(running, rounds=rounds)
    for (timing, contestant, _), old in zip(running, before, strict=True):
        if any(np.array_equal(a, b) for a, b in zip(old, contestant.parameters(), strict=True)):
            raise RuntimeError(f"{timing.name}: expected the timed steps to change every parameter; they did not.")
    found = {timing.name: timing for timing in timings}
    lines = [
        f"- {timing.name} / {reference}: {report.ratio(timing, found[reference])}"
        for reference, names in ((BARE, ENTRIES), (STEP, PEERS))
        for timing in timings
        if timing.name in names and timing.name != reference and not timing.missing
    ]
    counts = ", ".join(f"{timing.name} {sum(map(np.size, old)):,}" for (timing, *_), old in zip(running, before))  # noqa: B905
    table = report.table(timings, [found[BARE], found[STEP]], unit="ms")
    return "\n\n".join([table, "\n".join(lines), f"Milliseconds a step. Parameters: {counts}."])


def warmed_up(
    make: Callable[[LectureWorkload, Data], Any],
    timing: Timing,
    workload: LectureWorkload,
    data: Data,
    *,
    is_peer: bool,
) -> Any:
    """The contestant after its first turn; None for a peer that is not installed."""
    started = time.perf_counter()
    try:
        contestant = make(workload, data)
        contestant()
    except ModuleNotFoundError as error:
        if not is_peer:
            raise
        timing.missing = f"not installed ({error.name})"
        return None
    timing.warm_up = time.perf_counter() - started
    return contestant


if __name__ == "__main__":
    main()
