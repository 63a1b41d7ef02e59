"""Runs one experiment and writes what it found: manifest, records, figures, report."""

import hashlib
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

import jaxdl
from experiments.harness import records, report
from experiments.harness.claims import Experiment, Finding, Run

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "tensorflow-datasets", "matplotlib")


def run_experiment(
    experiment: Experiment, splits: jaxdl.data.Splits, *, dataset: str, preset: str, seeds: int | None, out: Path
) -> Run:
    """Runs the experiment and leaves `manifest.json`, `results.jsonl`, figures and `report.html` in `out`.

    Nothing is written before the experiment is through, and every file under another name first: an interrupted run
    leaves no half of one, and the results of an earlier run stand until this one's are complete.
    """
    settings = dict(experiment.presets[preset])
    default_seeds = settings.pop("seeds")
    run = Run(dataset, splits, default_seeds if seeds is None else seeds, settings)
    started = time.time()
    experiment.run(run)
    results = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines(run)).encode()
    manifest = describe(experiment, run, preset=preset, seconds=time.time() - started)
    manifest["results_sha256"] = hashlib.sha256(results).hexdigest()  # tells a whole run from half of one
    files = {picture.name: picture.png for picture in run.figures}
    files["report.html"] = report.html(experiment, run, manifest).encode()
    files["results.jsonl"] = results
    files["manifest.json"] = (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    for name, content in files.items():
        write(out / name, content)
    return run


def lines(run: Run) -> list[dict[str, Any]]:
    """The findings, then the measurements of every seed; numbers that are not finite become null, as JSON has none."""
    findings = [{"kind": "finding", "verdict": finding.verdict, **asdict(finding)} for finding in run.findings]
    return [_finite(line) for line in findings + [{"kind": "measurement", **record} for record in run.records]]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe(experiment: Experiment, run: Run, *, preset: str, seconds: float) -> dict[str, Any]:
    """All that is needed to repeat the run."""
    device = jax.devices()[0]
    return {
        "experiment": experiment.name,
        "command": f"python -m experiments {experiment.name} --dataset {run.dataset} --preset {preset} "
        f"--seeds {run.seeds}",
        "dataset": run.dataset,
        "examples": {name: len(split.x) for name, split in run.splits._asdict().items()},
        "preset": preset,
        "settings": dict(run.settings),
        "seeds": list(range(run.seeds)),
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "jaxdl": jaxdl.__version__,
        "commit": commit(),
        "source": records.fingerprint(experiment),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform}: {device.device_kind}, {jax.device_count()} device(s)",
        "verdicts": {verdict: count(run.findings, verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")},
        "figures": [picture.name for picture in run.figures],
    }


def count(findings: list[Finding], verdict: str) -> int:
    """How many findings have that verdict."""
    return sum(finding.verdict == verdict for finding in findings)


def commit() -> str:
    """The checkout's commit, with "+" if files differ from it; "" outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def write(path: Path, content: bytes) -> None:
    """Writes a file as a whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def summary(run: Run) -> str:
    """The last line on the screen."""
    counts = {verdict: count(run.findings, verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE")}
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)


def fail(message: str) -> int:
    """Prints a usage error and returns its exit status."""
    print(f"error: {message}", file=sys.stderr)
    return 2
