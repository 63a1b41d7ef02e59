"""Ends of spectra against dense eigenvalues, and against matrices whose spectrum is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building_blocks.propagation import double_precision
from jaxdl.diagnostics import Thresholds, top_eigenvalues

from .networks import DRAWS, dense_hessian, every_network

NETWORKS = every_network()


def quadratic(matrix):
    """Losses whose mean has the Hessian `matrix`, with one example."""
    return lambda w, x: (w @ (jnp.asarray(matrix, w.dtype) @ w) / 2) * x


def with_eigenvalues(eigenvalues):
    axes = np.linalg.qr(DRAWS.randn(len(eigenvalues), len(eigenvalues)))[0]
    return (axes * eigenvalues) @ axes.T


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_ends_are_those_of_the_dense_hessian(name):
    network = NETWORKS[name]
    assert network.size <= 200
    expected = np.linalg.eigvalsh(dense_hessian(name))
    found = top_eigenvalues(network.losses, network.params, network.data, num=2, batch_size=10)
    np.testing.assert_allclose(found.largest, expected[:-3:-1], rtol=1e-3)
    np.testing.assert_allclose(found.smallest, expected[:2], rtol=1e-3)
    assert found.num_parameters == network.size


def test_few_vectors_find_the_ends_and_the_residual_bounds_what_is_missing():
    """Some eigenvalue lies within each residual; and Ritz values never leave the spectrum (Cauchy interlacing)."""
    matrix = with_eigenvalues(np.linspace(-1, 1, 80) ** 3)
    expected = np.linalg.eigvalsh(matrix)
    for num_lanczos in (2, 5, 10, 25):
        found = top_eigenvalues(quadratic(matrix), jnp.zeros(80), ONE, num=2, num_lanczos=num_lanczos)
        values = np.append(found.largest, found.smallest)
        residuals = np.append(found.largest_residuals, found.smallest_residuals)
        gaps = np.abs(values[:, None] - expected[None]).min(1)
        assert np.all(gaps <= residuals + 1e-6)
        assert values.max() <= 1 + 1e-6
        assert values.min() >= -1 - 1e-6
        sentence = found.verdict()
        assert ("not resolved" in sentence) == (num_lanczos <= 10), sentence
    np.testing.assert_allclose(found.largest[0], 1, rtol=1e-4)


def test_the_residual_is_that_of_the_vector():
    matrix = with_eigenvalues(np.linspace(-2, 3, 30))
    found = top_eigenvalues(quadratic(matrix), jnp.zeros(30), ONE, num=3, num_lanczos=8, vectors=True)
    for end in ("largest", "smallest"):
        vectors = np.asarray(getattr(found, f"{end}_vectors"), np.float64)
        values = np.asarray(getattr(found, end), np.float64)
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-5)
        expected = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
        np.testing.assert_allclose(getattr(found, f"{end}_residuals"), expected, rtol=1e-3, atol=1e-5)


def test_vectors_come_as_trees_like_the_parameters():
    network = NETWORKS["softmax"]
    found = top_eigenvalues(network.losses, network.params, network.data, num=2, vectors=True, which="smallest")
    assert found.largest.shape == (0,)
    shapes = jax.tree.map(lambda leaf: (2, *leaf.shape), network.params)
    assert jax.tree.map(jnp.shape, found.smallest_vectors) == shapes
    flat = np.concatenate([np.asarray(leaf).reshape(2, -1) for leaf in jax.tree.leaves(found.smallest_vectors)], 1)
    expected = np.linalg.eigvalsh(dense_hessian("softmax"))[:2]
    quotients = np.einsum("in,nm,im->i", flat, dense_hessian("softmax"), flat)
    np.testing.assert_allclose(quotients, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "eigenvalues",
    [[2.0] * 6, [-1.0, -1.0, 0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0, 5.0], [-4.0, 1.0, 1.0, 1.0, 1.0, 1.0]],
)
def test_repeated_eigenvalues_are_found_as_often_as_they_occur(eigenvalues):
    found = top_eigenvalues(quadratic(with_eigenvalues(eigenvalues)), jnp.ones(6), ONE, num=6)
    np.testing.assert_allclose(found.largest, sorted(eigenvalues)[::-1], atol=1e-5)
    np.testing.assert_allclose(found.smallest, sorted(eigenvalues), atol=1e-5)


def test_no_curvature_at_all():
    found = top_eigenvalues(lambda w, x: x @ w, jnp.ones(4), np.eye(4, dtype=np.float32), num=4)
    np.testing.assert_array_equal(found.largest, 0)
    assert found.verdict() == "largest eigenvalue 0, smallest 0 of 4: no curvature at all in the directions looked at"


def test_one_parameter():
    found = top_eigenvalues(lambda w, x: 3 * x * w**2, jnp.float32(2), ONE)
    np.testing.assert_allclose([found.largest[0], found.smallest[0]], 6, rtol=1e-6)
    assert found.largest_residuals[0] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_said_and_ends(bad):
    found = top_eigenvalues(quadratic(np.diag([1.0, bad, 2.0])), jnp.ones(3), ONE, num=2)
    for leaf in jax.tree.leaves(found):
        assert np.isnan(np.asarray(leaf)).all()
    assert found.verdict() == "curvature is not finite: the Hessian holds NaN or infinity"


def test_double_precision_and_half():
    eigenvalues = np.append(np.geomspace(1e-9, 1, 20), -1e-8)
    matrix = with_eigenvalues(eigenvalues)
    with double_precision():
        found = top_eigenvalues(quadratic(matrix), jnp.zeros(21), np.ones(1), num=2)
        np.testing.assert_allclose(found.smallest, [-1e-8, 1e-9], rtol=1e-4)
    half = top_eigenvalues(quadratic(matrix), jnp.zeros(21, jnp.bfloat16), ONE)
    assert half.largest.dtype == jnp.float32
    np.testing.assert_allclose(half.largest, 1, rtol=1e-5)


def test_under_vmap_over_points():
    losses = lambda w, x: x * jnp.sum(jnp.array([1.0, -2.0]) * w**4)  # noqa: E731
    points = jnp.array([[1.0, 1.0], [2.0, 0.5]])
    found = jax.vmap(lambda w: top_eigenvalues(losses, w, ONE))(points)
    np.testing.assert_allclose(found.largest[:, 0], [12, 48], rtol=1e-5)
    np.testing.assert_allclose(found.smallest[:, 0], [-24, -6], rtol=1e-5)
    with pytest.raises(ValueError, match=r"eigenvalues: expected one measurement, .* got shape \(2, 1\)\. Pick"):
        found.table()
    assert "smallest -24" in found[0].verdict()


@pytest.mark.parametrize(
    ("eigenvalues", "words"),
    [
        ([-1.0, 4.0], "largest eigenvalue 4, smallest -1 of 2: indefinite, curved both ways; gradient descent does "
         "not overshoot below a learning rate of 2/4 = 0.5"),
        ([1.0, 4.0], "curved upwards everywhere; gradient"),
        ([0.0, 4.0], "curved upwards or flat everywhere; gradient"),
        ([-3.0, -1.0], "largest eigenvalue -1, smallest -3 of 2: curved downwards, or flat, everywhere"),
    ],
)  # fmt: skip
def test_verdicts(eigenvalues, words):
    found = top_eigenvalues(quadratic(np.diag(eigenvalues)), jnp.zeros(2), ONE)
    assert words in found.verdict()


def test_thresholds_and_reports(tmp_path):
    found = top_eigenvalues(quadratic(np.diag([-1e-3, 1.0])), jnp.zeros(2), ONE)
    assert "indefinite" in found.verdict()
    assert "curved upwards or flat everywhere" in found.verdict(Thresholds(flat_curvature=0.01))
    lines = found.table().splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["largest", "1", "1"], ["smallest", "1", "-0.001"]]
    figure = found.plot(tmp_path / "ends.png")
    assert (tmp_path / "ends.png").stat().st_size > 1000
    assert "indefinite" in figure.get_suptitle()


def test_errors():
    losses, w = quadratic(np.eye(3)), jnp.ones(3)
    with pytest.raises(ValueError, match=r"which: expected 'both', 'largest' or 'smallest'; got 'top'\. Leave"):
        top_eigenvalues(losses, w, ONE, which="top")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num: expected at most the number of parameters, 3; got 4\. Ask for fewer"):
        top_eigenvalues(losses, w, ONE, num=4)
    with pytest.raises(ValueError, match="num: expected a whole number >= 1; got 0"):
        top_eigenvalues(losses, w, ONE, num=0)
    with pytest.raises(ValueError, match=r"num_lanczos: expected a whole number >= 2; got 1\. It is the dimension"):
        top_eigenvalues(losses, w, ONE, num=2, num_lanczos=1)
