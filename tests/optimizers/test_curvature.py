"""Hessian products and the Lanczos process against matrices written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.optimizers import curvature
from tests.reference import second_order as reference

DRAWS = np.random.RandomState(0)


def symmetric(eigenvalues):
    axes = np.linalg.qr(DRAWS.randn(len(eigenvalues), len(eigenvalues)))[0]
    return (axes * eigenvalues) @ axes.T


def process(matrix, start, num_vectors):
    matrix = jnp.asarray(matrix, jnp.float32)
    run = jax.jit(lambda start: curvature.lanczos(lambda v: matrix @ v, start, num_vectors=num_vectors))
    found = run(jnp.asarray(start, jnp.float32))
    tridiagonal = np.diag(found.diagonal) + np.diag(found.off_diagonal, 1) + np.diag(found.off_diagonal, -1)
    return np.asarray(found.basis, np.float64), tridiagonal.astype(np.float64)


def test_products_with_the_hessian_of_the_rosenbrock_function():
    f = lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)  # noqa: E731
    x, vectors = DRAWS.randn(5).astype(np.float32), DRAWS.randn(3, 5).astype(np.float32)
    found = jax.vmap(curvature.hessian_product(f, jnp.asarray(x)))(vectors)
    expected = vectors @ reference.Rosenbrock().hessian(x.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_the_gradient_is_taken_once_for_many_products():
    calls = []

    def f(x):
        calls.append(1)
        return jnp.sum(x**4)

    product = curvature.hessian_product(f, jnp.ones(3))
    for _ in range(4):
        np.testing.assert_allclose(product(jnp.arange(3.0)), 12 * np.arange(3))
    assert len(calls) == 1


@pytest.mark.parametrize("num_vectors", [1, 2, 5, 12])
def test_lanczos_gives_the_operator_in_an_orthonormal_basis_of_the_krylov_subspace(num_vectors):
    matrix, start = symmetric(np.linspace(-3, 5, 12)), DRAWS.randn(12)
    basis, tridiagonal = process(matrix, start, num_vectors)
    np.testing.assert_allclose(basis @ basis.T, np.eye(num_vectors), atol=1e-6)
    np.testing.assert_allclose(basis[0], start / np.linalg.norm(start), atol=1e-6)
    np.testing.assert_allclose(basis @ matrix @ basis.T, tridiagonal, atol=1e-5)
    krylov = reference.krylov_basis(matrix, start, min(num_vectors, 5))
    inside = basis[: krylov.shape[1]].T @ (basis[: krylov.shape[1]] @ krylov)
    np.testing.assert_allclose(inside, krylov, atol=1e-5)


def test_the_basis_stays_orthonormal_where_the_plain_recurrence_loses_it():
    """Ritz vectors that have converged come back in the plain three-term recurrence (Paige 1971)."""
    eigenvalues = np.append(np.linspace(0, 1, 59), 1e3)
    matrix, start = symmetric(eigenvalues).astype(np.float32), DRAWS.randn(60).astype(np.float32)
    basis, tridiagonal = process(matrix, start, 60)
    assert np.abs(basis @ basis.T - np.eye(60)).max() < 1e-5
    np.testing.assert_allclose(np.linalg.eigvalsh(tridiagonal), eigenvalues, atol=2e-3)
    plain, previous, vector, beta = [], np.zeros(60, np.float32), start / np.linalg.norm(start), np.float32(0)
    for _ in range(60):
        plain.append(vector)
        image = matrix @ vector - beta * previous
        image -= (image @ vector) * vector
        beta, previous = np.linalg.norm(image), vector
        vector = image / beta
    assert np.abs(np.array(plain) @ np.array(plain).T - np.eye(60)).max() > 0.5


@pytest.mark.parametrize(
    ("eigenvalues", "dimension"),
    [([2.0, 2.0, 2.0, 2.0], 1), ([2.0, 2.0, -1.0, -1.0], 2), ([0.0, 0.0, 0.0, 3.0], 2), ([0.0] * 4, 1)],
)
def test_where_the_subspace_ends_early_nothing_is_made_up(eigenvalues, dimension):
    matrix, g = np.diag(eigenvalues), np.array([1.0, -2.0, 0.5, 1.0])
    basis, tridiagonal = process(matrix, g, 4)
    np.testing.assert_allclose(basis @ basis.T, np.diag([1.0] * dimension + [0.0] * (4 - dimension)), atol=1e-6)
    f = lambda x: x @ (jnp.asarray(matrix, jnp.float32) @ x) / 2  # noqa: E731
    step = curvature.krylov_saddle_free_step(f, jnp.zeros(4), jnp.asarray(g, jnp.float32), 0.5, num_lanczos=4)
    np.testing.assert_allclose(step, g / (np.abs(eigenvalues) + 0.5), atol=1e-6)
    assert np.isfinite(tridiagonal).all()


def test_a_start_of_zero_has_no_subspace():
    basis, tridiagonal = process(symmetric(np.arange(4.0)), np.zeros(4), 3)
    np.testing.assert_array_equal(basis, 0)
    np.testing.assert_array_equal(tridiagonal, np.eye(3))


def test_few_vectors_are_exact_for_few_distinct_eigenvalues_and_nearly_so_for_many():
    """The k-step Lanczos approximation of |H|^{-1} g, in any dimension."""
    for eigenvalues, k, tolerance in ((np.repeat([-3.0, 0.5, 2.0], 20), 3, 1e-5), (np.linspace(1, 2, 60), 8, 1e-5)):
        matrix, g = symmetric(eigenvalues), DRAWS.randn(60)
        f = lambda x: x @ (jnp.asarray(matrix, jnp.float32) @ x) / 2  # noqa: B023, E731
        step = curvature.krylov_saddle_free_step(f, jnp.zeros(60), jnp.asarray(g, jnp.float32), 0.0, num_lanczos=k)
        expected = reference.absolute_inverse(matrix, 0.0) @ g
        assert np.linalg.norm(step - expected) < tolerance * np.linalg.norm(expected)
        cut = curvature.krylov_saddle_free_step(f, jnp.zeros(60), jnp.asarray(g, jnp.float32), 0.0, num_lanczos=1)
        assert np.linalg.norm(cut - expected) > 0.05 * np.linalg.norm(expected)


def test_conjugate_gradients_stop_where_they_are_told():
    eigenvalues = np.geomspace(1, 100, 30)
    matrix, g = symmetric(eigenvalues), DRAWS.randn(30)
    f = lambda x: x @ (jnp.asarray(matrix, jnp.float32) @ x) / 2  # noqa: E731
    x = jnp.zeros(30)

    def left(**limits):
        step = curvature.conjugate_gradient_step(f, x, jnp.asarray(g, jnp.float32), 0.0, **limits)
        return np.linalg.norm(matrix @ step - g) / np.linalg.norm(g)

    assert 1e-4 < left(tolerance=1e-2, max_iterations=1000) <= 1.01e-2
    assert left(tolerance=1e-6, max_iterations=1000) < 1e-5
    one = g @ g / (g @ matrix @ g)  # the first iteration is the best step along g
    np.testing.assert_allclose(
        curvature.conjugate_gradient_step(f, x, jnp.asarray(g, jnp.float32), 0.0, tolerance=1e-6, max_iterations=1),
        one * g, rtol=1e-4,
    )  # fmt: skip


def test_conjugate_gradients_asked_for_more_than_floats_can_tell_stop_at_what_they_can():
    """Of residuals around 1e-23 the squares are 0 in float32, and the next step is 0/0."""
    for scale in (1.0, 1e-12):
        eigenvalues = scale * np.geomspace(1, 10, 6)
        f = lambda x: jnp.sum(jnp.asarray(eigenvalues, jnp.float32) * x**2) / 2  # noqa: B023, E731
        g = jnp.asarray(eigenvalues, jnp.float32)
        step = curvature.conjugate_gradient_step(f, jnp.zeros(6), g, 0.0, tolerance=0.0, max_iterations=1000)
        np.testing.assert_allclose(step, 1.0, rtol=1e-5)


@pytest.mark.parametrize("eigenvalues", [[2.0] * 4, [2.0, 2.0, -1.0, -1.0], [0.0, 0.0, 0.0, 3.0], [0.0] * 4])
def test_with_a_restart_the_basis_is_whole_and_all_eigenvalues_are_found(eigenvalues):
    matrix = jnp.asarray(symmetric(eigenvalues), jnp.float32)
    run = jax.jit(
        lambda start: curvature.lanczos(lambda v: matrix @ v, start, num_vectors=4, restart_key=jax.random.key(0))
    )
    found = run(jnp.array([1.0, -2.0, 0.5, 1.0]))
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(4), atol=1e-6)
    tridiagonal = np.diag(found.diagonal) + np.diag(found.off_diagonal, 1) + np.diag(found.off_diagonal, -1)
    np.testing.assert_allclose(np.linalg.eigvalsh(tridiagonal), sorted(eigenvalues), atol=1e-6)


def test_a_restart_changes_nothing_where_the_subspace_goes_on(same_bytes):
    matrix, start = jnp.asarray(symmetric(np.linspace(-3, 5, 12)), jnp.float32), jnp.asarray(DRAWS.randn(12))
    plain, restarted = (
        curvature.lanczos(lambda v: matrix @ v, start, num_vectors=6, restart_key=key)
        for key in (None, jax.random.key(0))
    )
    same_bytes(plain, restarted)
