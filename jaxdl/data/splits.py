"""What a data set is: examples with their labels, in three splits."""

from typing import NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Examples and their labels; unpacks as `x, y` and is a pytree for JAX.

    Attributes:
        x: inputs, float32 in [0, 1] as `load` returns them, shape (N, height, width, channels).
        y: class indices, int32, shape (N,).
    """

    x: np.ndarray
    y: np.ndarray


class Splits(NamedTuple):
    """The three parts of a data set: fit on `train`, choose on `validation`, report `test` once.

    Attributes:
        train: `Examples(x, y)`.
        validation: likewise.
        test: likewise.
    """

    train: Examples
    validation: Examples
    test: Examples


def scaled(pixels: np.ndarray, labels: np.ndarray) -> Examples:
    """Examples of uint8 pixels: x = pixels / 255 as float32 in [0, 1], y as int32."""
    # One pass: astype followed by a division would touch the 220 MB of MNIST twice.
    x = np.divide(pixels, np.float32(255), dtype=np.float32)
    return Examples(x, labels.astype(np.int32))


def hold_out(examples: Examples, *, num_validation: int) -> tuple[Examples, Examples]:
    """(all but the last `num_validation` examples, the last `num_validation`), as views in the given order."""
    cut = len(examples.y) - num_validation
    return Examples(examples.x[:cut], examples.y[:cut]), Examples(examples.x[cut:], examples.y[cut:])
