"""What earlier runs left in their folders, and whether it still stands for the experiment as it is now."""

import ast
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxdl
from experiments.harness.claims import Experiment

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Record:
    """A finished run: its folder, its manifest, and its findings as `results.jsonl` has them."""

    folder: Path
    manifest: dict[str, Any]
    findings: list[dict[str, Any]]

    @property
    def failed(self) -> bool:
        """Whether a claim FAILed."""
        return self.manifest["verdicts"]["FAIL"] > 0

    @property
    def summary(self) -> str:
        """Such as "3 PASS, 1 FAIL"."""
        return ", ".join(f"{number} {verdict}" for verdict, number in self.manifest["verdicts"].items() if number)

    def answers(self, row: str, rows: tuple[str, ...]) -> list[dict[str, Any]]:
        """The findings that answer a row; those of an experiment with one row all do, but where they name another."""
        return [
            finding for finding in self.findings if finding["row"] == row or (not finding["row"] and rows == (row,))
        ]


def read(folder: Path) -> Record | None:
    """The run in a folder; None where there is none, or where it broke off between two files."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        results = (folder / "results.jsonl").read_bytes()
    except (OSError, ValueError):
        return None
    if manifest.get("results_sha256") != hashlib.sha256(results).hexdigest():
        return None
    lines = [json.loads(line) for line in results.decode().splitlines()]
    return Record(folder, manifest, [line for line in lines if line["kind"] == "finding"])


def standing(folder: Path, experiment: Experiment, *, dataset: str, preset: str, seeds: int | None) -> Record | None:
    """The run in a folder if it is this one: same source, data set, settings, seeds and version; None otherwise."""
    record = read(folder)
    settings = dict(experiment.presets[preset])
    number = settings.pop("seeds") if seeds is None else seeds
    expected = {
        "experiment": experiment.name,
        "dataset": dataset,
        "preset": preset,
        "settings": json.loads(json.dumps(settings)),
        "seeds": list(range(number)),
        "jaxdl": jaxdl.__version__,
        "source": fingerprint(experiment),
    }
    found = record and {name: record.manifest.get(name) for name in expected}
    return record if found == expected else None


def fingerprint(experiment: Experiment) -> str:
    """Digest of the code of the experiment and of what it imports of ours: no harness, comments or docstrings in it.

    Its presets are left out: `standing` compares the settings of the one that ran. So is the estimate of its time.
    """
    digest = hashlib.sha256()
    for path in sorted(_sources(experiment.run.__module__)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + _code(path).encode())
    return digest.hexdigest()[:16]


def _sources(module: str) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")
        path = ROOT.joinpath(*parts[1:]).with_suffix(".py")
        if parts[0] != ROOT.name or parts[1:2] == ["harness"] or path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
    return found


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Experiment.__name__:
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("presets", "seconds")]
    return ast.dump(tree)
