"""A training set made larger once, before training."""

import numpy as np

from jaxdl.data.splits import Examples


def expand_shifts(examples: Examples) -> Examples:
    """The examples and four copies shifted by one pixel: down, up, right and left; five times as many.

    The row or column that a shift uncovers is 0; the one it pushes out is lost, not wrapped. Nielsen shuffles the
    result, which `jaxdl.training.fit` does anew for every epoch anyway.

    Args:
        examples: x of shape (N, H, W, C), or (N, H, W); y of shape (N, ...).

    Returns:
        Examples, 5 N of them, of the same dtypes: the originals first, then one block of N for each direction.

    Raises:
        ValueError: x has no two axes for height and width, or x and y are not equally many.

    References:
        Nielsen, "Neural Networks and Deep Learning", 2015, chapter 6, expand_mnist.py.
    """
    x, y = (np.asarray(array) for array in examples)
    if x.ndim not in (3, 4) or y.ndim < 1 or len(x) != len(y):
        raise ValueError(
            f"examples: expected x of shape (N, height, width[, channels]) and N labels; got x of shape {x.shape} and "
            f"y of shape {y.shape}. Reshape x to images, for example (-1, 28, 28, 1)."
        )
    blocks = np.zeros((5, *x.shape), x.dtype)
    blocks[0] = x
    blocks[1, :, 1:] = x[:, :-1]
    blocks[2, :, :-1] = x[:, 1:]
    blocks[3, :, :, 1:] = x[:, :, :-1]
    blocks[4, :, :, :-1] = x[:, :, 1:]
    return Examples(blocks.reshape(-1, *x.shape[1:]), np.concatenate([y] * 5))
