"""Measurements that vmap, scan or a training run have stacked: how to take one, and what a report says to several."""

from collections.abc import Sequence
from typing import Any, Self

import jax
import numpy as np


class Stackable:
    """A pytree of arrays that may have further leading axes, such as the members of a sweep or the steps of a run."""

    def __getitem__(self, index: Any) -> Self:
        """One of several stacked measurements, such as `flow[0]`, or some, such as `flow[:10]`."""
        return jax.tree.map(lambda array: array[index], self)


def single(argument: str, array: Any, axes: Sequence[str] = (), *, otherwise: str = "") -> None:
    """Raises ValueError for the report of several stacked measurements at once.

    Args:
      argument: how the message calls the measurement.
      array: one of its arrays.
      axes: names of the axes that it has in one measurement.
      otherwise: what can be done besides picking one, with its comma.
    """
    shape = np.shape(array)
    if len(shape) != len(axes):
        expected = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
        raise ValueError(
            f"{argument}: expected one measurement, arrays of shape {expected}; got shape {shape}. "
            f"Pick one, such as {argument}[0]{otherwise}."
        )
