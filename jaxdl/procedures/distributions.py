"""Distributions that hyper-parameters are drawn from in a random search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from jaxdl import checks


class Distribution(Protocol):
    """Anything with this method."""

    def sample(self, key: jax.Array, count: int) -> list[Any]:
        """`count` independent draws."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Uniform on [low, high].

    Attributes:
      low, high: finite, `low < high`.

    Raises:
      ValueError: another range.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        checks.number(low=self.low, minimum=-math.inf, remedy="It is the lower end.")
        checks.number(high=self.high, minimum=self.low, exclusive=True, remedy="It is the upper end, above low.")

    def sample(self, key: jax.Array, count: int) -> list[float]:
        """`count` independent draws."""
        return _between(self.low, self.high, key, count).tolist()


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm: as likely between 0.001 and 0.01 as between 0.01 and 0.1.

        p(x) = 1 / (x ln(high / low))

    Attributes:
      low, high: finite, `0 < low < high`.

    Raises:
      ValueError: another range.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        checks.number(low=self.low, minimum=0, exclusive=True, remedy="A logarithm needs it positive.")
        checks.number(high=self.high, minimum=self.low, exclusive=True, remedy="It is the upper end, above low.")

    def sample(self, key: jax.Array, count: int) -> list[float]:
        """`count` independent draws."""
        drawn = np.exp(_between(math.log(self.low), math.log(self.high), key, count))
        return np.clip(drawn, self.low, self.high).tolist()


@dataclass(frozen=True)
class Choice:
    """Each of some values with the same probability.

    Attributes:
      values: at least one; of any kind where they are shapes.

    Raises:
      ValueError: no value.
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not isinstance(self.values, Sequence) or not self.values:
            raise ValueError(
                f"values: expected a list of at least one value; got {self.values!r}. Pass for example (16, 32, 64)."
            )

    def sample(self, key: jax.Array, count: int) -> list[Any]:
        """`count` independent draws."""
        drawn = np.asarray(jax.random.randint(key, (count,), 0, len(self.values)))
        return [self.values[i] for i in drawn]


def _between(low: float, high: float, key: jax.Array, count: int) -> np.ndarray:
    # In double precision from here on: rates that differ only below float32 stay apart in a table.
    return low + (high - low) * np.asarray(jax.random.uniform(key, (count,)), np.float64)
