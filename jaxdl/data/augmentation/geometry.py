"""Geometry of images by given parameters, one set for all or one for each example; labels stay what they are.

All functions take floating-point images of shape (batch, H, W, C) in any range, give back the same shape and dtype, are
pure, and work under jit, vmap and grad. Integer images, such as uint8, are refused. They share three options:

* `order`: 1 interpolates linearly between the four pixels around a point, 0 takes the nearest one;
* `fill`: what lies beyond the edge of `a b c d`;
* `cval`: the value beyond the edge for `fill="constant"`.

| fill | beyond the edge | the mode of `scipy.ndimage` |
|---|---|---|
| "constant" | `k k k k a b c d k k k k`, k = cval | "grid-constant" |
| "nearest" | `a a a a a b c d d d d d` | "nearest" |
| "reflect" | `d c b a a b c d d c b a` | "reflect" |
| "mirror" | `. d c b a b c d c b a .` | "mirror" |
| "wrap" | `a b c d a b c d a b c d` | "grid-wrap" |

Coordinates are float32 at least whatever the images are. Shifts by whole pixels, flips and quarter turns of images
with H == W are exact. With `order=1` a pixel that is NaN or infinite makes the pixels next to it NaN.
"""

import numbers
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.data.augmentation import matrices as maps

FILLS = ("constant", "nearest", "reflect", "mirror", "wrap")


def affine(
    images: jax.Array, matrices: jax.Array, *, order: int = 1, fill: str = "constant", cval: float = 0.0
) -> jax.Array:
    """Reads every pixel of the result from the point `matrix @ [row, column, 1]` of its image.

    Args:
        images: floating-point, shape (batch, H, W, C).
        matrices: one for all, shape (2, 3), or one each, shape (batch, 2, 3), from result to image in (row, column)
            pixels about the centre; see `jaxdl.data.augmentation.matrices` for rotations, shears, zooms and shifts.
        order: 0 or 1.
        fill: see the module.
        cval: see the module.

    Returns:
        Images, the shape and dtype of `images`.

    Raises:
        TypeError: images are not floating-point.
        ValueError: a shape or an option other than these.
    """
    check_images(images)
    matrices = jnp.asarray(matrices)
    _check_parameters("matrices", matrices, (2, 3), images)
    resample_one = partial(resample, **resampling(order=order, fill=fill, cval=cval))

    def one(image: jax.Array, matrix: jax.Array) -> jax.Array:
        return resample_one(image, sources(matrix, image.shape[:2]))

    return jax.vmap(one, (0, 0 if matrices.ndim == 3 else None))(images, matrices)


def rotate(images: jax.Array, degrees: Any, *, order: int = 1, fill: str = "constant", cval: float = 0.0) -> jax.Array:
    """Rotation about the centre, counter-clockwise as `np.rot90`; `degrees` of shape () or (batch,).

    Args:
        images: floating-point, `(batch, height, width, channels)`.
        degrees: () for all or (batch,).
        order: 1 interpolates linearly, 0 takes the nearest pixel.
        fill: what lies outside, see the module.
        cval: the value there for "constant".

    Returns:
        The images, same shape and dtype.

    Raises:
        TypeError: images that are not floating-point.
        ValueError: shapes, `order` or `fill` other than these.
    """
    return affine(
        images, maps.rotations(_parameters("degrees", degrees, (), images)), order=order, fill=fill, cval=cval
    )


def shift(images: jax.Array, offsets: Any, *, order: int = 1, fill: str = "constant", cval: float = 0.0) -> jax.Array:
    """Shift by (rows, columns) pixels, positive downwards and to the right; `offsets` of shape (2,) or (batch, 2).

    Args:
        images: floating-point, `(batch, height, width, channels)`.
        offsets: (2,) for all or (batch, 2), in pixels.
        order: 1 interpolates linearly, 0 takes the nearest pixel.
        fill: what lies outside, see the module.
        cval: the value there for "constant".

    Returns:
        The images, same shape and dtype.

    Raises:
        TypeError: images that are not floating-point.
        ValueError: shapes, `order` or `fill` other than these.
    """
    return affine(images, maps.shifts(_parameters("offsets", offsets, (2,), images)), order=order, fill=fill, cval=cval)


def zoom(images: jax.Array, factors: Any, *, order: int = 1, fill: str = "constant", cval: float = 0.0) -> jax.Array:
    """Stretch of (height, width) about the centre, above 1 enlarges; `factors` of shape (2,) or (batch, 2).

    Args:
        images: floating-point, `(batch, height, width, channels)`.
        factors: (2,) for all or (batch, 2).
        order: 1 interpolates linearly, 0 takes the nearest pixel.
        fill: what lies outside, see the module.
        cval: the value there for "constant".

    Returns:
        The images, same shape and dtype.

    Raises:
        TypeError: images that are not floating-point.
        ValueError: shapes, `order` or `fill` other than these.
    """
    return affine(images, maps.zooms(_parameters("factors", factors, (2,), images)), order=order, fill=fill, cval=cval)


