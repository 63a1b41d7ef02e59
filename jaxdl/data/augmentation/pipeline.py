"""`make_augmentation`: random geometry, drawn for every example, inside the compiled step."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import checks
from jaxdl.data.augmentation import matrices as maps
from jaxdl.data.augmentation.displacement import check_elastic, elastic_displacement
from jaxdl.data.augmentation.geometry import check_images, resample, resampling, sources

Augment = Callable[[jax.Array, jax.Array], jax.Array]
Range = tuple[float, float]


class _Ranges(NamedTuple):
    rotation: Range
    shift: Range
    shift_pixels: Range
    zoom: Range
    stretch: Range
    shear: Range
    flips: tuple[bool, bool]


_IDLE = _Ranges((0, 0), (0, 0), (0, 0), (1, 1), (1, 1), (0, 0), (False, False))


def make_augmentation(
    *,
    rotation: float | Range = 0.0,
    shift: float | Range = 0.0,
    shift_pixels: int | tuple[int, int] = 0,
    zoom: float | Range = 0.0,
    stretch: float | Range = 0.0,
    shear: float | Range = 0.0,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
    elastic: tuple[float, float] | None = None,
    order: int = 1,
    fill: str = "constant",
    cval: float = 0.0,
) -> Augment:
    """Builds `augment(key, images) -> images`: each example gets geometry of its own, in one interpolation.

    An example is flipped, stretched, sheared, rotated and shifted, in this order, and then distorted elastically; all
    of it is composed into one map from pixels to points, so that the image is resampled once. Every range is uniform:
    a number r stands for (-r, r), for `zoom` and `stretch` (1 - r, 1 + r); a pair is (low, high). What an example gets
    depends on the key and its place in the batch alone, and turning one option on leaves the draws of the others.

    Args:
        rotation: degrees, counter-clockwise.
        shift: fractions of the height and of the width, drawn independently, positive downwards and to the right.
        shift_pixels: whole pixels, drawn independently for rows and columns from the integers low ... high; in place
            of `shift`.
        zoom: factor of both axes, above 1 enlarges.
        stretch: factors of height and width, drawn independently, beside `zoom`.
        shear: degrees between -90 and 90, horizontal.
        flip_horizontal: left to right with probability 1/2; it changes the meaning of digits and letters.
        flip_vertical: upside down with probability 1/2.
        elastic: (alpha, sigma) in pixels of `elastic_displacement`, such as (34, 4); None for none.
        order: 1 interpolates linearly, 0 takes the nearest pixel. Flips and whole pixels alone are exact either way.
        fill: what lies beyond the edge: "constant", "nearest", "reflect", "mirror" or "wrap", see
            `jaxdl.data.augmentation.geometry`.
        cval: the value beyond the edge for "constant", in the unit of the images as they come in: standardised images
            have another background than 0.

    Returns:
        `augment(key, images)` for one typed key and floating-point images (batch, H, W, C) in any range; the result has
        their shape and dtype. It is pure, and works under jit, vmap, grad and scan; without any option it hands the
        images back. Pass it to `jaxdl.training.supervised(..., augment=...)`, which applies it in training mode only.
        To keep uint8 in memory, pass `lambda key, x: augment(key, x.astype(jnp.float32))` and let the model divide by
        255, in training and in evaluation alike.

    Raises:
        TypeError, ValueError: an option that is no range; when called, a key or images of another kind, uint8 among
            them.

    Example:
        The recipe of Keras's ImageDataGenerator (feature-wise centre and deviation, rotation 20 degrees, shifts 0.2,
        horizontal flip). Its statistics are one mean and one deviation a channel. Two traps: flips are wrong for
        digits, and an epoch has N / batch_size steps, not N.

        >>> channels = Standardizer.fit(train.x.reshape(-1, train.x.shape[-1]), ddof=0)
        >>> augment = make_augmentation(rotation=20, shift=0.2, flip_horizontal=True, fill="nearest")
        >>> batch = channels.transform(augment(jax.random.key(0), train.x[:32]))

    References:
        Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document
        analysis", 2003.
    """
    ranges = _Ranges(
        rotation=_range(0.0, rotation=rotation),
        shift=_range(0.0, shift=shift),
        shift_pixels=_range(0.0, shift_pixels=shift_pixels),
        zoom=_range(1.0, zoom=zoom),
        stretch=_range(1.0, stretch=stretch),
        shear=_range(0.0, shear=shear),
        flips=(_switch(flip_vertical=flip_vertical), _switch(flip_horizontal=flip_horizontal)),
    )
    _check_ranges(ranges)
    _check_elastic_pair(elastic)
    options = resampling(order=order, fill=fill, cval=cval)
    idle = elastic is None and ranges == _IDLE
    if elastic is None and ranges._replace(shift_pixels=_IDLE.shift_pixels, flips=_IDLE.flips) == _IDLE:
        options["order"] = 0  # the same pixels for a quarter of the reads

    @jax.jit  # for who calls it outside of a compiled step; inside of one it changes nothing
    @jax.vmap
    def each(key: jax.Array, image: jax.Array) -> jax.Array:
        size = (image.shape[0], image.shape[1])
        draws_key, field_key = jax.random.split(key)
        matrix = _draw(draws_key, ranges, size)
        displacement = None
        if elastic is not None:
            displacement = elastic_displacement(field_key, size, alpha=elastic[0], sigma=elastic[1])
        return resample(image, sources(matrix, size, displacement), **options)

    def augment(key: jax.Array, images: jax.Array) -> jax.Array:
        checks.one_key(key)
        check_images(images)
        images = jnp.asarray(images)
        if idle:
            return images
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(images.shape[0]))
        return each(keys, images)

    return augment


def _draw(key: jax.Array, ranges: _Ranges, size: tuple[int, int]) -> jax.Array:
    draws = jax.random.uniform(key, (11,), jnp.float32)
    between = lambda limits, u: limits[0] + (limits[1] - limits[0]) * u  # noqa: E731
    low, high = ranges.shift_pixels
    whole = low + jnp.floor((high - low + 1) * draws[3:5])
    factors = between(ranges.zoom, draws[5]) * between(ranges.stretch, draws[6:8])
    return maps.compose(
        maps.zooms(jnp.where((draws[9:11] < 0.5) & jnp.array(ranges.flips), -1.0, 1.0)),
        maps.zooms(factors),
        maps.shears(between(ranges.shear, draws[8])),
        maps.rotations(between(ranges.rotation, draws[0])),
        maps.shifts(between(ranges.shift, draws[1:3]) * jnp.array(size, jnp.float32) + whole),
    )


def _range(centre: float, **option: Any) -> Range:
    ((name, value),) = option.items()
    pair = tuple(value) if isinstance(value, (tuple, list)) else None
    ends: Any = (value, value) if pair is None else pair
    plain = all(isinstance(end, numbers.Real) and not isinstance(end, bool) for end in ends)
    if not plain or len(ends) != 2:
        raise TypeError(f"{name}: expected a number or a pair (low, high); got {value!r}. Use 0 for none.")
    low, high = ends if pair else (centre - ends[0], centre + ends[0])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"{name}: expected a finite number >= 0 or a pair with low <= high; got {value!r}. Use 0 for none."
        )
    return float(low), float(high)


def _switch(**option: Any) -> bool:
    ((name, value),) = option.items()
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False; got {value!r}. The probability is 1/2.")
    return value


def _check_ranges(ranges: _Ranges) -> None:
    for name, limits in (("zoom", ranges.zoom), ("stretch", ranges.stretch)):
        if limits[0] <= 0:
            raise ValueError(f"{name}: expected factors > 0; got the range {limits}. Use 0.1 for 0.9 to 1.1.")
    if not -90 < ranges.shear[0] <= ranges.shear[1] < 90:
        raise ValueError(f"shear: expected degrees between -90 and 90; got the range {ranges.shear}. Use 10.")
    if any(limit != round(limit) for limit in ranges.shift_pixels):
        raise ValueError(
            f"shift_pixels: expected whole numbers; got the range {ranges.shift_pixels}. "
            "Use shift for fractions of the image."
        )
    if ranges.shift_pixels != (0, 0) and ranges.shift != (0, 0):
        raise ValueError(
            f"shift_pixels: expected 0 beside shift; got {ranges.shift_pixels} and {ranges.shift}. Give one of the two."
        )


def _check_elastic_pair(elastic: Any) -> None:
    if elastic is None:
        return
    if not isinstance(elastic, (tuple, list)) or len(elastic) != 2:
        raise TypeError(f"elastic: expected a pair (alpha, sigma) or None; got {elastic!r}. Use (34, 4).")
    check_elastic(*elastic)
