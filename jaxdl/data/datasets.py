"""`load`: one function from the name of a data set to its arrays."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.data.mnist import load_mnist
from jaxdl.data.splits import Examples, Splits
from jaxdl.data.tfds_reader import load_tfds

_DIGITS_VALIDATION = 300
_DIGITS_TEST = 300


def load(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Splits:
    """Load a data set as NumPy arrays, without TensorFlow wherever the data allow it.

    | name | train / validation / test | where it comes from |
    |---|---|---|
    | "digits" | 1,197 / 300 / 300, 8x8x1 | embedded in scikit-learn; a fixed permutation; no download |
    | "mnist" | 50,000 / 10,000 / 10,000, 28x28x1 | four archives, from `data_dir` or downloaded; original order |
    | another | as TensorFlow Datasets (TFDS) has them | prepared in `cache_dir`, or prepared now where possible |

    MNIST's training and validation parts are the first 50,000 and the last 10,000 images of the training file
    (Nielsen 2015). Another TFDS image-classification name without a validation split gives the last sixth of its
    training split, in the order TFDS prepared it. MNIST's decoded arrays are kept in `cache_dir`; while these are
    intact, nothing else is read.

    Args:
        name: "digits", "mnist", or a TFDS name such as "fashion_mnist" or "emnist/letters".
        data_dir: folder of original archives (what TFDS calls `manual_dir`), never written to; files are looked for in
            `data_dir/<name>/`, then in `data_dir/`. Default: the environment variable JAXDL_DATA_DIR, else none.
        cache_dir: folder where prepared and decoded data are kept. Default: the environment variable TFDS_DATA_DIR,
            else `~/tensorflow_datasets`.

    Returns:
        Splits(train, validation, test), each Examples(x, y): x float32 in [0, 1], shape (N, height, width, channels);
        y int32 class indices, shape (N,).

    Raises:
        TypeError: `name` is not a string.
        ValueError: `name` is unknown or no image-classification data set; an archive is truncated or altered.
        FileNotFoundError: archives are missing and cannot be downloaded; the message says which files go where.
        RuntimeError: a download failed, or the prepared data cannot be read.
        ImportError: preparing this data set needs TensorFlow, which is not installed.

    Example:
        >>> train, validation, test = load("digits")
        >>> train.x.shape, train.x.dtype, train.y.dtype
        ((1197, 8, 8, 1), dtype('float32'), dtype('int32'))

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
        Nielsen, "Neural Networks and Deep Learning", 2015, chapter 1.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"name: expected a string such as 'digits' or 'mnist', got {name!r}. Pass the name of a data set."
        )
    if name == "digits":
        return _load_digits()
    archives_dir, prepared_dir = folders(name, data_dir=data_dir, cache_dir=cache_dir)
    if name == "mnist":
        return load_mnist(data_dir=Path(archives_dir) if archives_dir else None, cache_dir=Path(prepared_dir))
    return load_tfds(name, data_dir=archives_dir, cache_dir=prepared_dir)


def folders(
    name: str, *, data_dir: str | os.PathLike[str] | None, cache_dir: str | os.PathLike[str] | None
) -> tuple[str | None, str]:
    """Where the archives and the prepared data of a data set are, by argument, environment or default."""
    prepared_dir = _folder(cache_dir, variable="TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets")
    if name == "mnist" and "://" in prepared_dir:
        raise ValueError(
            f"cache_dir: expected a local folder for 'mnist', got {prepared_dir!r}. "
            "Pass cache_dir=, or point TFDS_DATA_DIR at a local folder."
        )
    return _folder(data_dir, variable="JAXDL_DATA_DIR"), prepared_dir


def _folder(given: str | os.PathLike[str] | None, *, variable: str) -> str | None:
    folder = os.environ.get(variable) if given is None else os.fspath(given)
    return os.path.expanduser(folder) if folder else None


def _load_digits() -> Splits:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    # RandomState's stream is frozen across NumPy versions (NEP 19); default_rng's is not.
    order = np.random.RandomState(0).permutation(len(bunch.target))
    x = np.asarray(bunch.images / 16, dtype=np.float32)[order, :, :, np.newaxis]
    y = np.asarray(bunch.target, dtype=np.int32)[order]
    test = len(y) - _DIGITS_TEST
    validation = test - _DIGITS_VALIDATION
    return Splits(
        train=Examples(x[:validation], y[:validation]),
        validation=Examples(x[validation:test], y[validation:test]),
        test=Examples(x[test:], y[test:]),
    )
