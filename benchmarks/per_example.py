"""Times norms of per-example gradients in jaxdl, JAX, PyTorch, Opacus and BackPACK, and diagnostics in training.

python -m benchmarks.per_example [--workload W3 W4 W1] [--rounds 15] [--no-peers] [--write]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks import examples_jax, report
from benchmarks.epoch_time import DIAGNOSED, FIT, MEASURE_EVERY
from benchmarks.example_workloads import EXAMPLE_WORKLOADS, ExampleWorkload
from benchmarks.examples_jax import JaxContestant
from benchmarks.examples_torch import Method, TorchContestant, megabytes
from benchmarks.timing import Timing, measure, take_turns
from benchmarks.workloads import W1

GRADIENT, BY_HAND, FORMED_BY_HAND = "batch gradient, JAX", "norms by vmap(grad), JAX", "gradients by vmap(grad), JAX"
NORMS, CLIPPED, FORMED = "jaxdl norms", "jaxdl clipped mean", "jaxdl gradients"
TORCH, FUNC, OPACUS, BACKPACK = "batch gradient, PyTorch", "norms by torch.func", "Opacus ghost norms", "BackPACK norms"
TOLERANCE = 1e-4


class Entry(NamedTuple):
    """How a contestant enters; a slow one runs once a turn."""

    name: str
    make: Callable[..., Any]
    slow: bool = False
    torch_method: Method | None = None


JAX_ENTRIES = (
    Entry(GRADIENT, partial(JaxContestant, examples_jax.batch_gradient)),
    Entry(BY_HAND, partial(JaxContestant, examples_jax.norms_of_formed), slow=True),
    Entry(NORMS, partial(JaxContestant, examples_jax.norms)),
    Entry(CLIPPED, partial(JaxContestant, examples_jax.clipped_mean)),
    Entry(FORMED_BY_HAND, partial(JaxContestant, examples_jax.formed), slow=True),
    Entry(FORMED, partial(JaxContestant, examples_jax.gradients), slow=True),
)
METHODS: dict[str, Method] = {TORCH: "gradient", FUNC: "func", OPACUS: "opacus", BACKPACK: "backpack"}
TORCH_ENTRIES = tuple(
    Entry(name, partial(TorchContestant, method), slow=method == "func", torch_method=method)
    for name, method in METHODS.items()
)


class Allowed(NamedTuple):
    """One of the ratios that the library answers for: time of the first over that of the second."""

    first: str
    second: str
    at_most: float


CLAIMS = {
    "W3": (Allowed(NORMS, GRADIENT, 0.8), Allowed(NORMS, OPACUS, 0.5), Allowed(NORMS, BACKPACK, 0.5)),
    "W4": (Allowed(NORMS, GRADIENT, 1.2), Allowed(NORMS, BY_HAND, 0.5)),
}
CLIPPED_CLAIM = Allowed(CLIPPED, GRADIENT, 2.2)
FLOW_SHARE = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.per_example", description=__doc__)
    sections = [*EXAMPLE_WORKLOADS, W1.name]
    parser.add_argument("--workload", nargs="+", choices=sections, default=sections)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-peers", action="store_true", help="without PyTorch, Opacus and BackPACK")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected a number >= 1")
    report.warn_if_busy()
    for name in options.workload:
        if name == W1.name:
            title, body = "Diagnostics in training: W1 with and without gradient flow", flow_section(options.rounds)
        else:
            workload = EXAMPLE_WORKLOADS[name]
            title = f"{name}: {workload.title}"
            body = section(workload, rounds=options.rounds, with_peers=not options.no_peers)
        body = f"{body}\n\n{options.rounds} rounds. {report.machine()}"
        print(f"## {title}\n\n{body}\n", flush=True)
        if options.write:
            report.write_section(title, body)


def section(workload: ExampleWorkload, *, rounds: int, with_peers: bool) -> str:
    """Everybody's norms agree before anybody is timed."""
    timings, running, memory = {}, [], {}
    reference = JaxContestant(examples_jax.norms_of_formed, workload, repeats=1).result()
    assert reference is not None
    for entry in [*JAX_ENTRIES, *(TORCH_ENTRIES if with_peers else ())]:
        timing = timings[entry.name] = Timing(entry.name)
        contestant = warmed_up(entry, timing, workload)
        if contestant is None:
            continue
        found = contestant.result()
        if found is not None:
            np.testing.assert_allclose(found, reference, rtol=TOLERANCE, err_msg=entry.name)
        memory[entry.name] = f"{peak(entry, contestant, workload):.0f}"
        running.append((timing, contestant, contestant.repeats))
    take_turns(running, rounds=rounds)
    references = [timings[GRADIENT], timings[NORMS]]
    table = report.table(list(timings.values()), references, unit="ms", extra=("peak MB", memory))
    explanation = (
        f"All norms agree to {TOLERANCE:g}. Peak MB: what is needed beside parameters and batch; in JAX the temporary "
        "and result buffers of the compiled program, in PyTorch the rise of the resident memory over one call."
    )
    return f"{table}\n\n{claims(workload, timings)}\n\n{explanation}"


def warmed_up(entry: Entry, timing: Timing, workload: ExampleWorkload) -> Any:
    """The contestant after its first call; None for a peer that is not installed."""
    started = time.perf_counter()
    try:
        contestant = entry.make(workload, repeats=1 if entry.slow else workload.repeats)
        contestant()
    except ModuleNotFoundError as error:
        if entry.torch_method is None:
            raise
        timing.missing = f"not installed ({error.name})"
        return None
    timing.warm_up = time.perf_counter() - started
    return contestant


def peak(entry: Entry, contestant: Any, workload: ExampleWorkload) -> float:
    return contestant.megabytes() if entry.torch_method is None else megabytes(entry.torch_method, workload)


def claims(workload: ExampleWorkload, timings: dict[str, Timing]) -> str:
    lines = []
    for allowed in (*CLAIMS[workload.name], CLIPPED_CLAIM):
        if allowed.second not in timings or timings[allowed.second].missing:
            continue
        first, second = timings[allowed.first], timings[allowed.second]
        kept = np.median(first.over(second)) <= allowed.at_most
        lines.append(
            f"- {allowed.first} / {allowed.second}: {report.ratio(first, second)}, allowed {allowed.at_most:g}: "
            f"{'kept' if kept else 'MISSED'}"
        )
    return "\n".join(lines)


def flow_section(rounds: int) -> str:
    timings = measure([FIT, DIAGNOSED], W1, W1.data(), rounds=rounds)
    plain, diagnosed = timings
    share = float(np.median(diagnosed.over(plain))) - 1
    fastest = min(diagnosed.seconds) / min(plain.seconds) - 1
    kept = "kept" if share < FLOW_SHARE else "MISSED"
    return (
        f"{report.table(timings, [plain])}\n\n- gradient flow every {MEASURE_EVERY} steps costs {share:+.1%} of an "
        f"epoch (the fastest epochs: {fastest:+.1%}), allowed {FLOW_SHARE:.0%}: {kept}"
    )


if __name__ == "__main__":
    main()
