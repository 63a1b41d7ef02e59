"""Basins of quadratics, of which the mean increase is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.diagnostics import Basin, Thresholds, basin_width

from .test_surface import Scaled

ONE = np.ones(1, np.float32)


def test_a_round_bowl_is_exact_in_every_direction():
    """One column w of length 5: |w + r d|^2 = 25 (1 + r^2) + 2 r w d, whose mean over directions is 25 (1 + r^2)."""
    w = jnp.array([[3.0], [4.0]] + [[0.0]] * 18)
    found = basin_width(lambda w, x: x * jnp.sum(w**2), w, ONE, radii=(0.1, 0.5), num_directions=400)
    means, halves = found.increases()
    np.testing.assert_array_less(np.abs(means - 25 * np.array([0.01, 0.25])), 2 * halves)  # 4 sigma: 6e-5 each
    away = np.asarray(found.losses) - 25 * (1 + np.array([[0.01], [0.25]]))
    np.testing.assert_allclose(away[1], 5 * away[0], rtol=1e-3, atol=1e-4)  # the same directions
    np.testing.assert_allclose(found.top, 2, rtol=1e-5)
    assert found.loss == 25


def test_the_scale_of_the_layers_moves_the_eigenvalue_and_not_the_width():
    """Dinh et al. 2017: the same function, another largest eigenvalue."""
    plain, scaled = (basin_width(Scaled.losses, Scaled.scaled(f), Scaled.data, num_directions=5) for f in (1.0, 10.0))
    np.testing.assert_allclose(plain.losses, scaled.losses, rtol=1e-4)
    assert scaled.top > 10 * plain.top


@pytest.mark.parametrize(
    ("rise", "words"),
    [(0.05, "wide (wide up to 0.1, narrow from 1)"), (0.5, "neither wide nor narrow"), (2.0, "narrow (wide")],
)
def test_verdicts(rise, words, tmp_path):
    losses = 1 + rise * np.array([[0.1, 0.1, 0.1], [0.9, 1.0, 1.1]])
    found = Basin(np.float64(1), losses, np.array([0.1, 0.2]), np.float64(7), np.float64(0.01), 20)
    sentence = found.verdict()
    half = 4.302653 * rise * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert f": {words}" in sentence
    assert f"by {rise:.3g} [{rise - half:.3g}, {rise + half:.3g}] on average when every filter moves by 0.2" in sentence
    assert "largest eigenvalue at least 7. Both depend on the parametrisation" in sentence
    assert ": wide" in found.verdict(Thresholds(wide_basin=5.0))
    assert found.table().splitlines()[2].split()[:2] == ["0.2", f"{rise:.4g}"]
    found.plot(tmp_path / "basin.png")
    assert (tmp_path / "basin.png").stat().st_size > 1000


def test_what_is_not_finite():
    losses = np.array([[1.0, np.nan]])
    rim = Basin(np.float64(1), losses, np.array([0.1]), np.float64(7), np.float64(0), 20)
    assert "narrow, the loss is not finite at the rim" in rim.verdict()
    centre = Basin(np.float64(np.nan), losses, np.array([0.1]), np.float64(np.nan), np.float64(0), 20)
    assert centre.verdict() == "basin: the loss is not finite at the parameters themselves"
    alone = Basin(np.float64(1), losses[:, :1], np.array([0.1]), np.float64(7), np.float64(0), 20)
    assert "[-inf, inf]" in alone.verdict()
    alone.plot()
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), rim)
    with pytest.raises(ValueError, match="basin: expected one measurement, arrays of shape"):
        stacked.table()
    assert "narrow" in stacked[0].verdict()


def test_errors():
    losses, w = (lambda w, x: x * jnp.sum(w**2)), jnp.ones((2, 2))
    with pytest.raises(ValueError, match="radii: expected one at least; got none"):
        basin_width(losses, w, ONE, radii=())
    with pytest.raises(ValueError, match="radii: expected one finite number > 0; got 0"):
        basin_width(losses, w, ONE, radii=(0.1, 0))
    with pytest.raises(ValueError, match="num_directions: expected a whole number >= 1; got 0"):
        basin_width(losses, w, ONE, num_directions=0)
