"""The table of a workload, and its section of RESULTS.md."""

import argparse
import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import Timing

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADER = """# Seconds of an epoch

    pip install '.[bench]'
    python -m benchmarks.epoch_time --write

Read the ratios, not the seconds: the seconds are those of one machine on one day, the ratios compare what ran in turns
within the same round. A ratio is given as the median over the rounds, and in brackets the smallest. Seconds are those
of a whole call that shuffles, trains an epoch and waits for the result; "first call" has what it took to build, compile
and run once, and counts nowhere else.
"""
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "keras", "torch", "opacus", "backpack-for-pytorch")


def table(
    timings: Sequence[Timing],
    references: Sequence[Timing],
    *,
    flops: float = 0.0,
    peak: float = 0.0,
    unit: str = "s",
    extra: tuple[str, Mapping[str, str]] | None = None,
) -> str:
    """One line a contestant, with its ratio to every reference and, if asked for, its share of the peak FLOP/s.

    `extra` is one more column: its title, and a cell for each contestant's name.
    """
    columns = [
        "",
        "first call s",
        f"min {unit}",
        f"median {unit}",
        *(f"/ {reference.name}" for reference in references),
    ]
    columns += ["GFLOP/s", "of peak"] if peak else []
    columns += [extra[0]] if extra else []
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
    for timing in timings:
        if timing.missing:
            lines.append([timing.name, timing.missing] + [""] * (len(columns) - 2))
            continue
        fastest = min(timing.seconds)
        shown = {"s": 1.0, "ms": 1e3}[unit]
        cells = [timing.name, f"{timing.warm_up:.1f}"]
        cells += [f"{shown * seconds:.3f}" for seconds in (fastest, np.median(timing.seconds))]
        cells += [ratio(timing, reference) for reference in references]
        cells += [f"{flops / fastest / 1e9:.0f}", f"{flops / fastest / peak:.0%}"] if peak else []
        cells += [extra[1][timing.name]] if extra else []
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ratio(timing: Timing, reference: Timing) -> str:
    ratios = timing.over(reference)
    digits = 2 if np.median(ratios) > 0.1 else 4
    return f"{np.median(ratios):.{digits}f} ({np.min(ratios):.{digits}f})"


def warn_if_busy() -> None:
    """Threads that wait for each other suffer most from other work: PyTorch's epochs then take thirty times as long."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine is busy (load {load:.1f}); what is measured now is not worth recording.", file=sys.stderr)


def machine() -> str:
    """Versions, processor and date."""
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{', '.join(versions)}; {_processor()}, {os.cpu_count()} cores; {datetime.date.today()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def write_section(title: str, body: str, *, path: Path = RESULTS) -> None:
    """Puts a section into the file in place of the one whose title starts with the same word, or in its order."""
    old = path.read_text().split("\n## ")[1:] if path.exists() else []
    sections = {section.split(maxsplit=1)[0].rstrip(":"): section.strip() for section in old}
    sections[title.split(maxsplit=1)[0].rstrip(":")] = f"{title}\n\n{body}".strip()
    path.write_text(HEADER + "".join(f"\n## {sections[name]}\n" for name in sorted(sections)))


def measure_section(
    module: str,
    description: str | None,
    title: str,
    section: Callable[..., str],
    *,
    rounds: int,
    arguments: Sequence[str] | None,
) -> None:
    """The command line of a benchmark of one section: measures, prints and, with --write, keeps it."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: expected a number >= 1")
    warn_if_busy()
    body = f"{section(rounds=options.rounds)}\n\n{options.rounds} rounds. {machine()}"
    print(f"## {title}\n\n{body}\n", flush=True)
    if options.write:
        write_section(title, body)
