"""`python -m experiments [NAME]`: lists the experiments or runs one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import experiments


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when no claim FAILs, 1 when one does, 2 for bad usage."""
    options = parser().parse_args(arguments)
    if options.NAME is None:
        print(listing())
        return 0
    import jaxdl
    from experiments.harness import report, runner

    try:
        experiment = experiments.find(options.NAME)
    except ValueError as error:
        return runner.fail(str(error))
    if options.seeds is not None and options.seeds < 1:
        return runner.fail(f"--seeds: expected a whole number >= 1; got {options.seeds}. Five or more give verdicts.")
    jaxdl.training.keep_compiled_programs()
    out = options.out or Path("runs") / f"{experiment.name}-{options.dataset}-{options.preset}"
    print(f"{experiment.name} on {options.dataset}, preset {options.preset}: {experiment.claim}")
    print(f"  about {experiment.seconds[options.dataset]} s with the default preset on two cores; results go to {out}")
    try:
        splits = jaxdl.data.load(options.dataset, data_dir=options.data_dir)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:  # anything later is no fault of the command line
        return runner.fail(str(error))
    run = runner.run_experiment(
        experiment, splits, dataset=options.dataset, preset=options.preset, seeds=options.seeds, out=out
    )
    print(f"\n{report.table(run)}\n")
    for table in run.tables:
        print(f"{report.columns(table)}\n")
    for note in run.notes:
        print(f"note: {note}")
    figures = ", ".join(str(out / picture.name) for picture in run.figures)
    print(f"\n{runner.summary(run)}.\nReport: {out / 'report.html'}\nFigures: {figures}")
    return int(any(finding.verdict == "FAIL" for finding in run.findings))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description="Runs a claim of the lectures to a verdict."
    )
    parser.add_argument("NAME", nargs="?", help="the experiment; leave it out to list them")
    parser.add_argument("--dataset", choices=("digits", "mnist"), default="digits", help="digits needs no download")
    parser.add_argument("--seeds", type=int, help="number of seeds; verdicts need five or more")
    parser.add_argument("--preset", choices=("smoke", "default", "full"), default="default")
    parser.add_argument("--out", type=Path, help="folder for the results (runs/NAME-DATASET-PRESET)")
    parser.add_argument("--data-dir", help="folder with the original archives of the dataset (JAXDL_DATA_DIR)")
    return parser


def listing() -> str:
    """Every experiment: name, lecture, claim, time."""
    entries = []
    for experiment in map(experiments.find, experiments.NAMES):
        times = ", ".join(f"{name} about {seconds} s" for name, seconds in experiment.seconds.items())
        entries.append(f"{experiment.name}\n  {experiment.claim}\n  lectures: {experiment.lecture}\n  time: {times}")
    return "\n".join([*entries, "\nRun one with: python -m experiments NAME [--dataset mnist] [--help]"])


if __name__ == "__main__":
    sys.exit(main())
