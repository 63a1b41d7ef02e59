"""Whitening against NumPy, scikit-learn, and what it promises of covariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA

from jaxdl.data import Whitening

MIXING = np.array([[2, 0.3, 0, 0], [0, 1, 0.5, 0], [0, 0, 0.7, 0.2], [0.1, 0, 0, 0.4]])
KINDS = ["pca", "zca"]


@pytest.fixture
def x():
    """Correlated examples far from the origin, float64, shape (200, 2, 2)."""
    return (np.random.RandomState(0).randn(200, 4) @ MIXING + [5, -3, 100, 0]).reshape(200, 2, 2)


def covariance(z, ddof=1):
    return np.cov(z.reshape(len(z), -1), rowvar=False, ddof=ddof)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_the_result_has_mean_0_and_identity_covariance(x, kind, ddof):
    z = Whitening.fit(x, kind=kind, ddof=ddof).transform(x)
    assert z.shape == ((200, 4) if kind == "pca" else x.shape)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(covariance(z, ddof), np.eye(4), atol=1e-10)


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_zca_is_the_symmetric_inverse_root(x, floor):
    whitening = Whitening.fit(x, kind="zca", floor=floor)
    matrix = whitening.forward.reshape(4, 4)
    np.testing.assert_array_equal(matrix, matrix.T)
    # V (Lambda + floor)^(-1/2) V^T is the one symmetric positive matrix whose square inverts C + floor I.
    np.testing.assert_allclose(matrix @ matrix @ (covariance(x) + floor * np.eye(4)), np.eye(4), atol=1e-9)
    assert np.linalg.eigvalsh(matrix).min() > 0
    eigenvalues, axes = np.linalg.eigh(covariance(x))
    expected = (x.reshape(200, 4) - x.reshape(200, 4).mean(0)) @ (axes * (eigenvalues + floor) ** -0.5) @ axes.T
    np.testing.assert_allclose(whitening.transform(x).reshape(200, 4), expected, atol=1e-9)


@pytest.mark.parametrize("num_components", [None, 2])
def test_pca_is_that_of_scikit_learn_up_to_signs(x, num_components):
    flat = x.reshape(200, 4)
    theirs = PCA(n_components=num_components, whiten=True).fit(flat)
    ours = Whitening.fit(flat, kind="pca", num_components=num_components)
    np.testing.assert_allclose(ours.eigenvalues, theirs.explained_variance_, rtol=1e-10)
    np.testing.assert_allclose(np.abs(ours.transform(flat)), np.abs(theirs.transform(flat)), atol=1e-9)


def test_pca_axes_of_a_known_covariance():
    # The corners of a rectangle of sides 4 and 2, turned by 30 degrees: variances 4 and 1 along its sides.
    turn = np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6)], [-np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    corners = np.array([[2, 1], [2, -1], [-2, 1], [-2, -1]]) @ turn
    whitening = Whitening.fit(corners, kind="pca", ddof=0)
    np.testing.assert_allclose(whitening.eigenvalues, [4, 1])
    np.testing.assert_allclose(whitening.forward, [turn[0] / 2, turn[1]], atol=1e-12)  # the largest entry is positive
    flipped = Whitening.fit(-corners, kind="pca", ddof=0)
    np.testing.assert_allclose(flipped.forward, whitening.forward, atol=1e-12)


@pytest.mark.parametrize("floor", [0.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_gives_back_what_transform_took(x, kind, floor):
    whitening = Whitening.fit(x, kind=kind, floor=floor)
    other = x[:7] * 3 + 1
    np.testing.assert_allclose(whitening.inverse(whitening.transform(other)), other, atol=1e-9)
    np.testing.assert_allclose(whitening.inverse(whitening.transform(other[0])), other[0], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_floor_is_added_to_every_eigenvalue(x, kind):
    eigenvalues = np.sort(np.linalg.eigvalsh(covariance(x)))[::-1]
    z = Whitening.fit(x, kind=kind, floor=0.25).transform(x)
    variances = np.sort(np.linalg.eigvalsh(covariance(z)))[::-1]
    np.testing.assert_allclose(variances, eigenvalues / (eigenvalues + 0.25), rtol=1e-9)
    # It is in the unit of x squared: ten times the data and a hundred times the floor give the same result.
    np.testing.assert_allclose(
        np.abs(Whitening.fit(10 * x, kind=kind, floor=25).transform(10 * x)), np.abs(z), atol=1e-9
    )


def test_components_left_out_come_back_as_the_mean(x):
    flat = x.reshape(200, 4)
    whitening = Whitening.fit(x, kind="pca", num_components=1)
    assert whitening.transform(x).shape == (200, 1)
    # The best plane of one dimension: its mean squared distance is the sum of the other eigenvalues.
    distance = np.square(whitening.inverse(whitening.transform(x)).reshape(200, 4) - flat).sum() / 199
    assert distance == pytest.approx(np.sort(np.linalg.eigvalsh(covariance(x)))[:-1].sum(), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("floor", [0.0, 1e-3])
@pytest.mark.parametrize("kind", KINDS)
def test_data_without_full_rank(kind, floor, dtype):
    source = np.random.RandomState(1).rand(300, 2)
    # Five features of rank 2: a constant, a copy, and a sum that is rounded to the dtype.
    x = np.stack([source[:, 0], np.full(300, 0.1), source[:, 1], source[:, 0], source.sum(1)], -1).astype(dtype)
    whitening = Whitening.fit(x, kind=kind, floor=floor)
    z = whitening.transform(x)
    assert z.dtype == dtype
    assert (whitening.eigenvalues > 0).sum() == 2
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    eigenvalues = np.linalg.eigvalsh(covariance(x.astype(np.float64)))[-2:]
    variances = np.linalg.eigvalsh(covariance(z.astype(np.float64)))
    np.testing.assert_allclose(variances, [0, 0, 0, *eigenvalues / (eigenvalues + floor)], atol=tolerance)
    np.testing.assert_allclose(whitening.inverse(z), x, atol=tolerance)
    # What departs from the training data's plane is not amplified but dropped.
    off = x + np.array([0, 7, 0, 0, 0], dtype)
    np.testing.assert_allclose(whitening.transform(off), z, atol=7 * tolerance)


def test_more_examples_than_are_read_at_once():
    """The statistics change along the examples, so that no part of them stands for the whole."""
    draws = np.random.RandomState(3)
    x = draws.randn(9001, 3) @ MIXING[:3, :3] * np.linspace(0.1, 5, 9001)[:, None]
    whitening = Whitening.fit(x, kind="zca")
    eigenvalues = np.linalg.eigvalsh(covariance(x))
    np.testing.assert_allclose(whitening.eigenvalues, eigenvalues[::-1], rtol=1e-9)
    np.testing.assert_allclose(covariance(whitening.transform(x)), np.eye(3), atol=1e-9)


def test_products_are_asked_for_in_full_precision(x):
    whitening = Whitening.fit(x.astype(np.float32), kind="pca")
    for call in (whitening.transform, lambda x: whitening.inverse(whitening.transform(x))):
        program = str(jax.make_jaxpr(call)(x.astype(np.float32)))
        assert program.count("HIGHEST") >= program.count("dot_general") >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_examples_than_features(kind):
    x = np.random.RandomState(2).rand(4, 6)
    whitening = Whitening.fit(x, kind=kind)
    assert (whitening.eigenvalues > 0).sum() == 3
    z = whitening.transform(x)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance(z)), [0, 0, 0, 1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(whitening.inverse(z), x, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_data_become_0(kind):
    x = np.full((50, 3), 0.1, np.float32)
    whitening = Whitening.fit(x, kind=kind)
    assert not whitening.eigenvalues.any()
    assert not whitening.transform(x + 1).any()
    np.testing.assert_array_equal(whitening.inverse(whitening.transform(x + 1)), x)


@pytest.mark.parametrize("kind", KINDS)
def test_jax_arrays_jit_vmap_and_gradient(x, kind):
    x = x.astype(np.float32)
    whitening = Whitening.fit(jnp.asarray(x), kind=kind)
    assert all(part.dtype == np.float32 for part in whitening)
    z = whitening.transform(x)
    passed = jax.jit(lambda fitted, x: fitted.transform(x))(whitening, x)
    assert isinstance(passed, jax.Array)
    assert passed.dtype == jnp.float32
    np.testing.assert_allclose(passed, z, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(whitening.transform)(jnp.asarray(x)), z, atol=1e-4)
    np.testing.assert_allclose(jax.jit(whitening.inverse)(z), x, atol=1e-4)
    on_host = jax.jit(lambda fitted: (fitted.transform(x), fitted.inverse(z)))(whitening)  # traced, and x is not
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), on_host, (z, x))
    grad = jax.grad(lambda x: whitening.transform(x).sum())(jnp.asarray(x[0]))
    np.testing.assert_allclose(grad, whitening.forward.reshape(-1, 2, 2).sum(0), rtol=1e-4)


def test_bfloat16_examples_are_whitened_in_float32(x):
    whitening = Whitening.fit(x.astype(np.float32), kind="zca")
    half = jnp.asarray(x, jnp.bfloat16)
    z = whitening.transform(half)
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(z, whitening.transform(np.asarray(half, np.float32)), atol=1e-4)


@pytest.mark.parametrize(
    ("x_train", "options", "error", "message"),
    [
        (np.zeros((3, 2), np.uint8), {}, TypeError, "x_train: expected a floating-point array, got uint8. Scale"),
        (np.ones((1, 2)), {}, ValueError, r"x_train: expected more than ddof=1 examples, .* got shape \(1, 2\)"),
        (np.ones(5), {}, ValueError, r"x_train: expected .* shape \(N, features\), got shape \(5,\)"),
        (np.ones((5, 0)), {}, ValueError, r"x_train: expected .* got shape \(5, 0\)"),
        (np.array([[1, np.nan], [2, 3]]), {}, ValueError, "x_train: expected finite values, got 1 dimensions with NaN"),
        (np.eye(3), {"kind": "PCA"}, ValueError, "kind: expected 'pca' or 'zca', got 'PCA'"),
        (np.eye(3), {"ddof": -1}, ValueError, "ddof: expected a whole number >= 0; got -1"),
        (np.eye(3), {"floor": -1e-3}, ValueError, "floor: expected a number >= 0, got -0.001"),
        (np.eye(3), {"floor": np.nan}, ValueError, "floor: expected a number >= 0, got nan"),
        (np.eye(3), {"num_components": 0}, ValueError, "num_components: expected a whole number >= 1; got 0"),
        (np.eye(3), {"num_components": 4}, ValueError, "num_components: expected at most 3 features; got 4"),
        (np.eye(3), {"num_components": 2, "kind": "zca"}, ValueError, "num_components: expected None for 'zca'"),
    ],
)
def test_fit_refuses_bad_input(x_train, options, error, message):
    with pytest.raises(error, match=message):
        Whitening.fit(x_train, **({"kind": "pca"} | options))


def test_wrong_trailing_shape_is_an_error(x):
    whitening = Whitening.fit(x, kind="pca", num_components=3)
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., 2, 2\) as in fit, got \(200, 4\)"):
        whitening.transform(x.reshape(200, 4))
    with pytest.raises(ValueError, match=r"z: expected shape \(\.\.\., 3\) as in fit, got \(200, 2, 2\)"):
        whitening.inverse(x)
