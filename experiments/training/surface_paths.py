"""Paths of optimizers on surfaces, how long they take, and rates chosen on starts of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.training.surfaces import Surface

Recipe = Callable[[Any], optax.GradientTransformation]
Time = Callable[[np.ndarray, Surface], np.ndarray]

RATES = tuple(10 ** (exponent / 4) for exponent in range(-12, 13))
STEPS = 1000
TUNING_STARTS, TUNING_KEY = 5, 1000  # none of the keys of judged starts
LEFT = 0.5  # |y| beyond which a path has left the saddle
NEAR = 0.05  # distance within which a path has come to a minimum


def paths(
    optimizers: Mapping[str, optax.GradientTransformation],
    surface: Surface,
    starts: jax.Array,
    *,
    steps: int,
    key: jax.Array | None = None,
) -> jax.Array:
    """Runs every optimizer from every start, all in one scan.

    Args:
      optimizers: optax transformations; they get value, gradient and function with every update.
      surface: where. Of a noisy one all optimizers see the same noise, every start another.
      starts: `(num_starts, 2)`.
      steps: number of updates.
      key: for the noise; needed where the surface has any.

    Returns:
      `(optimizers, starts, steps + 1, 2)`, the starts included.
    """
    if surface.noise and key is None:
        raise ValueError(f"key: expected one for the noise of {surface.name!r}; got None. Pass jax.random.key(0).")
    keys = jax.random.split(jax.random.key(0) if key is None else key, len(starts))
    chains = {name: optax.with_extra_args_support(tx) for name, tx in optimizers.items()}

    def from_one(start: jax.Array, key: jax.Array) -> jax.Array:
        def step(carry: Any, i: jax.Array) -> Any:
            noise = jax.random.normal(jax.random.fold_in(key, i), (2,)) if surface.noise else jnp.zeros(2)

            def value_fn(point: jax.Array) -> jax.Array:
                return surface.function(point) + surface.noise * jnp.vdot(noise, point)

            carry = {name: _updated(tx, value_fn, *carry[name]) for name, tx in chains.items()}
            return carry, jnp.stack([point for point, _ in carry.values()])

        begun = {name: (start, tx.init(start)) for name, tx in chains.items()}
        path = jax.lax.scan(step, begun, jnp.arange(steps))[1]
        return jnp.concatenate([jnp.broadcast_to(start[None, None], (1, len(chains), 2)), path])

    return jax.vmap(from_one)(starts, keys).transpose(2, 0, 1, 3)


def _updated(
    tx: Any, value_fn: Callable[[jax.Array], jax.Array], point: jax.Array, state: Any
) -> tuple[jax.Array, Any]:
    value, grad = jax.value_and_grad(value_fn)(point)
    updates, state = tx.update(grad, state, point, value=value, grad=grad, value_fn=value_fn)
    moved: Any = optax.apply_updates(point, updates)
    return moved, state


def leaving_time(paths: Any, surface: Surface | None = None, *, bound: float = LEFT) -> np.ndarray:
    """The first step after which |y| > bound; infinite where there is none. Of paths `(..., steps + 1, 2)`."""
    return _first(np.abs(np.asarray(paths)[..., 1]) > bound)


def arrival_time(paths: Any, surface: Surface, *, tolerance: float = NEAR) -> np.ndarray:
    """The first step after which a path is within the tolerance of a minimum, never having left the surface's limits.

    Without the limits the rates chosen would be absurd ones: with 178 Adagrad goes off twenty times as far as the
    valley is long, and is at its minimum after four steps.
    """
    points = np.asarray(paths, np.float64)
    near = np.min([np.linalg.norm(points - minimum, axis=-1) for minimum in np.asarray(surface.minima)], 0) <= tolerance
    left, right, bottom, top = surface.limits
    x, y = points[..., 0], points[..., 1]
    inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    return _first(near & np.logical_and.accumulate(inside, -1))


def _first(holds: np.ndarray) -> np.ndarray:
    return np.where(holds.any(-1), holds.argmax(-1), np.inf)


def logs(times: np.ndarray) -> np.ndarray:
    """Logarithms of times; of infinity that of the largest float, of no step that of one."""
    return np.log(np.clip(times, 1, np.finfo(np.float64).max))


class Tuned(NamedTuple):
    """Methods on one surface, each at the rate at which it arrives soonest from the tuning starts.

    Attributes:
      rates: `{method: rate}`.
      ends: methods whose best rate is an end of the grid, or that arrive at none.
      before: what is judged, `{method: mean logarithm of the time}` from the tuning starts.
      paths: `{method: (starts, steps + 1, 2)}` from the judged starts.
      times: what is judged, `{method: (starts,)}` from the judged starts.
      steps: length of the paths.
    """

    rates: dict[str, float]
    ends: tuple[str, ...]
    before: dict[str, float]
    paths: dict[str, np.ndarray]
    times: dict[str, np.ndarray]
    steps: int


def tune(
    recipes: Mapping[str, Recipe],
    surface: Surface,
    time: Time,
    *,
    num_starts: int,
    steps: int = STEPS,
    rates: Sequence[float] = RATES,
) -> Tuned:
    """Chooses every method's rate on the tuning starts by `arrival_time`, then runs it from those that are judged."""

    @jax.jit
    def run(starts: jax.Array) -> jax.Array:
        def one(rate: jax.Array) -> jax.Array:
            return paths({name: recipe(rate) for name, recipe in recipes.items()}, surface, starts, steps=steps)

        return jax.vmap(one)(jnp.asarray(rates, jnp.float32))

    methods = np.arange(len(recipes))
    tried = np.asarray(run(surface.draw(jax.random.key(TUNING_KEY), TUNING_STARTS)))
    best = logs(arrival_time(tried, surface)).mean(-1).argmin(0)
    before = logs(time(tried[best, methods], surface)).mean(-1)
    found = np.asarray(run(judged_starts(surface, num_starts)))[best, methods]
    return Tuned(
        {name: rates[i] for name, i in zip(recipes, best, strict=True)},
        tuple(name for name, i in zip(recipes, best, strict=True) if i in (0, len(rates) - 1)),
        dict(zip(recipes, before.tolist(), strict=True)),
        dict(zip(recipes, found, strict=True)),
        dict(zip(recipes, time(found, surface), strict=True)),
        steps,
    )


def judged_starts(surface: Surface, num: int) -> jax.Array:
    """Start i is that of key i, however many there are."""
    return jnp.concatenate([surface.draw(jax.random.key(i), 1) for i in range(num)])
