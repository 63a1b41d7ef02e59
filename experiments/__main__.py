"""`python -m experiments [NAME | all]`: lists the experiments, runs one, or runs them all."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import experiments

ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when no claim FAILs, 1 when one does, 2 for bad usage."""
    options = parser().parse_args(arguments)
    if options.NAME is None:
        print(listing())
        return 0
    import jaxdl
    from experiments.harness import runner

    try:
        chosen = experiments.NAMES if options.NAME == ALL else (options.NAME,)
        chosen = [experiments.find(name) for name in chosen]
    except ValueError as error:
        return runner.fail(str(error))
    if options.seeds is not None and options.seeds < 1:
        return runner.fail(f"--seeds: expected a whole number >= 1; got {options.seeds}. Five or more give verdicts.")
    if options.page is not None and options.NAME != ALL:
        return runner.fail(
            f"--page: expected with NAME {ALL}; got it with {options.NAME!r}. One run has its report.html."
        )
    jaxdl.training.keep_compiled_programs()
    load = partial(jaxdl.data.load, data_dir=options.data_dir)
    return _run_all(chosen, options, load) if options.NAME == ALL else _run_one(chosen[0], options, load)


def _run_one(experiment: experiments.Experiment, options: argparse.Namespace, load: Callable) -> int:
    from experiments.harness import records, report, runner

    dataset = options.dataset or "digits"
    out = options.out or Path("runs") / f"{experiment.name}-{dataset}-{options.preset}"
    print(f"{experiment.name} on {dataset}, preset {options.preset}: {experiment.claim}")
    preset, seeds = options.preset, options.seeds
    record = None
    if options.resume:
        record = records.standing(out, experiment, dataset=dataset, preset=preset, seeds=seeds)
    if record is not None:
        print(f"  done before: {record.summary}.\nReport: {out / 'report.html'}")
        return int(record.failed)
    print(f"  about {experiment.seconds[dataset]} s with the default preset on two cores; results go to {out}")
    try:
        splits = load(dataset)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:  # anything later is no fault of the command line
        return runner.fail(str(error))
    run = runner.run_experiment(experiment, splits, dataset=dataset, preset=preset, seeds=seeds, out=out)
    print(f"\n{report.table(run)}\n")
    for table in run.tables:
        print(f"{report.columns(table)}\n")
    for note in run.notes:
        print(f"note: {note}")
    figures = ", ".join(str(out / picture.name) for picture in run.figures)
    print(f"\n{runner.summary(run)}.\nReport: {out / 'report.html'}\nFigures: {figures}")
    return int(any(finding.verdict == "FAIL" for finding in run.findings))


def _run_all(chosen: Sequence[experiments.Experiment], options: argparse.Namespace, load: Callable) -> int:
    from experiments.harness import collection, results_page, runner

    out = options.out or Path("runs")
    preset, seeds = options.preset, options.seeds
    planned = collection.plan(
        chosen, dataset=options.dataset, preset=preset, seeds=seeds, out=out, resume=options.resume
    )
    print(collection.estimate(planned, preset))
    try:  # all data before the first hour, not after it
        splits = {name: load(name) for name in sorted({run.dataset for run in planned if run.record is None})}
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        return runner.fail(f"{error}\n--dataset digits runs everything on the embedded digits.")

    def write(entries: Sequence[results_page.Entry]) -> None:
        runner.write(out / "results.html", results_page.page(entries, links=True).encode())
        if options.page is not None:
            runner.write(options.page, results_page.page(entries, links=False).encode())

    entries = collection.run_all(planned, splits, preset=preset, seeds=seeds, write=write)
    found = [entry.record for entry in entries if entry.record is not None]
    broken = [entry.experiment.name for entry in entries if entry.record is None]
    if broken:
        print(f"error: these broke: {', '.join(broken)}; --resume runs them again and nothing else.", file=sys.stderr)
    print(f"\nResults: {out / 'results.html'}")
    return int(bool(broken) or any(record.failed for record in found))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description="Runs a claim of the lectures, or all of them, to a verdict."
    )
    parser.add_argument("NAME", nargs="?", help=f"the experiment, or {ALL}; leave it out to list them")
    parser.add_argument(
        "--dataset",
        choices=("digits", "mnist"),
        help=f"digits needs no download and is the default; {ALL} takes that of each experiment's record",
    )
    parser.add_argument("--seeds", type=int, help="number of seeds; verdicts need five or more")
    parser.add_argument("--preset", choices=("smoke", "default", "full"), default="default")
    parser.add_argument("--resume", action="store_true", help="keep finished runs of the same source and settings")
    parser.add_argument("--out", type=Path, help=f"folder for the results (runs/NAME-DATASET-PRESET; {ALL}: runs)")
    parser.add_argument("--page", type=Path, help=f"with {ALL}: also write the results page here, without links")
    parser.add_argument("--data-dir", help="folder with the original archives of the dataset (JAXDL_DATA_DIR)")
    return parser


def listing() -> str:
    """Every experiment: name, lecture, claim, time."""
    entries = []
    for experiment in map(experiments.find, experiments.NAMES):
        times = ", ".join(f"{name} about {seconds} s" for name, seconds in experiment.seconds.items())
        entries.append(f"{experiment.name}\n  {experiment.claim}\n  lectures: {experiment.lecture}\n  time: {times}")
    usage = (
        "\nRun one with: python -m experiments NAME [--dataset mnist] [--help]\nRun all with: python -m experiments all"
    )
    return "\n".join([*entries, usage])


if __name__ == "__main__":
    sys.exit(main())
