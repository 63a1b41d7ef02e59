"""Times one training epoch of jaxdl, of JAX by hand, of Keras and of PyTorch, side by side.

python -m benchmarks.epoch_time [--workload W1 W2] [--rounds 7] [--no-peers] [--write]
"""

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks import report
from benchmarks.bare_jax import BareScan, BareStep, BareStepOnDevice
from benchmarks.library import Fit
from benchmarks.peers_keras import KerasFit
from benchmarks.peers_torch import TorchTraining
from benchmarks.timing import Entry, Timing, matmul_peak, measure
from benchmarks.workloads import W1, WORKLOADS, Workload
from jaxdl.diagnostics import measure_gradient_flow

MEASURE_EVERY, LONG_FIT, GROUP = 50, 5, 10

FIT = Entry("fit, epoch engine", partial(Fit, engine="epoch"))
LIBRARY = (
    FIT,
    Entry(f"fit, {LONG_FIT} epochs", partial(Fit, engine="epoch", epochs=LONG_FIT), epochs=LONG_FIT),
    Entry("fit, chunk engine", partial(Fit, engine="chunk")),
    Entry("fit, loop engine", partial(Fit, engine="loop")),
)
DIAGNOSED = Entry(
    f"fit, gradient flow every {MEASURE_EVERY}",
    partial(Fit, engine="epoch", measure=measure_gradient_flow, measure_every=MEASURE_EVERY),
)
BARE = (
    Entry("bare step", BareStep),
    Entry("bare step, data on device", BareStepOnDevice),
    Entry("bare scan", BareScan),
)
PEERS = (
    Entry("Keras on JAX", partial(KerasFit, steps_per_execution=1), is_peer=True),
    Entry(f"Keras on JAX, {GROUP} steps a call", partial(KerasFit, steps_per_execution=GROUP), is_peer=True),
    Entry("PyTorch eager", partial(TorchTraining, compiled=False), is_peer=True),
    Entry("PyTorch compiled", partial(TorchTraining, compiled=True), is_peer=True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch_time", description=__doc__)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-peers", action="store_true", help="without Keras and PyTorch")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected a number >= 1")
    report.warn_if_busy()
    for name in options.workload:
        workload = WORKLOADS[name]
        body = epoch_section(workload, rounds=options.rounds, with_peers=not options.no_peers)
        publish(f"{name}: {workload.title}", body, rounds=options.rounds, write=options.write)


def publish(title: str, body: str, *, rounds: int, write: bool) -> None:
    body = f"{body}\n\n{rounds} rounds. {report.machine()}"
    print(f"## {title}\n\n{body}\n", flush=True)
    if write:
        report.write_section(title, body)


def epoch_section(workload: Workload, *, rounds: int, with_peers: bool) -> str:
    entries = [*BARE, *LIBRARY, *([DIAGNOSED] if workload is W1 else []), *(PEERS if with_peers else ())]
    peak = matmul_peak() if workload.name == "W2" else 0.0
    timings = measure(entries, workload, workload.data(), rounds=rounds)
    by_name = {timing.name: timing for timing in timings}
    bare = [by_name[entry.name] for entry in BARE]
    parts = [report.table(timings, bare, flops=workload.flops_per_epoch, peak=peak), claims(workload, by_name, bare)]
    if peak:
        parts.append(
            f"{workload.flops_per_epoch / 1e9:.0f} GFLOP an epoch; GFLOP/s are those of the fastest epoch. "
            f"Peak: {peak / 1e9:.0f} GFLOP/s, the fastest product of two large float32 matrices in JAX in the same run."
        )
    return "\n\n".join(parts)


def claims(workload: Workload, by_name: dict[str, Timing], bare: Sequence[Timing]) -> str:
    """The ratios that the library answers for."""
    best = min(bare, key=lambda timing: np.median(timing.seconds))
    lines = [
        f"- {by_name[entry.name].name} / {best.name}, the fastest bare form: {report.ratio(by_name[entry.name], best)}"
        for entry in LIBRARY
    ]
    fit = by_name[FIT.name]
    if DIAGNOSED.name in by_name:
        lines.append(f"- {DIAGNOSED.name} / {FIT.name}: {report.ratio(by_name[DIAGNOSED.name], fit)}")
    lines += [
        f"- {entry.name} / {FIT.name}: {report.ratio(by_name[entry.name], fit)}"
        for entry in PEERS
        if entry.name in by_name and not by_name[entry.name].missing
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
