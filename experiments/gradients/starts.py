"""The initializers that the experiment `initialization` compares, and what theory has to know of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxdl import initializers
from jaxdl.activations import Facts

ORTHONORMAL = "orthogonal"


class Start(NamedTuple):
    """An initializer, and fan_in times the variance of its entries for a kernel (fan_in, fan_out)."""

    init: Callable[..., jax.Array]
    gain: Callable[[int, int], float]


def starts() -> dict[str, Start]:
    """The catalogue's initializers with independent or orthonormal entries."""
    glorot: Callable[[int, int], float] = lambda i, o: 2 * i / (i + o)  # noqa: E731
    scaling = initializers.variance_scaling
    return {
        "N(0, 0.01^2)": Start(initializers.normal(0.01), lambda i, o: i * 1e-4),
        "N(0, 1)": Start(initializers.normal(1.0), lambda i, o: i),
        "standard uniform": Start(initializers.standard_uniform(), lambda i, o: 1 / 3),
        "LeCun normal": Start(initializers.lecun_normal(), lambda i, o: 1.0),
        "Glorot normal": Start(initializers.glorot_normal(), glorot),
        "Glorot uniform": Start(initializers.glorot_uniform(), glorot),
        "He normal": Start(initializers.he_normal(), lambda i, o: 2.0),
        "fan-out normal": Start(initializers.fan_out_normal(), lambda i, o: i / o),
        "random walk (ReLU)": Start(initializers.random_walk("relu"), lambda i, o: 2 * np.exp(2.4 / (i - 2.4))),
        "sparse (15)": Start(initializers.sparse(15), lambda i, o: 15.0),
        ORTHONORMAL: Start(initializers.orthogonal(), lambda i, o: i / max(i, o)),
        "slide S01": Start(scaling(1.5, "fan_avg", "normal"), lambda i, o: 1.5 * glorot(i, o)),
        "slide S15": Start(scaling(6.0, "fan_avg", "uniform"), lambda i, o: 6 * glorot(i, o)),
    }


def paired(activations: Sequence[Facts]) -> dict[str, str]:
    """The start that goes with each activation."""
    named = {
        initializers.lecun_normal: "LeCun normal",
        initializers.glorot_normal: "Glorot normal",
    }
    return {facts.name: named.get(facts.initializer, "He normal") for facts in activations}
