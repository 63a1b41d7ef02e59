"""A run that is killed by SIGKILL at random moments, again and again, arrives where the uninterrupted one does."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from jaxdl.training.callbacks import read_log
from tests.conftest import CHECKOUT
from tests.training import survivor


def life(folder, out, *, seed: int, longest: float, epochs: int, source: str) -> int:
    """The exit status of one process."""
    command = [
        sys.executable,
        "-m",
        "tests.training.survivor",
        str(folder),
        str(out),
        str(seed),
        str(longest),
        str(epochs),
        source,
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, env=dict(os.environ))
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def intact_steps(folder) -> list[int]:
    from pathlib import Path

    from jaxdl.training.checkpoints import Checkpoints, CheckpointStore

    return CheckpointStore(Path(folder) / "checkpoints", Checkpoints()).intact_steps()


def killed_again_and_again(tmp_path, *, kills: int, longest: float, epochs: int, source: str) -> None:
    folder, out = tmp_path / "run", tmp_path / "out.npz"
    lives = newest = 0
    deaths = []
    while len(deaths) < kills:
        status = life(folder, out, seed=lives, longest=longest, epochs=epochs, source=source)
        lives += 1
        assert lives < 3 * kills, "it lives too long: fewer steps, or kill sooner"
        if status == 0:
            continue
        steps = intact_steps(folder)
        assert max(steps, default=0) >= newest, "a checkpoint was lost"
        newest = max(steps, default=0)
        deaths.append([path.name for path in (folder / "checkpoints").iterdir()])
    assert life(folder, out, seed=0, longest=0, epochs=epochs, source=source) == 0
    expected = survivor.numbers(survivor.run(None, epochs=epochs, source=source))
    with np.load(out) as found:
        assert sorted(found.files) == sorted(expected)
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name
    # The log tells every step once, whatever was killed.
    told = [entry for entry in read_log(folder / "log.jsonl") if entry["event"] == "steps"]
    assert [entry["start"] for entry in told] == [0, *(entry["step"] for entry in told[:-1])]
    assert told[-1]["step"] == epochs * 25
    unfinished = sum(any("tmp" in name for name in names) for names in deaths)
    print(f"{kills} kills, {unfinished} of them in the middle of saving, newest checkpoint then {newest}")


@pytest.mark.parametrize("source", ["arrays", pytest.param("stream", marks=pytest.mark.slow)])
def test_a_run_that_is_killed(tmp_path, source):
    killed_again_and_again(tmp_path, kills=3, longest=0.8, epochs=8, source=source)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("source", ["arrays", "stream"])
def test_a_run_that_is_killed_thirty_times(tmp_path, source):
    killed_again_and_again(tmp_path, kills=30, longest=1.5, epochs=80, source=source)
