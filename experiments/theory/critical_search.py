"""Critical points of a small network: where they are looked for, and how they are found."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jaxdl
from jaxdl.data import Examples
from jaxdl.diagnostics import CriticalPoint

INPUTS, HIDDEN, CLASSES, EXAMPLES = 6, 4, 5, 100
PARAMETERS = (INPUTS + 1) * HIDDEN + (HIDDEN + 1) * CLASSES
DECAY = 1e-3
SCALES = (0.1, 0.5, 1.0, 2.0)  # of the starts, in units of 1/sqrt(fan in)
TIMES = (0, 10, 30, 100, 300, 1000, 3000)  # updates of gradient descent after which the search begins
RATE = 0.2

Params = Mapping[str, jax.Array]


class Found(NamedTuple):
    """Where searches ended: the points measured, each array with the searches in front, and the starts' losses."""

    points: CriticalPoint
    started_at: np.ndarray


def losses(params: Params, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Cross-entropy of each example, one hidden tanh layer, with half the squared length of all parameters added.

    Without the decay there is no minimum at all on data that can be separated: the loss falls for ever.
    """
    x, labels = batch
    hidden = jnp.tanh(x @ params["w1"] + params["b1"][None])
    outputs = hidden @ params["w2"] + params["b2"][None]
    decay = DECAY / 2 * sum(jnp.sum(leaf**2) for leaf in params.values())
    return jaxdl.losses.softmax_cross_entropy(outputs, labels) + decay


def task(train: Examples, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """100 random examples of the first five classes, in their first six principal components; the largest is 1."""
    draws = np.random.RandomState(seed)
    labels = np.asarray(train.y)
    chosen = draws.choice(np.flatnonzero(labels < CLASSES), EXAMPLES, replace=False)
    x = np.asarray(train.x, np.float64)[chosen].reshape(EXAMPLES, -1)
    left, lengths, _ = np.linalg.svd(x - x.mean(0, keepdims=True), full_matrices=False)
    components = left[:, :INPUTS] * np.sqrt(EXAMPLES) * (lengths[:INPUTS] / lengths[0])[None]
    return components, labels[chosen]


def search(data: Any, seed: int, *, starts: int, iterations: int) -> Found:
    """Searches from points along `starts` trainings, in float64 if that is enabled.

    Args:
      data: of `task`.
      seed: of the starts.
      starts: trainings, each from a random start; their scales go round.
      iterations: of a search.
    """
    keys = jax.random.split(jax.random.key(seed), starts)
    scales = jnp.asarray([SCALES[i % len(SCALES)] for i in range(starts)])
    return Found(*_searched(keys, scales, jax.tree.map(jnp.asarray, data), iterations=iterations))


@partial(jax.jit, static_argnames=("iterations",))
def _searched(keys: jax.Array, scales: jax.Array, data: Any, *, iterations: int) -> tuple[CriticalPoint, jax.Array]:
    _, unravel = ravel_pytree(_start(keys[0], scales[0]))

    def loss(x: jax.Array) -> jax.Array:
        return jnp.mean(losses(unravel(x), data))

    def trained(key: jax.Array, scale: jax.Array) -> jax.Array:
        def update(x: jax.Array, _: Any) -> tuple[jax.Array, jax.Array]:
            return x - RATE * jax.grad(loss)(x), x

        start = ravel_pytree(_start(key, scale))[0]
        return jax.lax.scan(update, start, None, length=TIMES[-1] + 1)[1][jnp.asarray(TIMES)]

    def found(start: jax.Array) -> tuple[CriticalPoint, jax.Array]:
        end = shorten_gradient(loss, start, iterations=iterations)
        return jaxdl.diagnostics.critical_point(losses, unravel(end), data), loss(start)

    begun = jax.vmap(trained)(keys, scales)
    return jax.lax.map(found, begun.reshape(-1, begun.shape[-1]))


def _start(key: jax.Array, scale: jax.Array) -> Params:
    first, second = jax.random.split(key)
    draw = lambda key, rows, columns: scale * jax.random.normal(key, (rows, columns)) / np.sqrt(rows)  # noqa: E731
    return {
        "b1": jnp.zeros(HIDDEN), "b2": jnp.zeros(CLASSES),
        "w1": draw(first, INPUTS, HIDDEN), "w2": draw(second, HIDDEN, CLASSES),
    }  # fmt: skip


def shorten_gradient(loss: Any, start: jax.Array, *, iterations: int) -> jax.Array:
    """Minimises |g|^2 / 2 by Levenberg and Marquardt's steps `-(H^2 + mu I)^-1 H g`, whatever kind of point they reach.

    A step that would lengthen the gradient is not taken, and mu grows; near a critical point mu vanishes, and they
    are Newton's steps. Where |g| has a minimum of its own, the search ends without a critical point.
    """

    def step(carry: tuple[jax.Array, jax.Array], _: Any) -> tuple[tuple[jax.Array, jax.Array], None]:
        x, mu = carry
        g = jax.grad(loss)(x)
        values, vectors = jnp.linalg.eigh(jax.hessian(loss)(x))
        new = x - vectors @ (values / (values**2 + mu) * (vectors.T @ g))
        shorter = jnp.linalg.norm(jax.grad(loss)(new)) < jnp.linalg.norm(g)
        return (jnp.where(shorter, new, x), jnp.clip(jnp.where(shorter, mu / 4, mu * 8), 1e-20, 1e6)), None

    begun = (start, jnp.asarray(1e-2, start.dtype))
    return jax.lax.scan(step, begun, None, length=iterations)[0][0]


def distinct(points: Sequence[CriticalPoint]) -> list[CriticalPoint]:
    """One of each set that agree in loss to six digits and in all eigenvalues to three: the network's symmetries.

    Exchanging two hidden units, or the signs around one, makes another critical point of the same loss and spectrum.
    """
    kept: list[CriticalPoint] = []
    for point in points:
        values = np.asarray(point.eigenvalues)

        def same(other: CriticalPoint, loss: float = float(point.loss), values: np.ndarray = values) -> bool:
            near = abs(float(other.loss) - loss) <= 1e-6 * abs(loss)
            return near and bool(np.allclose(other.eigenvalues, values, rtol=1e-3, atol=1e-5 * np.abs(values).max()))

        if not any(same(other) for other in kept):
            kept.append(point)
    return kept
