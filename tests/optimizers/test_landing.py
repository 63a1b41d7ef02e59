"""Updates that land: p + u' against target(p + u), eagerly and compiled, for numbers near and far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.optimizers.landing import land

P = jnp.array([1.0, -3.0, 1e6, -1e6, 1e-20, 0.0, 5.0])
U = jnp.array([0.5, 1.0, 0.25, 2.0, 1.0, 0.0, -9.0])


def landed(target, p, u, *, compiled):
    fn = lambda p, u: p + land(lambda path, w: target(w), u, p)  # noqa: E731
    return np.asarray((jax.jit(fn) if compiled else fn)(p, u))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("goal", [0.0, 1.0, -0.3, 1e-3, 1e-9])
def test_goals_are_reached_to_the_spacing_of_the_numbers_and_never_passed(goal, compiled):
    found = landed(lambda w: jnp.full_like(w, goal), P, U, compiled=compiled)
    spacing = np.spacing(np.abs(np.asarray(P)) + np.abs(np.float32(goal)))
    assert np.all(np.abs(found - np.float32(goal)) <= spacing)
    far = np.abs(P) > 1e3
    assert np.all(np.abs(found[far]) <= np.abs(np.float32(goal)))
    if goal == 0.0:
        np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("compiled", [False, True])
def test_without_a_goal_of_its_own_the_update_is_the_same_bits(compiled):
    fn = lambda p, u: land(lambda path, w: w, u, p)  # noqa: E731
    np.testing.assert_array_equal((jax.jit(fn) if compiled else fn)(P, U), U)


def test_the_goal_is_told_the_path():
    seen = []
    land(lambda path, w: seen.append(path) or w, {"a": {"b": U}, "c": U}, {"a": {"b": P}, "c": P})
    assert seen == ["a/b", "c"]
