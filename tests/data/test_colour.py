"""Lab against published colours and a second way through the cube; bins and their encoding against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data import colour

# Lab (D65, 2 degrees) of the corners of sRGB, as every published table has them, to the digits given.
CORNERS = {
    (1, 0, 0): (53.24, 80.09, 67.20),
    (0, 1, 0): (87.74, -86.18, 83.18),
    (0, 0, 1): (32.30, 79.19, -107.86),
    (1, 1, 0): (97.14, -21.55, 94.48),
    (0, 1, 1): (91.11, -48.09, -14.13),
    (1, 0, 1): (60.32, 98.23, -60.82),
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
}


def test_corners_of_the_cube():
    lab = colour.srgb_to_lab(jnp.array(list(CORNERS), jnp.float32))
    np.testing.assert_allclose(lab, list(CORNERS.values()), atol=0.02)


def test_greys_have_no_colour():
    grey = np.linspace(0, 1, 50, dtype=np.float32)
    lab = np.asarray(colour.srgb_to_lab(np.repeat(grey[:, None], 3, axis=1)))
    np.testing.assert_allclose(lab[:, 1:], 0, atol=1e-4)
    assert (np.diff(lab[:, 0]) > 0).all()
    # Lightness of middle grey: its luminance is ((0.5 + 0.055) / 1.055)^2.4 = 0.2140, L = 116 * 0.2140^(1/3) - 16.
    assert float(colour.srgb_to_lab(jnp.full(3, 0.5))[0]) == pytest.approx(53.389, abs=1e-2)


@pytest.mark.parametrize("grey", [0.005, 0.02, 0.04, 0.041, 0.06])
def test_near_black_both_curves_are_straight(grey):
    """Up to 0.04045 the luminance is grey / 12.92, and up to (6 / 29)^3 L is 116 / (3 (6 / 29)^2) times it."""
    luminance = grey / 12.92 if grey <= 0.04045 else ((grey + 0.055) / 1.055) ** 2.4
    lightness = float(colour.srgb_to_lab(jnp.full(3, grey))[0])
    assert lightness == pytest.approx(116 / (3 * (6 / 29) ** 2) * luminance, rel=1e-4)


def test_gradients_are_finite_and_dtype_is_kept():
    corners = jnp.array([*CORNERS, (0.04045, 0.5, 0.003)], jnp.float32)
    for output in range(3):
        grad = jax.grad(lambda rgb, output=output: colour.srgb_to_lab(rgb)[..., output].sum())(corners)
        assert bool(jnp.isfinite(grad).all())
    half = colour.srgb_to_lab(corners.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32)[:8], list(CORNERS.values()), rtol=2**-8, atol=0.02)
    assert jax.jit(jax.vmap(colour.srgb_to_lab))(corners).shape == (9, 3)


def test_bins_by_colours_of_the_inside():
    """Whatever colour is drawn has its nearest bin at margin 5; a centre at margin 0 is near some colour drawn."""
    rgb = np.random.RandomState(0).rand(40_000, 3).astype(np.float32)
    ab = np.asarray(colour.srgb_to_lab(rgb))[:, 1:]
    half = {tuple(centre) for centre in colour.ab_bins(margin=5.0).tolist()}
    drawn = {tuple(centre) for centre in (np.round(ab / 10) * 10 + 0.0).tolist()}
    assert drawn <= half
    assert len(drawn) > 0.95 * len(half)
    inside = colour.ab_bins()
    distance = np.abs(inside[:, None] - ab[None, :, :]).max(-1).min(1)
    assert distance.max() < 5  # no centre is far from every colour drawn
    assert {tuple(centre) for centre in inside.tolist()} < half


@pytest.mark.parametrize(("margin", "number"), [(0.0, 229), (5.0, 261), (10.0, 307)])
def test_how_many_bins_there_are(margin, number):
    """No rule here gives the 313 of the paper; the numbers are those the documentation states."""
    bins = colour.ab_bins(margin=margin)
    assert bins.shape == (number, 2)
    assert bins.dtype == np.float32
    np.testing.assert_array_equal(bins % 10, 0)
    assert len(np.unique(bins, axis=0)) == number
    np.testing.assert_array_equal(bins, bins[np.lexsort((bins[:, 1], bins[:, 0]))])


def test_soft_encoding_against_numpy():
    bins = colour.ab_bins()
    ab = np.random.RandomState(1).uniform(-60, 60, (4, 3, 2)).astype(np.float32)
    expected = np.zeros((4, 3, len(bins)))
    for index in np.ndindex(4, 3):
        distance = np.linalg.norm(bins.astype(np.float64) - ab[index], axis=1)
        nearest = np.argsort(distance)[:5]
        weights = np.exp(-(distance[nearest] ** 2) / (2 * 5.0**2))
        expected[index][nearest] = weights / weights.sum()
    ours = colour.encode_ab(ab, bins)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    np.testing.assert_array_equal((np.asarray(ours) > 0).sum(-1), 5)


def test_encoding_of_a_centre_of_a_distant_colour_and_hard():
    bins = colour.ab_bins()
    centre = colour.encode_ab(bins[100], bins)
    # The centre itself and four neighbours at distance 10: 1 and exp(-2).
    np.testing.assert_allclose(np.sort(centre)[-5:], np.array([np.exp(-2)] * 4 + [1]) / (1 + 4 * np.exp(-2)), rtol=1e-5)
    distant = colour.encode_ab(jnp.array([1e4, 0.0]), bins)
    assert float(distant.sum()) == pytest.approx(1)
    hard = colour.encode_ab(bins, bins, neighbours=1)
    np.testing.assert_array_equal(hard, np.eye(len(bins)))


def test_encoding_under_jit_vmap_grad_and_bfloat16():
    bins = colour.ab_bins()
    ab = jnp.array([[3.0, 4.0], [-20.0, 0.0]])
    encoded = colour.encode_ab(ab, bins)
    np.testing.assert_allclose(jax.jit(jax.vmap(colour.encode_ab, (0, None)))(ab, bins), encoded, atol=1e-6)
    assert bool(jnp.isfinite(jax.grad(lambda ab: (colour.encode_ab(ab, bins) ** 2).sum())(ab)).all())
    half = colour.encode_ab(ab.astype(jnp.bfloat16), bins)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), encoded, atol=2**-8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: colour.srgb_to_lab(np.zeros((2, 3), np.uint8)),
            TypeError,
            "rgb: expected floating-point .* got uint8",
        ),
        (lambda: colour.srgb_to_lab(jnp.zeros((3, 2))), ValueError, r"rgb: expected shape \(\.\.\., 3\); got \(3, 2\)"),
        (lambda: colour.ab_bins(grid=0), ValueError, "grid: expected a number > 0 and <= 130.0; got 0"),
        (lambda: colour.ab_bins(margin=-1), ValueError, "margin: expected one finite number >= 0; got -1. Use 0"),
        (lambda: colour.encode_ab(jnp.zeros(3), jnp.ones((9, 2))), ValueError, r"ab: expected shape \(\.\.\., 2\)"),
        (lambda: colour.encode_ab(jnp.zeros(2), jnp.ones(2)), ValueError, r"bins: expected centres .* got \(2,\)"),
        (
            lambda: colour.encode_ab(jnp.zeros(2), jnp.ones((9, 2)), neighbours=0),
            ValueError,
            "neighbours: expected a whole number >= 1; got 0",
        ),
        (
            lambda: colour.encode_ab(jnp.zeros(2), jnp.ones((3, 2))),
            ValueError,
            "neighbours: expected at most the 3 bins",
        ),
        (
            lambda: colour.encode_ab(jnp.zeros(2), jnp.ones((9, 2)), sigma=0.0),
            ValueError,
            "sigma: expected one finite number > 0; got 0.0. Use 5",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
