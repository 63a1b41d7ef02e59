"""Random networks without training: how large pre-activations and activations are, layer by layer."""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.activations import Facts


class Profile(NamedTuple):
    """Of one random network for each activation, means over its inputs.

    Attributes:
      log_square: `(depth, activations)`, ln of the mean square of a layer's pre-activations.
      mean: `(depth, activations)`, of a layer's activations.
      variance: `(depth, activations)`, of a layer's activations over units and inputs.
    """

    log_square: Any
    mean: Any
    variance: Any


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 inside: after 50 layers variances of 1e-80 and 1e+135 occur, which float32 does not hold."""
    enable: Any = getattr(jax, "enable_x64", None)
    if enable is None:  # before jax 0.8
        enable = importlib.import_module("jax.experimental").enable_x64
    with enable(True):
        yield


def profiles(
    init: Callable[..., jax.Array], activations: Sequence[Facts], *, width: int, depth: int, inputs: int, seeds: int
) -> Profile:
    """A profile of every seed, stacked: arrays `(seeds, depth, activations)`, for standard normal inputs."""
    with double_precision():
        runs = [_profile(jax.random.key(seed), init, tuple(activations), width, depth, inputs) for seed in range(seeds)]
        return Profile(*(np.stack([np.asarray(run[i]) for run in runs]) for i in range(3)))


@partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _profile(
    key: jax.Array, init: Callable[..., jax.Array], activations: tuple[Facts, ...], width: int, depth: int, inputs: int
) -> Profile:
    x_key, layers_key = jax.random.split(key)
    x = jax.random.normal(x_key, (inputs, width), jnp.float64)
    pieces = sorted({facts.pieces for facts in activations})

    def layer(signals: list[jax.Array], key: jax.Array) -> tuple[list[jax.Array], Profile]:
        # One kernel serves all activations of as many pieces; kernels are drawn in float32, as they are for training.
        kernels = {
            count: init(jax.random.fold_in(key, count), (width, count * width), jnp.float32).astype(jnp.float64)
            for count in pieces
        }
        z = [signal @ kernels[facts.pieces] for signal, facts in zip(signals, activations, strict=True)]
        a = [facts.function(values) for values, facts in zip(z, activations, strict=True)]
        return a, Profile(
            jnp.stack([jnp.log(jnp.square(values).mean(-1)).mean() for values in z]),
            jnp.stack([values.mean() for values in a]),
            jnp.stack([values.var() for values in a]),
        )

    return jax.lax.scan(layer, [x] * len(activations), jax.random.split(layers_key, depth))[1]


def singular_values(
    init: Callable[..., jax.Array], *, width: int, depths: Sequence[int], seeds: int
) -> Mapping[int, np.ndarray]:
    """Singular values `(seeds, width)`, descending, of products of `depth` square kernels, `{depth: array}`."""

    @jax.jit
    def products(key: jax.Array) -> jax.Array:
        def multiply(product: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            # Kernels as for training; their product in float64, or rounding would hide the small singular values.
            product = product @ init(key, (width, width), jnp.float32).astype(jnp.float64)
            return product, product

        _, after = jax.lax.scan(multiply, jnp.eye(width, dtype=jnp.float64), jax.random.split(key, max(depths)))
        return after[jnp.array(depths) - 1]

    with double_precision():
        drawn = [np.asarray(products(jax.random.key(seed))) for seed in range(seeds)]
    return {
        depth: np.stack([np.linalg.svd(product[i], compute_uv=False) for product in drawn])
        for i, depth in enumerate(depths)
    }
