"""Real processes over loopback: the law of devices, what processes do not agree on, and one that dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import CHECKOUT
from tests.training.parallel import worker


def start(count, task, folder):
    """Processes that know each other by a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}

    def one(index):
        command = [sys.executable, "-m", "tests.training.parallel.worker"]
        with (folder / f"output-{index}.txt").open("w") as output:
            return subprocess.Popen(
                [*command, str(port), str(count), str(index), task, str(folder)],
                cwd=CHECKOUT, env=environment, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    return [one(index) for index in range(count)]


def finish(processes, folder, *, seconds=200):
    """Waits until all have ended well."""
    try:
        for index, process in enumerate(processes):
            assert process.wait(seconds) == 0, (folder / f"output-{index}.txt").read_text()[-6000:]
    finally:
        end(processes)


def end(processes):
    for process in processes:
        process.kill()
        process.wait()


def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


def same_arrays(ours, theirs, *, rtol=1e-6):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=rtol, atol=rtol * np.max(np.abs(array)), err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of the same data."""
    folder = tmp_path_factory.mktemp("alone")
    worker.laws(1, 0, folder)
    return folder


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def together(request, tmp_path_factory):
    """What so many processes make of them, and of all that ends otherwise."""
    folder = tmp_path_factory.mktemp("together")
    finish(start(request.param, "laws+refusals+endings", folder), folder)
    return request.param, folder


def test_processes_agree_with_one(together, alone):
    count, folder = together
    for case in worker.CASES:
        for index in range(count):
            same_arrays(load(folder / f"{case}-{index}.npz"), load(alone / f"{case}-0.npz"))


def test_what_processes_do_not_agree_on_is_named(together):
    count, folder = together
    examples = [136 // count - index for index in range(count)]
    others = list(range(1, count))
    for index in range(count):
        said = json.loads((folder / f"refusals-{index}.json").read_text())
        assert said["unequal parts"] == (
            f"data: expected a part of the same shapes and dtypes in every process (here {examples[index]} examples); "
            f"got another than process 0 in {others}. Drop what some parts have more, or place what every process has "
            "whole by layout.replicate(data)."
        )
        assert said["another state"] == (
            f"state: expected the same one in every process; got another than process 0 in {others}. "
            "Make it with the same key and from the same parameters."
        )
        assert "at step 2 " in said["not finite"]
        assert "The batch of that step holds numbers that are not finite, in its leaf '0'" in said["not finite"]
        assert said["replicated"].startswith("examples: expected 'sharded' or None with several processes, each of")
        assert f"devices: expected equally many of every process; got {[1] + [0] * (count - 1)}" in said["some devices"]


def test_every_way_to_end_is_one_way_for_all_processes(together):
    count, folder = together
    for index in range(count):
        found = json.loads((folder / f"endings-{index}.json").read_text())
        assert found["stopped_early"] == ["stopped early", 8, 24], "at the third evaluation; the first was the best"
        assert found["halted"] == ["not finite", 2, "not finite", 2]
        assert found["raised"] == ["2"]
        assert found["interrupted"] in (8, 12), "one process got the signal, all have saved and ended"


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_process_that_dies_is_noticed_and_the_run_goes_on(killed, tmp_path):
    """The other one ends with an error within the heartbeat's timeout; 1 and 2 processes go on from what was saved."""
    (tmp_path / f"victim-{killed}").touch()
    processes = start(2, "run", tmp_path)
    try:
        wait_for(tmp_path / "sitting", processes)
        processes[killed].send_signal(signal.SIGKILL)
        died = time.monotonic()
        assert processes[1 - killed].wait(200) != 0
        assert time.monotonic() - died < worker.HEARTBEAT_TIMEOUT + 5
    finally:
        end(processes)
    saved = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    assert 8 <= saved[-1] <= 16, "not from its beginning, and not done"
    whole = tmp_path / "whole"
    whole.mkdir()
    worker.run(1, 0, whole)
    for count in (1, 2):
        again = tmp_path / f"again-{count}"
        shutil.copytree(tmp_path / "run", again / "run")
        worker.run(1, 0, again) if count == 1 else finish(start(count, "run", again), again)
        for index in range(count):
            ours = load(again / f"run-{count}-{index}.npz")
            assert ours["loss"].shape == (32,)
            same_arrays(ours, load(whole / "run-1-0.npz"))


def wait_for(path, processes, *, seconds=200):
    began = time.monotonic()
    while not path.exists():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
