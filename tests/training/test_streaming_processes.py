"""Streamed runs in processes of their own: killed and begun again, two together, and the memory one takes."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from benchmarks.streaming_memory import measure

CHECKOUT = Path(__file__).parents[2]
SCRIPT = """
import json, os, sys
import grain, jax, numpy as np, optax
from flax import linen as nn
from jaxdl import losses, training
from jaxdl.data.streaming import stream
from jaxdl.training import programs
from jaxdl.training.streaming import StreamDriver

folder, steps, threads = sys.argv[1], 40, int(sys.argv[2])

class Noise(grain.transforms.RandomMap):
    def random_map(self, record, rng):
        x = np.frombuffer(record, np.float32)
        return x + rng.normal(size=x.shape).astype(np.float32), np.int32(x[0] > 0)

source = grain.sources.ArrayRecordDataSource(folder + "/data")
data = stream(source, batch_size=6, key=jax.random.key(3), transform=Noise(), on_corrupt="skip", num_threads=threads)

class Network(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dropout(0.2, deterministic=not train)(nn.relu(nn.Dense(8)(x)))
        return nn.Dense(2)(x)

step = training.make_train_step(training.supervised(Network(), losses.softmax_cross_entropy), optax.adam(1e-2))
state = training.init_state(Network(), step.tx, np.zeros((1, 5), np.float32), key=jax.random.key(4))
driver = StreamDriver(step, data, programs.Stopwatch(), last_step=steps)
parts = lambda state: (state.step, state.params, state.opt_state)
saved, place, done = folder + "/state.npz", None, 0
if os.path.exists(saved):
    with np.load(saved) as file:
        leaves = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
        driver.seek(json.loads(str(file["place"])))
    step_, params, opt_state = jax.tree.unflatten(jax.tree.structure(parts(state)), leaves)
    state = training.TrainState(jax.numpy.asarray(step_), params, state.model_state, opt_state, state.key)
    done = int(step_)
print("from", done, flush=True)
while done < steps:
    length = min(3, steps - done)
    state, metrics = driver.advance(state, done, length)
    done += length
    np.savez(folder + "/new.npz", *jax.tree.leaves(parts(state)), place=json.dumps(driver.position()))
    os.replace(folder + "/new.npz", saved)
    print(done, flush=True)
    if len(sys.argv) > 3 and done >= int(sys.argv[3]):
        sys.stdin.readline()  # waits to be killed, the batches after this one read and on the device
driver.close()
"""


def begin(folder, threads, *stop):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(threads), *map(str, stop)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


def until_killed(folder, threads, stop):
    """Where the process began; it is killed after step `stop`."""
    with begin(folder, threads, stop) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        for line in process.stdout:
            if int(line) >= stop:
                break
        process.kill()
    return first.strip()


def whole(folder, threads):
    with begin(folder, threads) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.splitlines()


@pytest.fixture
def folders(tmp_path):
    draws = np.random.RandomState(0)
    folders = [tmp_path / "killed", tmp_path / "whole"]
    records = [draws.randn(5).astype(np.float32).tobytes() for _ in range(50)]
    for folder in folders:
        folder.mkdir()
        writer = ArrayRecordWriter(str(folder / "data"), "group_size:1,uncompressed")
        for record in records:
            writer.write(record)
        writer.close()
        content = bytearray((folder / "data").read_bytes())
        content[content.index(records[20]) + 3] ^= 0xFF
        (folder / "data").write_bytes(content)
    return folders


def test_a_killed_process_goes_on_to_the_same_bytes(folders):
    killed, undisturbed = folders
    assert until_killed(killed, 2, 8) == "from 0"
    assert whole(killed, 0)[0] == "from 9"
    assert whole(undisturbed, 1)[0] == "from 0"
    with np.load(killed / "state.npz") as ours, np.load(undisturbed / "state.npz") as expected:
        assert ours.files == expected.files
        for name in ours.files:
            assert ours[name].tobytes() == expected[name].tobytes()
        place = json.loads(str(ours["place"]))
    assert place["batches"] == 40
    assert place["skipped"] >= 4  # in 40 batches of 6 of 50 records, one of them corrupt


TOGETHER = """
import sys
import jax, numpy as np, optax
from flax import linen as nn
from jaxdl import losses, training
from jaxdl.data.streaming import stream
from jaxdl.training import programs
from jaxdl.training.streaming import StreamDriver

rank, count, port = map(int, sys.argv[1:])
if count > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
layout = training.data_parallel()
draws = np.random.RandomState(0)
x, y = draws.randn(100, 5).astype(np.float32), draws.randint(0, 3, 100).astype(np.int32)
model = nn.Dense(3)
step = training.make_train_step(training.supervised(model, losses.softmax_cross_entropy), optax.adam(0.05))
state = layout.place_state(training.init_state(model, step.tx, x[:1], key=jax.random.key(2)))
data = stream((x, y), batch_size=8, key=jax.random.key(1))
driver = StreamDriver(step, data, programs.Stopwatch(), last_step=20, layout=layout)
state, first = driver.advance(state, 0, 7)
state, second = driver.advance(state, 7, 13)
means = training.evaluate_stream(step.objective, state, (x, y), batch_size=32, layout=layout)
print(jax.device_count(), *np.asarray(first["loss"]), *np.asarray(second["loss"]), means["loss"])
driver.close()
"""


def test_two_processes_train_as_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def begin(rank, count):
        command = [sys.executable, "-c", TOGETHER, *map(str, (rank, count, port))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)

    processes = [begin(0, 1), begin(0, 2), begin(1, 2)]
    outputs = []
    for process in processes:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0
        outputs.append([float(word) for word in output.splitlines()[-1].split()])
    assert [output[0] for output in outputs] == [1, 2, 2]
    assert len(outputs[0]) == 1 + 20 + 1
    assert outputs[1] == outputs[2]
    np.testing.assert_allclose(outputs[1][1:], outputs[0][1:], rtol=2e-6)


def check_memory(gigabytes, folder):
    report = measure(gigabytes=gigabytes, folder=str(folder))
    losses, peaks = report["losses"], report["peaks"]
    assert report["records"] * 12_289 >= gigabytes * 1e9
    assert losses[-1] < losses[0]
    assert max(peaks) < 1e9
    return peaks


def test_memory_does_not_grow_with_the_data(tmp_path):
    peaks = check_memory(0.2, tmp_path)
    # The queues hold at most 6 groups of 6.3 MB and 5 batches of half that, and may fill up as late as they like; of
    # the data, 0.12 GB are read between the two.
    assert peaks[-1] - peaks[4] < 0.054e9


@pytest.mark.slow
def test_three_gigabytes_are_trained_on_in_less_than_one(tmp_path):
    check_memory(3, tmp_path)
