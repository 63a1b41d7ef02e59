"""Data sets divided by class, for transfer from some classes to the others."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from jaxdl.data.splits import Examples, Splits


@overload
def split_by_class(data: Splits, classes: Sequence[int], *, relabel: bool = True) -> tuple[Splits, Splits]: ...


@overload
def split_by_class(data: Examples, classes: Sequence[int], *, relabel: bool = True) -> tuple[Examples, Examples]: ...


def split_by_class(data: Any, classes: Sequence[int], *, relabel: bool = True) -> tuple[Any, Any]:
    """Divides a data set into the examples of the classes named and those of all others, in their order.

    Args:
        data: Splits, all three of which are divided alike, or Examples; y are class indices of shape (N,).
        classes: the classes of the first part, such as `range(5)`.
        relabel: count the classes of each part from 0: those of the first in the order of `classes`, those of the
            second in ascending order. The classes of the second are those that occur in any part of `data`, so pass
            Splits rather than one split after another.

    Returns:
        (examples of `classes`, the others), each as `data`.

    Raises:
        TypeError: `data` is neither Splits nor Examples, or labels or `classes` are no integers.
        ValueError: labels of another shape, or `classes` that are empty, repeated, absent or all there are.

    Example:
        >>> low, high = split_by_class(load("digits"), range(5))  # digits 0-4, and 5-9 labelled 0-4
    """
    if not isinstance(data, (Splits, Examples)):
        raise TypeError(
            f"data: expected Splits or Examples; got {type(data).__name__}. Wrap it: jaxdl.data.Examples(x, y)."
        )
    parts = tuple(data) if isinstance(data, Splits) else (data,)
    for part in parts:
        _check_labels(np.asarray(part.y))
    present = np.unique(np.concatenate([part.y for part in parts])).tolist()
    chosen = _indices(classes)
    others = [label for label in present if label not in chosen]
    if not chosen or not others or len(set(chosen)) < len(chosen) or not set(chosen) <= set(present):
        raise ValueError(
            f"classes: expected some, not all, of the classes {present}, each once; got {chosen}. "
            "Pass for example range(5) for the digits 0 to 4."
        )
    sides = [[_of(part, labels, relabel) for part in parts] for labels in (chosen, others)]
    first, second = (Splits(*side) if isinstance(data, Splits) else side[0] for side in sides)
    return first, second


def _indices(classes: Sequence[int]) -> list[int]:
    given = list(classes)
    if not all(np.ndim(label) == 0 and np.issubdtype(np.asarray(label).dtype, np.integer) for label in given):
        raise TypeError(f"classes: expected integer class indices; got {given!r}. Pass for example range(5).")
    return [int(label) for label in given]


def _check_labels(y: np.ndarray) -> None:
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"y: expected integer class indices; got {y.dtype}. Take y.argmax(-1) of one-hot labels.")
    if y.ndim != 1:
        raise ValueError(
            f"y: expected class indices of shape (N,); got {y.shape}. Take y.argmax(-1) of one-hot labels."
        )


def _of(part: Examples, labels: list[int], relabel: bool) -> Examples:
    y = np.asarray(part.y)
    rows = np.isin(y, labels)
    if not relabel:
        return Examples(part.x[rows], y[rows])
    order = np.argsort(labels)
    return Examples(part.x[rows], order[np.searchsorted(labels, y[rows], sorter=order)].astype(y.dtype))
