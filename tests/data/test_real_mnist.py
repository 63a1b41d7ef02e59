"""The real MNIST: bytes, published figures, time of the second load. Skipped where its archives are absent."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxdl.data import Splits
from jaxdl.data.mnist import MNIST, load_mnist


def _raw(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    num_axes = content[3]
    shape = struct.unpack(f">{num_axes}I", content[4 : 4 + 4 * num_axes])
    return np.frombuffer(content[4 + 4 * num_axes :], np.uint8).reshape(shape)


def test_real_mnist_is_the_files_in_their_order(mnist: Splits, mnist_dir: Path) -> None:
    train_x, train_y = _raw(mnist_dir / "train-images-idx3-ubyte.gz"), _raw(mnist_dir / "train-labels-idx1-ubyte.gz")
    test_x, test_y = _raw(mnist_dir / "t10k-images-idx3-ubyte.gz"), _raw(mnist_dir / "t10k-labels-idx1-ubyte.gz")
    table = (np.arange(256) / 255).astype(np.float32)
    for (x, y), images, labels in (
        (mnist.train, train_x[:50_000], train_y[:50_000]),
        (mnist.validation, train_x[50_000:], train_y[50_000:]),
        (mnist.test, test_x, test_y),
    ):
        assert x.shape == (len(labels), 28, 28, 1)
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        assert x.min() == 0
        assert x.max() == 1
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_array_equal(x[..., 0], table[images])


def test_average_darkness_and_nearest_class_mean_give_the_published_figures(mnist: Splits) -> None:
    """X05: 2,225 of 10,000 right (Nielsen) identifies the split; the nearest class-mean image gives 82.00 %."""
    pixels = [np.round(part.x.reshape(len(part.y), -1) * 255).astype(np.int64) for part in (mnist.train, mnist.test)]
    darkness, test_darkness = (x.sum(axis=1) for x in pixels)
    means = np.array([darkness[mnist.train.y == digit].mean() for digit in range(10)])
    guess = np.abs(test_darkness[:, np.newaxis] - means).argmin(axis=1)
    assert np.sum(guess == mnist.test.y) == 2225
    images = np.stack([pixels[0][mnist.train.y == digit].mean(axis=0) for digit in range(10)])
    distances = np.sum(images**2, axis=1) - 2 * pixels[1] @ images.T
    assert np.sum(distances.argmin(axis=1) == mnist.test.y) == 8200
    assert np.sum(mnist.test.y == 1) == 1135


def test_mean_and_deviation_of_the_sixty_thousand(mnist: Splits) -> None:
    """D02: 0.1307 and 0.3081."""
    x = np.concatenate([mnist.train.x, mnist.validation.x])
    mean = x.mean(dtype=np.float64)
    squares = np.square(x).mean(dtype=np.float64)  # pixels in [0, 1]: no cancellation to speak of
    assert round(float(mean), 4) == 0.1307
    assert round(float(np.sqrt(squares - mean**2)), 4) == 0.3081


def test_second_load_is_fast_and_imports_no_tfds(mnist_cache: Path, alone: str) -> None:
    script = f"""{alone}
import time
from jaxdl.data import load
start = time.perf_counter()
splits = load("mnist", cache_dir={str(mnist_cache)!r})
seconds = time.perf_counter() - start
assert [len(part.y) for part in splits] == [50_000, 10_000, 10_000]
heavy = {{"tensorflow_datasets", "tensorflow", "sklearn", "requests"}} & sys.modules.keys()
assert not heavy, heavy
print(seconds)
"""
    seconds = []
    for _ in range(3):  # the best of three, since other processes share the machine
        done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout))
        if seconds[-1] < 0.5:
            break
    assert min(seconds) < 0.5


def test_real_archive_cut_short_is_named(mnist_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for path in mnist_dir.glob("*.gz"):
        (folder / path.name).write_bytes(path.read_bytes()[: -1 if path.name.startswith("t10k-labels") else None])
    with pytest.raises(ValueError, match=f"{MNIST.archives[3].sha256}, got .*t10k-labels"):
        load_mnist(data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
