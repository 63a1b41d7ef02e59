"""Examples, Splits and their arithmetic."""

import jax
import numpy as np

from jaxdl.data import Examples, Splits
from jaxdl.data.splits import hold_out, scaled


def test_examples_and_splits_unpack_and_are_pytrees() -> None:
    part = Examples(np.zeros((2, 1, 1, 1), np.float32), np.zeros(2, np.int32))
    x, y = part
    assert x is part.x
    assert y is part.y
    train, validation, test = Splits(part, part, part)
    assert train is validation is test
    doubled = jax.tree.map(lambda leaf: 2 * leaf, Splits(part, part, part))
    assert isinstance(doubled, Splits)
    assert isinstance(doubled.train, Examples)
    assert len(jax.tree.leaves(doubled)) == 6


def test_scaled_is_the_nearest_float32_of_every_pixel_over_255() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    x, y = scaled(pixels, np.arange(256, dtype=np.uint8))
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert x.ravel().tolist() == [float(np.float32(value / 255)) for value in range(256)]
    assert y.tolist() == list(range(256))


def test_hold_out_cuts_off_the_end_in_order() -> None:
    examples = Examples(np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1), np.arange(6, dtype=np.int32))
    train, validation = hold_out(examples, num_validation=2)
    assert train.y.tolist() == [0, 1, 2, 3]
    assert validation.y.tolist() == [4, 5]
    assert train.x.ravel().tolist() == [0, 1, 2, 3]
    assert validation.x.ravel().tolist() == [4, 5]
    assert len(hold_out(examples, num_validation=0)[0].y) == 6
