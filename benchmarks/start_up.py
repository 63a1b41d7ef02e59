"""Times importing jaxdl, and the way of a small experiment to its first step, without and with kept programs.

python -m benchmarks.start_up [--rounds 7] [--write]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import report

TITLE = "Start-up: importing, and the first step of a small experiment with and without kept programs"
CHECKOUT = Path(__file__).parents[1]
IMPORTS = {
    "jax, flax, optax": "import jax, flax, optax",
    "jaxdl": "import jaxdl",
    "jaxdl and all its rooms": "import jaxdl; [getattr(jaxdl, name) for name in jaxdl.__all__]",
}
SUBJECTS = {"experiment": "vanishing_gradient, preset smoke", "bare": "one step of an MLP"}
EXPLANATION = (
    "Cold: the folder of compiled programs is empty; warm: it holds those of the cold process before. The experiment "
    "is timed until its first training returns. Imports include scikit-learn, and for the MLP the digits. What is left "
    "when warm is tracing and lowering, which no cache on disk saves."
)
IMPORT_AT_MOST, SOONER_AT_LEAST = 1.3, 3.0


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("start_up", __doc__, TITLE, section, rounds=7, arguments=arguments)


def section(*, rounds: int) -> str:
    return f"{imports(rounds)}\n\n{first_step(rounds)}"


def imports(rounds: int) -> str:
    """Fresh interpreters in turns; the clock starts inside them."""
    code = "import time; w, c = time.perf_counter(), time.process_time()\n{}\n"
    code += "print(time.perf_counter() - w, time.process_time() - c)"
    seconds = {name: [] for name in IMPORTS}
    for _ in range(rounds + 1):  # the first turn fills the caches of files
        for name, statement in IMPORTS.items():
            seconds[name].append([float(value) for value in python("-c", code.format(statement)).split()])
    measured = {name: np.asarray(values)[1:] for name, values in seconds.items()}
    reference = measured["jax, flax, optax"]
    lines = ["| import | median s | CPU s | ratio | ratio of CPU |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, values in measured.items():
        median, ratio = np.median(values, 0), np.median(values / reference, 0)
        lines.append(f"| {name} | {median[0]:.2f} | {median[1]:.2f} | {ratio[0]:.2f} | {ratio[1]:.2f} |")
    ratio = np.median(measured["jaxdl"] / reference, 0)[0]
    kept = "kept" if ratio < IMPORT_AT_MOST else "not kept"
    return "\n".join(lines) + f"\n\n- import jaxdl: {ratio:.2f} of its libraries, allowed {IMPORT_AT_MOST}: {kept}"


def first_step(rounds: int) -> str:
    """Pairs of processes, the second of which finds the programs of the first."""
    lines = ["| | cold s | warm s | sooner | CPU, sooner |", "| --- | ---: | ---: | ---: | ---: |"]
    promised = 0.0
    for subject, title in SUBJECTS.items():
        pairs = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                pairs.append([moments(subject, folder), moments(subject, folder)])
        reached = np.asarray([[run["first step"] for run in pair] for pair in pairs])
        imported = np.asarray([[run["imports"] for run in pair] for pair in pairs])
        for origin, seconds in (("the start of the process", reached), ("its imports", reached - imported)):
            cold, warm = np.median(seconds[..., 0], 0)
            sooner, of_cpu = np.median(seconds[:, 0] / seconds[:, 1], 0)
            lines.append(f"| {title}, from {origin} | {cold:.2f} | {warm:.2f} | {sooner:.1f} | {of_cpu:.1f} |")
            if (subject, origin) == ("experiment", "the start of the process"):
                promised = sooner
    kept = "kept" if promised >= SOONER_AT_LEAST else "not kept"
    claim = f"- the experiment gets there {promised:.1f} times sooner, wanted {SOONER_AT_LEAST:.0f}: {kept}"
    return "\n".join(lines) + f"\n\n{claim}\n\n{EXPLANATION}"


def moments(subject: str, folder: str) -> dict[str, tuple[float, float]]:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": folder}
    arguments = ("-m", "benchmarks.first_step", subject, folder, str(time.time()))
    return json.loads(python(*arguments, environment=environment).splitlines()[-1])


def python(*arguments: str, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT, env=environment).stdout


if __name__ == "__main__":
    main()
