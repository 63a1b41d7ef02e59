"""MNIST: archives -> TFDS -> decoded arrays -> the book's split."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxdl.data import decoded_cache
from jaxdl.data.archives import Archive, ArchiveSet, obtain
from jaxdl.data.splits import Splits, hold_out, scaled
from jaxdl.data.tfds_reader import read_split

# Address and SHA-256 as TFDS 4.9.10 pins them for its own builder (a mirror of yann.lecun.com/exdb/mnist).
MNIST = ArchiveSet(
    name="mnist",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    archives=(
        Archive("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Archive("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Archive("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Archive("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)
NUM_VALIDATION = 10_000
Contents = TypeVar("Contents")
_LOGGER = logging.getLogger(__name__)


def load_mnist(
    *, data_dir: Path | None, cache_dir: Path, source: ArchiveSet = MNIST, num_validation: int = NUM_VALIDATION
) -> Splits:
    """MNIST in its original order: the last `num_validation` images of the training file are the validation split.

    Args:
        data_dir: folder of original archives, only read; None for none.
        cache_dir: folder where prepared and decoded data are kept.
        source: the archives; others than MNIST's serve the tests. One cache_dir holds one source.
        num_validation: size of the validation split.

    Returns:
        Splits; x float32 in [0, 1], shape (N, 28, 28, 1); y int32, shape (N,).

    Raises:
        FileNotFoundError, ValueError, RuntimeError: as `jaxdl.data.load`.
    """
    folder = cache_dir / "jaxdl" / source.name
    identity = " ".join(archive.sha256 for archive in source.archives)
    arrays = decoded_cache.read(folder, identity=identity)
    if arrays is None:
        arrays = _decode(source, data_dir=data_dir, cache_dir=cache_dir)
        try:
            decoded_cache.write(folder, arrays, identity=identity)
        except OSError as error:  # a full or read-only disk costs time at the next load, not this result
            _LOGGER.warning("cache_dir: the decoded arrays could not be kept in %s: %s", folder, error)
    train, validation = hold_out(scaled(arrays["train_x"], arrays["train_y"]), num_validation=num_validation)
    return Splits(train, validation, scaled(arrays["test_x"], arrays["test_y"]))


def _decode(source: ArchiveSet, *, data_dir: Path | None, cache_dir: Path) -> dict[str, np.ndarray]:
    return with_builder(_read, source, data_dir=data_dir, cache_dir=cache_dir)


def with_builder(
    read: Callable[[Any], Contents], source: ArchiveSet, *, data_dir: Path | None, cache_dir: Path
) -> Contents:
    """What `read` makes of the prepared builder; the data are prepared, or anew where they cannot be read."""
    from jaxdl.data.mnist_builder import JaxdlMnist

    prepared = cache_dir / JaxdlMnist.name / str(JaxdlMnist.VERSION)
    damaged = False
    if prepared.is_dir():
        try:
            return read(JaxdlMnist(data_dir=cache_dir))
        except Exception as error:  # record files, protocol buffers and dataset_info.json each raise their own
            _LOGGER.warning("preparing %r anew: %s is damaged (%s)", source.name, prepared, error)
            damaged = True
    with tempfile.TemporaryDirectory(prefix="jaxdl-") as scratch:
        # Nothing below cache_dir is touched before every archive is here and checked.
        archives = obtain(source, data_dir=data_dir, download_dir=Path(scratch))
        if damaged:
            shutil.rmtree(prepared, ignore_errors=True)
        builder = JaxdlMnist(archives=archives, data_dir=cache_dir)
        try:
            builder.download_and_prepare(download_dir=scratch, file_format="array_record")
        except OSError:
            if not prepared.is_dir():  # else another process was faster
                raise
    return read(JaxdlMnist(data_dir=cache_dir))


def _read(builder: Any) -> dict[str, np.ndarray]:
    train_x, train_y = read_split(builder, "train")
    test_x, test_y = read_split(builder, "test")
    return {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}
