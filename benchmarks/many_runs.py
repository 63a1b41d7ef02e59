"""Times 32 seeds of W1 by `run_many` against 32 calls of `fit`, with an order of the examples for each and one for all.

python -m benchmarks.many_runs [--rounds 7] [--write]
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks import report
from benchmarks.library import RunMany
from benchmarks.timing import Entry, Timing, measure
from benchmarks.workloads import W1

NUM_MEMBERS, SHARED_GAIN = 32, 1.4
TITLE = f"W5: an epoch of W1 for each of {NUM_MEMBERS} seeds, seconds a seed"
OWN, SHARED = "own orders", "one order"
MODES = ("fit", "auto", "vmap", "map")


def name(mode: str, order: str) -> str:
    return f"{'one fit after the other' if mode == 'fit' else f'run_many, {mode}'}, {order}"


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("many_runs", __doc__, TITLE, section, rounds=7, arguments=arguments)


def section(*, rounds: int) -> str:
    runs: dict[str, RunMany] = {}

    def make(workload, data, *, mode, shared, title):
        runs[title] = RunMany(workload, data, mode=mode, members=NUM_MEMBERS, shared=shared)
        return runs[title]

    entries = [
        Entry(title, partial(make, mode=mode, shared=order == SHARED, title=title), epochs=NUM_MEMBERS)
        for order in (OWN, SHARED)
        for mode in MODES
        for title in (name(mode, order),)
    ]
    timings = measure(entries, W1, W1.data(), rounds=rounds)
    by_name = {timing.name: timing for timing in timings}
    references = [by_name[name("fit", order)] for order in (OWN, SHARED)]
    taken = {title: ", ".join(sorted(set(run.engines))) or "-" for title, run in runs.items()}
    claims = [claim(by_name, order, at_least) for order, at_least in ((OWN, 1.0), (SHARED, SHARED_GAIN))]
    return "\n\n".join([report.table(timings, references, extra=("taken", taken)), "\n".join(claims)])


def claim(by_name: dict[str, Timing], order: str, at_least: float) -> str:
    """Throughput of `auto`, its own timing of the strategies included, over that of one fit after the other."""
    gains = by_name[name("fit", order)].over(by_name[name("auto", order)])
    verdict = "kept" if np.median(gains) >= at_least else "NOT kept"
    return (
        f"- {order}: run_many has {np.median(gains):.2f} times the throughput of one fit after the other "
        f"(from {gains.min():.2f} to {gains.max():.2f}); at least {at_least:g}: {verdict}"
    )


if __name__ == "__main__":
    main()
