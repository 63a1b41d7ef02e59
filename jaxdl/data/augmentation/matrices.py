"""Affine maps of an image as matrices (2, 3): from a pixel of the result to the point of the image it is read from.

Coordinates are (row, column) in pixels from the centre of the image, ((H - 1) / 2, (W - 1) / 2); rows count downwards:

    [row_in, column_in] = matrix @ [row_out, column_out, 1]

so that `shifts([0, 0])` is the identity. Every function takes leading axes, one matrix each.
"""

import functools

import jax
import jax.numpy as jnp


def rotations(degrees: jax.Array | float) -> jax.Array:
    """Rotation about the centre, counter-clockwise as `np.rot90` turns; exact at multiples of 90 degrees.

    Args:
        degrees: angles, shape (...).

    Returns:
        Matrices, shape (..., 2, 3).
    """
    # From the nearest multiple of 90: the cosine of pi / 2 in float32 is not 0, and would blur a quarter turn.
    degrees = _float(degrees)
    quarters = jnp.round(degrees / 90)
    angle = jnp.deg2rad(degrees - 90 * quarters)
    turn = quarters % 4
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    even = jnp.where(turn == 0, 1.0, -1.0)
    cosine, sine = (
        jnp.where(turn % 2 == 0, even * cosine, jnp.where(turn == 1, -sine, sine)),
        jnp.where(turn % 2 == 0, even * sine, jnp.where(turn == 1, cosine, -cosine)),
    )
    return _matrix(cosine, sine, -sine, cosine)


def shears(degrees: jax.Array | float) -> jax.Array:
    """Horizontal shear: rows above the centre move right, those below it left, by tan(degrees) times their distance.

    Args:
        degrees: angles between -90 and 90, shape (...).

    Returns:
        Matrices, shape (..., 2, 3).
    """
    slope = jnp.tan(jnp.deg2rad(_float(degrees)))
    return _matrix(jnp.ones_like(slope), jnp.zeros_like(slope), slope, jnp.ones_like(slope))


def zooms(factors: jax.Array) -> jax.Array:
    """Stretch about the centre; factors above 1 enlarge.

    Args:
        factors: of height and width, not 0, shape (..., 2); a negative factor flips as well.

    Returns:
        Matrices, shape (..., 2, 3).
    """
    rows, columns = _pair(factors)
    return _matrix(1 / rows, jnp.zeros_like(rows), jnp.zeros_like(rows), 1 / columns)


def shifts(offsets: jax.Array) -> jax.Array:
    """Translation, positive downwards and to the right.

    Args:
        offsets: of rows and columns in pixels, shape (..., 2).

    Returns:
        Matrices, shape (..., 2, 3).
    """
    rows, columns = _pair(offsets)
    one, zero = jnp.ones_like(rows), jnp.zeros_like(rows)
    return _matrix(one, zero, zero, one, -rows, -columns)


def compose(*matrices: jax.Array) -> jax.Array:
    """One matrix for several maps in turn, the first argument first: the image is then resampled only once.

    Args:
        *matrices: at least one, each of shape (..., 2, 3); leading axes broadcast where they are as many.

    Returns:
        Matrices, shape (..., 2, 3).

    Example:
        >>> turned = affine(images, compose(rotations(15.0), shifts(jnp.array([2.0, -1.0]))))
    """
    # The map from result to image runs backwards, so that the first stands leftmost.
    return functools.reduce(_product, matrices)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # Sums of products in place of a matrix product, which accelerators round to fewer bits.
    linear = (left[..., :, :2, None] * right[..., None, :, :]).sum(-2)
    return linear.at[..., 2].add(left[..., 2])


def _float(values: jax.Array | float) -> jax.Array:
    # In bfloat16 a coordinate beyond 256 would be off by a pixel.
    values = jnp.asarray(values)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _pair(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    values = _float(values)
    return values[..., 0], values[..., 1]


def _matrix(*linear_then_offsets: jax.Array) -> jax.Array:
    a, b, c, d, *offsets = linear_then_offsets
    rows, columns = offsets or (jnp.zeros_like(a), jnp.zeros_like(a))
    return jnp.stack([jnp.stack([a, b, rows], -1), jnp.stack([c, d, columns], -1)], -2)
