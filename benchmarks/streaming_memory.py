"""Trains on a file of records larger than the memory it may take, and reports the largest memory it took.

python -m benchmarks.streaming_memory [--gigabytes 3] [--folder /tmp]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIZE, CLASSES, BATCH = 64, 10, 64


def write(path: Path, *, size_bytes: float) -> int:
    """Writes records, a label and an image of 64x64x3 bytes each, piece by piece; returns their number."""
    from array_record.python.array_record_module import ArrayRecordWriter

    draws = np.random.default_rng(0)
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    length, count = 1 + SIZE * SIZE * 3, 0
    while count * length < size_bytes:
        for record in draws.integers(0, 256, (256, length), np.uint8):
            record[0] %= CLASSES
            # The class shows in the brightness, so that there is something to learn.
            record[1:] = record[1:] // 2 + 12 * record[0]
            writer.write(record.tobytes())
            count += 1
    writer.close()
    return count


def decode(record: bytes) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.frombuffer(record, np.uint8)
    return numbers[1:].reshape(SIZE, SIZE, 3) / np.float32(255), numbers[0].astype(np.int32)


def train(path: Path) -> None:
    """Trains for an epoch and prints what came of it, as JSON."""
    import grain
    import jax
    import optax
    from flax import linen as nn

    from jaxdl import losses, training
    from jaxdl.data import streaming
    from jaxdl.training import programs
    from jaxdl.training.streaming import StreamDriver

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(nn.Conv(8, (5, 5), strides=(4, 4))(x))
            return nn.Dense(CLASSES)(x.reshape(x.shape[0], -1))

    source = grain.sources.ArrayRecordDataSource(str(path))
    stream = streaming.stream(source, batch_size=BATCH, key=jax.random.key(0), transform=decode)
    model = Network()
    step = training.make_train_step(training.supervised(model, losses.softmax_cross_entropy), optax.adam(1e-3))
    state = training.init_state(model, step.tx, np.zeros((1, SIZE, SIZE, 3), np.float32), key=jax.random.key(1))
    steps = stream.steps_per_epoch
    assert steps is not None
    driver = StreamDriver(step, stream, programs.Stopwatch(), last_step=steps)
    losses_seen, peaks = [], []
    for start in range(0, steps, steps // 10):
        state, metrics = driver.advance(state, start, min(steps // 10, steps - start))
        losses_seen.append(float(np.asarray(metrics["loss"]).mean()))
        peaks.append(peak_bytes())
    driver.close()
    print(json.dumps(dict(records=stream.num_examples, steps=steps, losses=losses_seen, peaks=peaks)))


def peak_bytes() -> int:
    """The largest resident memory this process has had."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def measure(*, gigabytes: float, folder: str | None) -> dict[str, list[float]]:
    """Writes the file, trains on it in a process of its own, removes it, and returns what the process printed."""
    with tempfile.TemporaryDirectory(prefix="jaxdl-streaming-", dir=folder) as scratch:
        path = Path(scratch) / "images.array_record"
        write(path, size_bytes=gigabytes * 1e9)
        command = [sys.executable, "-m", "benchmarks.streaming_memory", "--train", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The process that trained failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming_memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--folder", help="where the file is written, and removed from")
    parser.add_argument("--train", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        train(options.train)
    else:
        print(json.dumps(measure(gigabytes=options.gigabytes, folder=options.folder)))


if __name__ == "__main__":
    main()
