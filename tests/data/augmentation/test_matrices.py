"""Affine maps against their inverses worked out in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data.augmentation import compose, rotations, shears, shifts, zooms


def homogeneous(matrix):
    return np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])


def forward_rotation(degrees):
    """Counter-clockwise with rows counting downwards: the point at the right goes up."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "degrees", [0.0, 30.0, 44.9, 45.0, 90.0, 100.0, 135.1, 180.0, 200.0, 270.0, 300.0, 725.0, -30.0, -95.0]
)
def test_a_rotation_is_the_inverse_of_the_forward_map(degrees):
    np.testing.assert_allclose(homogeneous(rotations(degrees)), np.linalg.inv(forward_rotation(degrees)), atol=2e-7)


def test_quarter_turns_are_whole_numbers():
    np.testing.assert_array_equal(rotations(90.0)[:, :2], [[0, 1], [-1, 0]])
    np.testing.assert_array_equal(rotations(180.0)[:, :2], [[-1, 0], [0, -1]])
    np.testing.assert_array_equal(rotations(-90.0)[:, :2], [[0, -1], [1, 0]])


def test_shears_zooms_and_shifts_are_inverses_of_their_forward_maps():
    # Forward: a row r above the centre (r < 0) moves right by tan(20 degrees) |r|.
    forward = np.array([[1, 0, 0], [-np.tan(np.deg2rad(20)), 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(homogeneous(shears(20.0)), np.linalg.inv(forward), atol=1e-7)
    np.testing.assert_allclose(homogeneous(zooms(jnp.array([2.0, 0.5]))), np.linalg.inv(np.diag([2, 0.5, 1])))
    np.testing.assert_array_equal(shifts(jnp.array([3, -2])), [[1, 0, -3], [0, 1, 2]])


def test_compose_is_the_inverse_of_the_forward_product():
    parts = [zooms(jnp.array([1.25, 0.75])), shears(12.0), rotations(33.0), shifts(jnp.array([2.5, -4.0]))]
    forward = np.eye(3)
    for part in parts:  # the first is applied first, and so stands rightmost
        forward = np.linalg.inv(homogeneous(part)) @ forward
    np.testing.assert_allclose(homogeneous(compose(*parts)), np.linalg.inv(forward), atol=1e-5)


def test_leading_axes_and_gradients():
    degrees = jnp.array([[0.0, 10.0, 45.0], [90.0, 180.0, 359.0]])
    each = rotations(degrees)
    assert each.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(each[1, 2], rotations(359.0), atol=1e-7)
    assert compose(each, shifts(jnp.zeros((2, 3, 2)))).shape == (2, 3, 2, 3)
    # d cos / d degrees = -sin pi / 180, at every angle, also where the nearest quarter turn changes.
    slope = jax.vmap(jax.grad(lambda d: rotations(d)[0, 0]))(degrees.ravel())
    np.testing.assert_allclose(slope, -np.sin(np.deg2rad(degrees.ravel())) * np.pi / 180, atol=1e-8)


def test_half_precision_parameters_are_computed_in_float32():
    for matrix in (rotations(jnp.bfloat16(30)), shears(jnp.bfloat16(10)), shifts(jnp.ones(2, jnp.bfloat16))):
        assert matrix.dtype == jnp.float32
    np.testing.assert_allclose(rotations(jnp.bfloat16(30)), rotations(30.0))
