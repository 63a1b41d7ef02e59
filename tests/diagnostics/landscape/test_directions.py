import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics.landscape.directions import coordinates, flat_path, principal_directions, random_direction
from jaxdl.tree import is_kernel

DRAWS = np.random.RandomState(0)
PARAMS = {
    "conv": {"kernel": DRAWS.randn(3, 3, 2, 4).astype(np.float32), "bias": np.ones(4, np.float32)},
    "dense": {"kernel": DRAWS.randn(5, 3).astype(np.float32)},
}


def test_every_filter_is_as_long_as_its_own():
    params = jax.tree.map(jnp.asarray, PARAMS)
    params["dense"]["kernel"] = params["dense"]["kernel"].at[:, 1].set(0)
    found = random_direction(jax.random.key(0), params, where=is_kernel)
    for layer in ("conv", "dense"):
        ours, theirs = (np.asarray(tree[layer]["kernel"]).reshape(-1, 4 if layer == "conv" else 3) for tree in
                        (found, params))  # fmt: skip
        np.testing.assert_allclose(np.linalg.norm(ours, axis=0), np.linalg.norm(theirs, axis=0), rtol=1e-5)
        assert np.abs(ours - theirs).max() > 0.1
    np.testing.assert_array_equal(found["conv"]["bias"], 0)
    np.testing.assert_array_equal(found["dense"]["kernel"][:, 1], 0)


def test_leaves_of_one_axis_are_one_filter_where_they_are_moved():
    params = {"b": jnp.array([3.0, 4.0]), "s": jnp.float32(-2)}
    found = random_direction(jax.random.key(0), params, where=None)
    assert np.linalg.norm(found["b"]) == pytest.approx(5)
    assert abs(float(found["s"])) == pytest.approx(2)


def test_without_normalisation_the_whole_is_of_length_one_and_gaussian():
    params = {"w": jnp.ones((100, 100)), "v": jnp.ones((50, 20))}
    found = random_direction(jax.random.key(0), params, filter_normalization=False, where=None)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])
    assert np.linalg.norm(flat) == pytest.approx(1, rel=1e-5)
    scaled = flat * np.sqrt(flat.size)
    assert abs(np.mean(scaled**4) - 3) < 5 * np.sqrt(96 / flat.size)  # 6e-7 false alarms; of signs it were 1
    assert abs(np.mean(np.asarray(found["w"]) * 1e2)) < 5 / 100


def test_directions_follow_the_key():
    draws = [random_direction(jax.random.key(i), PARAMS, where=is_kernel)["dense"]["kernel"] for i in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.1


def test_principal_directions_are_those_of_the_covariance_about_the_parameters():
    moves = DRAWS.randn(7, 4) * np.array([[1.0, 5.0, 0.1, 3.0]])
    values, vectors = np.linalg.eigh(moves.T @ moves)
    found = np.asarray(principal_directions(jnp.asarray(moves, jnp.float32), 2), np.float64)
    np.testing.assert_allclose(np.abs(found @ vectors[:, [3, 2]]), np.eye(2), atol=1e-4)
    _, captured = coordinates(jnp.asarray(moves, jnp.float32), jnp.asarray(found, jnp.float32))
    np.testing.assert_allclose(captured, values[2:].sum() / values.sum(), rtol=1e-4)


def test_coordinates_on_oblique_directions():
    directions = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    moves = jnp.array([[3.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
    found, captured = coordinates(moves, directions)
    np.testing.assert_allclose(found, [[1, 2], [0, 0]], atol=1e-5)
    np.testing.assert_allclose(captured, 13 / 17, rtol=1e-5)


def test_a_short_or_constant_path_has_directions_too():
    assert principal_directions(jnp.zeros((1, 3)), 2).shape == (2, 3)
    found, captured = coordinates(jnp.zeros((1, 3)), principal_directions(jnp.zeros((1, 3)), 2))
    np.testing.assert_array_equal(found, 0)
    assert captured == 0


@pytest.mark.parametrize(
    "trajectory",
    [{"w": np.ones((4, 3))}, {"w": np.ones(2)}, {"w": np.ones((0, 2))}, {"v": np.ones((4, 2))}, {}],
)
def test_a_path_unlike_the_parameters(trajectory):
    with pytest.raises(ValueError, match=r"trajectory: expected the parameters at several steps.*Stack them"):
        flat_path(trajectory, {"w": jnp.ones(2)})
