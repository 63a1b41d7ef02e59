"""The toy probability and the exact ones of random matrices. Intervals of 4 standard errors: 6e-5 false alarms each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import SignArgument, Thresholds, sign_argument
from jaxdl.diagnostics.curvature.sign_argument import positive_pivots


def test_the_shares_are_the_exact_ones():
    found = sign_argument(jax.random.key(0), dimensions=(1, 2, 3, 6), num_samples=50_000)
    assert found.num_samples == 50_176  # 49 chunks
    np.testing.assert_array_less(np.abs(found.offsets()), 4)
    exact = np.array([1 / 2, (2 - np.sqrt(2)) / 4, (np.pi - 2 * np.sqrt(2)) / (4 * np.pi)])
    errors = np.sqrt(exact * (1 - exact) / found.num_samples)
    shares = np.asarray(found.matrices)[:3] / found.num_samples
    np.testing.assert_array_less(np.abs(shares - exact), 4 * errors)
    assert found.matrices[3] < 0.01 * found.num_samples * 2.0**-6


def test_pivots_have_the_signs_of_the_eigenvalues():
    draws = np.random.RandomState(0).randn(300, 4, 4)
    matrices = (draws + draws.swapaxes(1, 2) + 2 * np.eye(4)).astype(np.float32)
    expected = np.linalg.eigvalsh(matrices.astype(np.float64)).min(1) > 0
    assert 10 < expected.sum() < 290
    found = np.asarray(positive_pivots(jnp.asarray(matrices)))
    np.testing.assert_array_equal(found.all(1), expected)
    leading = np.linalg.eigvalsh(matrices[:, :2, :2].astype(np.float64)).min(1) > 0
    np.testing.assert_array_equal(found[:, :2].all(1), leading)


def test_small_samples_and_reports(tmp_path):
    found = sign_argument(jax.random.key(1), dimensions=[2, 5], num_samples=100)
    assert found.num_samples == 100
    assert [line.split()[0] for line in found.table().splitlines()] == ["K", "2", "5"]
    planted = SignArgument(jnp.array([250, 31]), jnp.array([146, 0]), (2, 5), 1000)
    assert planted.verdict() == (
        "independent signs are all positive with probability 2^-K, as they must: at most 0.045 standard errors off "
        "over K = 2 to 5; eigenvalues of random matrices repel: at K = 5 all positive in 0 of 1000 matrices, where "
        "2^-K is 31.2"
    )
    assert "which they must not" in SignArgument(jnp.array([320]), jnp.array([0]), (2,), 1000).verdict()
    assert "which they must not" in planted.verdict(Thresholds(sampling_errors=0.01))
    planted.plot(tmp_path / "signs.png")
    assert (tmp_path / "signs.png").stat().st_size > 1000
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), planted)
    with pytest.raises(ValueError, match="argument: expected one measurement, arrays of shape"):
        stacked.table()
    assert stacked[0].verdict() == planted.verdict()


def test_errors():
    with pytest.raises(TypeError, match="key: expected one typed key; got int"):
        sign_argument(0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"dimensions: expected one at least; got none\. Pass"):
        sign_argument(jax.random.key(0), dimensions=())
    with pytest.raises(ValueError, match="dimensions: expected a whole number >= 1; got 0"):
        sign_argument(jax.random.key(0), dimensions=(1, 0))
    with pytest.raises(ValueError, match="num_samples: expected a whole number >= 1; got 0"):
        sign_argument(jax.random.key(0), num_samples=0)
