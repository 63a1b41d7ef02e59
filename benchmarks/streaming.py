"""Times training on data streamed from a prepared data set against training on the same data on the device.

python -m benchmarks.streaming [--rounds 10] [--write]
"""

import contextlib
import gzip
import io
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from benchmarks import report
from benchmarks.augmentation import ConvNet, warmed_up
from benchmarks.streaming_memory import measure as measure_memory
from benchmarks.timing import take_turns
from jaxdl import losses, training
from jaxdl.data import streaming
from jaxdl.training import programs
from jaxdl.training.streaming import StreamDriver

BATCH, STEPS = 128, 60
HELD_OUT = 10_000  # of the training images of MNIST
TITLE = f"Streaming of {BATCH}x28x28x1 images, {STEPS} steps of conv 32 - conv 64 - pool - dense 256 - 10"
DEVICE = "on the device"


class Resident:
    """`fit` on arrays that are on the device already; every call trains for some more steps."""

    def __init__(self, step: training.TrainStep, data: Any, *, repeats: int) -> None:
        self.step, self.data, self.state = step, jax.device_put(data), initial(step)
        del repeats

    def __call__(self) -> None:
        state = self.state
        total = int(state.step) + STEPS
        self.state = training.fit(self.step, state, self.data, steps=total, batch_size=BATCH, progress=False).state


class Streamed:
    """The streamed engine on a stream that every call opens anew, so that nothing is read before the clock runs."""

    def __init__(self, step: training.TrainStep, stream: streaming.Stream, *, repeats: int) -> None:
        self.step, self.stream, self.state = step, stream, initial(step)
        del repeats

    def __call__(self) -> None:
        first = int(self.state.step)
        driver = StreamDriver(self.step, self.stream, programs.Stopwatch(), last_step=first + STEPS)
        driver.seek(first)
        self.state, metrics = driver.advance(self.state, first, STEPS)
        np.asarray(metrics["loss"])
        driver.close()
        jax.block_until_ready(self.state)


def initial(step: training.TrainStep) -> training.TrainState:
    return training.init_state(ConvNet(), step.tx, np.zeros((1, 28, 28, 1), np.float32), key=jax.random.key(0))


def prepare(folder: Path, count: int) -> None:
    """Random images in the files and the format of MNIST, prepared by its builder."""
    from jaxdl.data.mnist_builder import JaxdlMnist

    draws = np.random.default_rng(0)
    archives = {}
    for split, images in (("train", count + HELD_OUT), ("t10k", 10)):
        for kind, shape, high in (("images-idx3", (images, 28, 28), 256), ("labels-idx1", (images,), 10)):
            name = f"{split}-{kind}-ubyte.gz"
            header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
            archives[name] = folder / name
            content = header + draws.integers(0, high, shape, np.uint8).tobytes()
            archives[name].write_bytes(gzip.compress(content, compresslevel=0))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder = JaxdlMnist(archives=archives, data_dir=folder)
        builder.download_and_prepare(download_dir=folder / "downloads", file_format="array_record")


def main(arguments: Sequence[str] | None = None) -> None:
    report.measure_section("streaming", __doc__, TITLE, section, rounds=10, arguments=arguments)


def section(*, rounds: int) -> str:
    with tempfile.TemporaryDirectory(prefix="jaxdl-streaming-") as folder:
        prepare(Path(folder), STEPS * BATCH)
        timings = timed(Path(folder), rounds=rounds)
    reference = timings[0]
    lines = [report.table(timings, [reference], unit="s"), ""]
    for timing in timings[1:]:
        throughput = np.median(1 / timing.over(reference))
        lines.append(f"- {timing.name}: {throughput:.2f} of the throughput of data on the device")
    memory = measure_memory(gigabytes=3, folder=None)
    lines.append(
        f"- a small network trained for an epoch of {memory['steps']} steps on 3 GB of images took at most "
        f"{max(memory['peaks']) / 1e6:.0f} MB of memory, {memory['peaks'][0] / 1e6:.0f} MB by a tenth of the epoch"
    )
    return "\n".join(lines)


def timed(folder: Path, *, rounds: int) -> list[Any]:
    step = training.make_train_step(training.supervised(ConvNet(), losses.softmax_cross_entropy), optax.sgd(0.01))
    options: dict[str, Any] = dict(batch_size=BATCH, key=jax.random.key(1))
    prepared: dict[str, Any] = dict(cache_dir=folder, **options)
    stream = streaming.stream("mnist", **prepared)
    two_threads = streaming.stream("mnist", num_threads=2, **prepared)
    arrays = next(iter(streaming.stream("mnist", cache_dir=folder, batch_size=STEPS * BATCH, shuffle=False)))
    running = [
        warmed_up(DEVICE, Resident, step, arrays, repeats=1),
        warmed_up("prepared data set", Streamed, step, stream, repeats=1),
        warmed_up("prepared data set, two threads", Streamed, step, two_threads, repeats=1),
        warmed_up("arrays in memory", Streamed, step, streaming.stream(tuple(arrays), **options), repeats=1),
    ]
    take_turns(running, rounds=rounds)
    return [timing for timing, _, _ in running]


if __name__ == "__main__":
    main()
