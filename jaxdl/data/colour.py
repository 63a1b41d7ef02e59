"""The quantised colours of colourisation: sRGB to CIE Lab, and a soft encoding of its (a, b) plane."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checks

# IEC 61966-2-1: linear sRGB to XYZ; its rows sum to the white point D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(1)
_BEND = 6 / 29
_LARGEST = 130.0  # beyond the |a| and |b| of any colour of sRGB


def srgb_to_lab(rgb: jax.Array) -> jax.Array:
    """CIE Lab (D65) of sRGB colours.

    Args:
        rgb: gamma-encoded, in [0, 1], shape (..., 3).

    Returns:
        (L, a, b), L in [0, 100], a and b within about 110 of 0, shape (..., 3); the dtype of `rgb`.

    Raises:
        TypeError: `rgb` is not floating-point.
        ValueError: the last axis is not 3 long.

    References:
        IEC 61966-2-1 (sRGB); CIE 15, Colorimetry (Lab).
    """
    rgb = jnp.asarray(rgb)
    _check_colours("rgb", rgb, 3)
    return _lab(rgb, jnp).astype(rgb.dtype)


def ab_bins(*, grid: float = 10.0, margin: float = 0.0) -> np.ndarray:
    """Centres of the bins of the (a, b) plane that sRGB colours reach, multiples of `grid`.

    A bin counts where some colour of sRGB, of any lightness, is no further from its centre than `margin` in a and in b.
    Zhang et al. keep 313 bins of grid 10 that are "in-gamut", without a rule in the paper; here there are

    | margin | bins of grid 10 | which |
    |---|---|---|
    | 0 | 229 | the centre itself is a colour of sRGB |
    | 5 | 261 | some colour of sRGB has this centre as its nearest |
    | 10 | 307 | some colour lies in a square around the centre twice as wide |

    Args:
        grid: distance between neighbouring centres, in units of Lab, > 0.
        margin: in units of Lab, >= 0. Near 0 it is exact to about 0.5, the distance between the colours tried.

    Returns:
        Centres, float32, shape (Q, 2), ordered by a, then b.

    Raises:
        ValueError: a number out of its range.

    References:
        Zhang, Isola, Efros, "Colorful image colorization", 2016, section 2.1.
    """
    if not 0 < grid <= _LARGEST:
        raise ValueError(f"grid: expected a number > 0 and <= {_LARGEST}; got {grid}. Use 10.")
    checks.number(margin=margin, minimum=0, remedy="Use 0 for centres that are colours.")
    from scipy.spatial import KDTree

    multiples = np.arange(-(_LARGEST // grid) - 1, _LARGEST // grid + 2) * grid
    centres = np.stack(np.meshgrid(multiples, multiples, indexing="ij"), -1).reshape(-1, 2)
    # A line of constant (a, b) enters the solid through its surface: the six faces of the cube cover its shadow.
    across, along = np.meshgrid(*[np.linspace(0, 1, 129)] * 2)
    faces = [np.insert(np.stack([across, along], -1), axis, end, -1) for axis in range(3) for end in (0.0, 1.0)]
    distance, _ = KDTree(_lab(np.concatenate(faces).reshape(-1, 3), np)[:, 1:]).query(centres, p=np.inf)
    return centres[(distance <= margin) | _in_gamut(centres)].astype(np.float32)


def encode_ab(ab: jax.Array, bins: jax.Array, *, neighbours: int = 5, sigma: float = 5.0) -> jax.Array:
    """Soft encoding: weights `exp(-d^2 / (2 sigma^2))` on the nearest bins, of sum 1; a target of cross-entropy.

    Args:
        ab: colours, floating-point, shape (..., 2).
        bins: centres, shape (Q, 2), such as `ab_bins` gives.
        neighbours: bins with a weight, 1 ... Q; 1 is the hard encoding. Of equally near ones the first counts.
        sigma: deviation of the Gaussian in units of Lab, > 0.

    Returns:
        Probabilities, shape (..., Q), the dtype of `ab`.

    Raises:
        TypeError: `ab` is not floating-point.
        ValueError: a shape or a number other than these.

    References:
        Zhang, Isola, Efros, "Colorful image colorization", 2016, section 2.1.
    """
    ab, bins = jnp.asarray(ab), jnp.asarray(bins)
    _check_colours("ab", ab, 2)
    if bins.ndim != 2 or bins.shape[1] != 2 or not len(bins):
        raise ValueError(f"bins: expected centres of shape (Q, 2); got {bins.shape}. Use ab_bins().")
    checks.whole_number(neighbours=neighbours, minimum=1, remedy="Use 5.")
    if neighbours > len(bins):
        raise ValueError(f"neighbours: expected at most the {len(bins)} bins; got {neighbours}. Use 5.")
    checks.number(sigma=sigma, minimum=0, exclusive=True, remedy="Use 5.")
    points = ab.astype(jnp.promote_types(ab.dtype, jnp.float32))[..., None, :]
    centres = bins.astype(points.dtype).reshape((1,) * (ab.ndim - 1) + bins.shape)
    nearness, which = jax.lax.top_k(-jnp.square(points - centres).sum(-1), neighbours)
    # A softmax takes the nearest bin as its zero, so that colours far from all bins have weights too.
    weights = jax.nn.softmax(nearness / (2 * sigma**2), -1)
    return (weights[..., None] * jax.nn.one_hot(which, len(bins), dtype=weights.dtype)).sum(-2).astype(ab.dtype)


def _lab(rgb, xp):
    rgb = rgb.astype(xp.promote_types(rgb.dtype, xp.float32))
    linear = xp.where(rgb <= 0.04045, rgb / 12.92, ((xp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4)
    x, y, z = ((linear * (row / white).astype(linear.dtype)).sum(-1) for row, white in _rows(linear.ndim))
    f = [xp.where(t > _BEND**3, xp.cbrt(xp.maximum(t, _BEND**3)), t / (3 * _BEND**2) + 4 / 29) for t in (x, y, z)]
    return xp.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])], -1)


def _rows(ndim: int) -> list[tuple[np.ndarray, float]]:
    return [(row.reshape((1,) * (ndim - 1) + (3,)), white) for row, white in zip(_TO_XYZ, _WHITE, strict=True)]


def _in_gamut(ab: np.ndarray) -> np.ndarray:
    """Whether (L, a, b) is a colour of sRGB for some lightness L."""
    found = np.zeros(len(ab), bool)
    for lightness in np.linspace(0, 100, 1001):
        middle = (lightness + 16) / 116
        f = np.stack([middle + ab[:, 0] / 500, np.full(len(ab), middle), middle - ab[:, 1] / 200], -1)
        xyz = _WHITE * np.where(f > _BEND, f**3, 3 * _BEND**2 * (f - 4 / 29))
        linear = xyz @ np.linalg.inv(_TO_XYZ).T
        found |= ((linear >= 0) & (linear <= 1)).all(-1)
    return found


def _check_colours(argument: str, colours: jax.Array, length: int) -> None:
    if not jnp.issubdtype(colours.dtype, jnp.floating):
        raise TypeError(f"{argument}: expected floating-point colours; got {colours.dtype}. Scale them to [0, 1].")
    if colours.ndim < 1 or colours.shape[-1] != length:
        raise ValueError(f"{argument}: expected shape (..., {length}); got {colours.shape}. Put the channels last.")
