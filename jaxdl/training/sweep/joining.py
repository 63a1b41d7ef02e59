"""What groups of members reached, put together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.training.history import History
from jaxdl.training.state import TrainState

PyTree = Any


def joined_states(parts: Sequence[TrainState]) -> TrainState:
    """The states of the members of all groups."""
    if len(parts) == 1:
        return parts[0]
    bare = [replace(part, step=()) for part in parts]
    # A group whose members have all stopped early stands at an earlier step.
    last = max((part.step for part in parts), key=int)
    return replace(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *bare), step=last)


def joined_histories(histories: Sequence[History]) -> History:
    """One history of the members of all groups; the seconds of the last one are those of the whole call.

    A group whose members have all stopped early has a shorter one, which goes on with NaN.
    """
    if len(histories) == 1:
        return histories[0]
    return replace(
        histories[-1],
        **{name: _below([getattr(each, name) for each in histories]) for name in ("train", "validation", "measures")},
        **{
            name: _longest([getattr(each, name) for each in histories])
            for name in ("validation_steps", "measure_steps")
        },
    )


def _longest(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return max(arrays, key=len)


def _below(trees: Sequence[PyTree]) -> PyTree:
    """Arrays `(members, time, ...)` below each other; what is shorter is filled up with NaN, or with zeros."""

    def together(*arrays: np.ndarray) -> np.ndarray:
        length = max(array.shape[1] for array in arrays)
        blank = np.nan if np.issubdtype(arrays[0].dtype, np.floating) else 0
        missing = [[(0, 0), (0, length - array.shape[1])] + [(0, 0)] * (array.ndim - 2) for array in arrays]
        padded = [np.pad(array, rows, constant_values=blank) for array, rows in zip(arrays, missing, strict=True)]
        return np.concatenate(padded)

    return jax.tree.map(together, *trees)
