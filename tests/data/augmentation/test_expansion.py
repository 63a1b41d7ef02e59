"""Nielsen's expansion against slices."""

import numpy as np
import pytest

from jaxdl.data import Examples, augmentation, expand_shifts


@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (2, 4, 4), (1, 1, 1, 1)])
def test_original_and_four_shifted_copies(shape):
    x = np.random.RandomState(0).rand(*shape).astype(np.float32) + 1
    y = np.arange(len(x), dtype=np.int32)
    grown = expand_shifts(Examples(x, y))
    assert grown.x.dtype == np.float32
    assert grown.x.shape == (5 * len(x), *shape[1:])
    np.testing.assert_array_equal(grown.y, np.tile(y, 5))
    assert grown.y.dtype == np.int32
    same, down, up, right, left = np.split(grown.x, 5)
    np.testing.assert_array_equal(same, x)
    edge = {axis: np.zeros_like(x.take([0], axis)) for axis in (1, 2)}
    np.testing.assert_array_equal(down, np.concatenate([edge[1], x[:, :-1]], 1))
    np.testing.assert_array_equal(up, np.concatenate([x[:, 1:], edge[1]], 1))
    np.testing.assert_array_equal(right, np.concatenate([edge[2], x[:, :, :-1]], 2))
    np.testing.assert_array_equal(left, np.concatenate([x[:, :, 1:], edge[2]], 2))


def test_the_copies_are_those_of_shift():
    x = np.random.RandomState(1).rand(2, 6, 7, 1).astype(np.float32)
    grown = expand_shifts(Examples(x, np.zeros(2, np.int32)))
    for block, offsets in zip(np.split(grown.x, 5), [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], strict=True):
        np.testing.assert_array_equal(block, augmentation.shift(x, offsets))


def test_refusals():
    with pytest.raises(ValueError, match=r"examples: expected x of shape .* got x of shape \(3, 784\)"):
        expand_shifts(Examples(np.zeros((3, 784)), np.zeros(3)))
    with pytest.raises(ValueError, match=r"examples: expected .* y of shape \(2,\)"):
        expand_shifts(Examples(np.zeros((3, 4, 4)), np.zeros(2)))