def shear(images: jax.Array, degrees: Any, *, order: int = 1, fill: str = "constant", cval: float = 0.0) -> jax.Array:
    """Horizontal shear, upper rows to the right; `degrees` between -90 and 90, of shape () or (batch,).

    Args:
        images: floating-point, `(batch, height, width, channels)`.
        degrees: () for all or (batch,).
        order: 1 interpolates linearly, 0 takes the nearest pixel.
        fill: what lies outside, see the module.
        cval: the value there for "constant".

    Returns:
        The images, same shape and dtype.

    Raises:
        TypeError: images that are not floating-point.
        ValueError: shapes, `order` or `fill` other than these.
    """
    return affine(images, maps.shears(_parameters("degrees", degrees, (), images)), order=order, fill=fill, cval=cval)


def flip(images: jax.Array, flips: Any) -> jax.Array:
    """Flips of (rows, columns) where True: upside down, left to right; `flips` of shape (2,) or (batch, 2).

    Args:
        images: floating-point, `(batch, height, width, channels)`.
        flips: bool, (2,) for all or (batch, 2), for rows and columns.

    Returns:
        The images, same shape and dtype.

    Raises:
        TypeError: images that are not floating-point.
        ValueError: other shapes.
    """
    flips = _parameters("flips", flips, (2,), images)
    return affine(images, maps.zooms(jnp.where(flips, -1.0, 1.0)), order=0)


def elastic(
    images: jax.Array, displacement: Any, *, order: int = 1, fill: str = "constant", cval: float = 0.0
) -> jax.Array:
    """Reads every pixel of the result from where its displacement points: `out[r, c] = in[r + d[0], c + d[1]]`.

    Args:
        images: floating-point, shape (batch, H, W, C).
        displacement: of rows and columns in pixels, shape (H, W, 2) or (batch, H, W, 2), such as
            `elastic_displacement` draws.
        order: 0 or 1.
        fill: see the module.
        cval: see the module.

    Returns:
        Images, the shape and dtype of `images`.

    Raises:
        TypeError: images are not floating-point.
        ValueError: a shape or an option other than these.

    References:
        Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document
        analysis", 2003, section 2.
    """
    check_images(images)
    displacement = _parameters("displacement", displacement, (*images.shape[1:3], 2), images)
    resample_one = partial(resample, **resampling(order=order, fill=fill, cval=cval))

    def one(image: jax.Array, displacement: jax.Array) -> jax.Array:
        identity = maps.shifts(jnp.zeros(2))
        return resample_one(image, sources(identity, image.shape[:2], displacement))

    return jax.vmap(one, (0, 0 if displacement.ndim == 4 else None))(images, displacement)


def resampling(*, order: int, fill: str, cval: float) -> dict[str, Any]:
    """The three options as keywords of `resample`, once they are known to be valid."""
    if isinstance(order, bool) or order not in (0, 1):
        raise ValueError(f"order: expected 0 (nearest pixel) or 1 (linear); got {order!r}. Use 1.")
    if fill not in FILLS:
        raise ValueError(f"fill: expected one of {', '.join(FILLS)}; got {fill!r}. Use 'constant'.")
    if isinstance(cval, bool) or not isinstance(cval, numbers.Real):
        raise TypeError(f"cval: expected a number; got {type(cval).__name__}. Use 0.0.")
    return dict(order=order, mode=fill, cval=float(cval))


def sources(matrix: jax.Array, size: Sequence[int], displacement: jax.Array | None = None) -> list[jax.Array]:
    """Rows and columns, each (H, W), from which one image is read: first displaced, then mapped by the matrix."""
    half_height, half_width = (size[0] - 1) / 2, (size[1] - 1) / 2
    rows = jnp.broadcast_to((jnp.arange(size[0]) - half_height)[:, None], size)
    columns = jnp.broadcast_to((jnp.arange(size[1]) - half_width)[None, :], size)
    if displacement is not None:
        rows, columns = rows + displacement[..., 0], columns + displacement[..., 1]
    read = lambda line, half: line[0] * rows + line[1] * columns + line[2] + half  # noqa: E731
    return [read(matrix[0], half_height), read(matrix[1], half_width)]


def resample(image: jax.Array, points: list[jax.Array], **options: Any) -> jax.Array:
    """One image (H, W, C) read at points (rows, columns), by the one interpolation of this package."""
    read = lambda channel: jax.scipy.ndimage.map_coordinates(channel, points, **options)  # noqa: E731
    result = jax.vmap(read, -1, -1)(image)
    if options["order"] == 0:
        # A point that is nowhere would be some pixel; linear weights are NaN there by themselves.
        somewhere = jnp.isfinite(points[0]) & jnp.isfinite(points[1])
        result = jnp.where(somewhere[..., None], result, jnp.nan)
    return result


def check_images(images: Any) -> None:
    """Raises unless `images` is a floating-point array of shape (batch, H, W, C)."""
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"images: expected a floating-point array; got {dtype}. Scale them first, such as x / 255.")
    if len(shape) != 4:
        raise ValueError(
            f"images: expected shape (batch, height, width, channels); got {shape}. "
            "Add the axes that lack, such as images[..., None] for one channel."
        )


def _parameters(argument: str, values: Any, shape: tuple[int, ...], images: Any) -> jax.Array:
    check_images(images)
    values = jnp.asarray(values)
    _check_parameters(argument, values, shape, images)
    return values


def _check_parameters(argument: str, values: jax.Array, shape: tuple[int, ...], images: Any) -> None:
    batch = jnp.shape(images)[:1]
    if values.shape not in (shape, batch + shape):
        raise ValueError(
            f"{argument}: expected shape {shape} for all images or {batch + shape} for one each; got {values.shape}. "
            "Reshape it, or pass as many as there are images."
        )
