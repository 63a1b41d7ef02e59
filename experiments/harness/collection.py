"""All experiments one after the other: says first how long that takes, goes on where it was broken off."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from experiments.harness import records, results_page, runner
from experiments.harness.claims import Experiment
from experiments.harness.records import Record
from jaxdl.data import Splits


@dataclass(frozen=True)
class Planned:
    """One run of the collection; `record` is what an earlier call left of it."""

    experiment: Experiment
    dataset: str
    folder: Path
    record: Record | None

    @property
    def seconds(self) -> float:
        """About how long it takes with the default preset."""
        return self.experiment.seconds[self.dataset]


def plan(
    experiments: Sequence[Experiment], *, dataset: str | None, preset: str, seeds: int | None, out: Path, resume: bool
) -> list[Planned]:
    """A run for every experiment, on the data set of its record unless one is given."""
    planned = []
    for experiment in experiments:
        name = dataset or experiment.record
        folder = out / f"{experiment.name}-{name}-{preset}"
        record = None
        if resume:
            record = records.standing(folder, experiment, dataset=name, preset=preset, seeds=seeds)
        planned.append(Planned(experiment, name, folder, record))
    return planned


def estimate(planned: Sequence[Planned], preset: str) -> str:
    """What is going to be run and how long it takes, in lines."""
    total = sum(run.seconds for run in planned)
    left = sum(run.seconds for run in planned if run.record is None)
    done = sum(run.record is not None for run in planned)
    head = f"{len(planned)} experiments: about {_time(total)} with the default preset on two cores"
    if done:
        head += f"; {done} are done, about {_time(left)} to go"
    if preset != "default":
        head += f" (preset {preset} takes {'less' if preset == 'smoke' else 'longer'})"
    width = max(len(run.experiment.name) for run in planned)
    lines = [
        f"  {run.experiment.name:<{width}}  {run.dataset:<6}  "
        + (f"done: {run.record.summary}" if run.record else f"about {_time(run.seconds)}")
        for run in planned
    ]
    return "\n".join([head, *lines])


def run_all(
    planned: Sequence[Planned],
    splits: Mapping[str, Splits],
    *,
    preset: str,
    seeds: int | None,
    write: Callable[[Sequence[results_page.Entry]], None],
    say: Callable[[str], None] = print,
) -> list[results_page.Entry]:
    """Runs what is not done yet; `write` gets all entries so far after each.

    An experiment that breaks leaves its traceback in `error.txt` of its folder, and the others are run all the same.
    """
    entries = [results_page.Entry(run.experiment, run.dataset, run.record) for run in planned]
    write(entries)
    for i, run in enumerate(planned):
        if run.record is not None:
            continue
        left = sum(later.seconds for later in planned[i:] if later.record is None)
        say(f"[{i + 1}/{len(planned)}] {run.experiment.name} on {run.dataset}; about {_time(left)} to go")
        run.folder.mkdir(parents=True, exist_ok=True)
        error = run.folder / "error.txt"
        error.unlink(missing_ok=True)
        started = time.time()
        try:
            runner.run_experiment(
                run.experiment, splits[run.dataset], dataset=run.dataset, preset=preset, seeds=seeds, out=run.folder
            )
        except Exception:
            runner.write(error, traceback.format_exc().encode())
            say(f"  broke after {_time(time.time() - started)}: see {error}")
            entries[i] = results_page.Entry(run.experiment, run.dataset, None)
        else:
            record = records.read(run.folder)
            assert record is not None, f"{run.folder} was written a moment ago"
            entries[i] = results_page.Entry(run.experiment, run.dataset, record)
            say(f"  {record.summary} in {_time(time.time() - started)}")
        write(entries)
        jax.clear_caches()  # the programs of all experiments together would fill the memory
    return entries


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
