"""Augmentation: the same maps by PyTorch's grid_sample and by Keras, whose matrices are made here anew."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.data import augmentation
from tests.peers.pull_back import by_jax, by_torch, draws

pytestmark = pytest.mark.peers

SIZES = ((13, 17), (28, 28), (1, 9))
FILLS_OF_KERAS = ("constant", "nearest", "reflect", "mirror", "wrap")


def images(size, batch=3, channels=2):
    return np.random.RandomState(5).rand(batch, *size, channels).astype(np.float32)


def allowed(size):
    """Pixels in [0, 1], linear between neighbours, read at points of up to twice the size with eight roundings."""
    return 2 * max(size) * 8 * 2.0**-23


def random_matrices(batch=3):
    """From result to image in (row, column) about the centre; some points fall outside."""
    draw = np.random.RandomState(6).uniform
    linear = np.eye(2) + draw(-0.4, 0.4, (batch, 2, 2))
    return np.concatenate([linear, draw(-3, 3, (batch, 2, 1))], -1).astype(np.float32)


def half_size(size, align_corners):
    """What PyTorch's coordinate 1 is in pixels from the centre: the last pixel's centre, or its outer edge."""
    return [(length - 1) / 2 if align_corners else length / 2 for length in size]


def theta_of(matrices, size, align_corners):
    """PyTorch's theta: (x, y) in units of half the image."""
    height, width = half_size(size, align_corners)
    (a, b, r), (c, d, s) = np.moveaxis(np.asarray(matrices, np.float64), 0, -1)
    rows = [[d, c * height / width, s / width], [b * width / height, a, r / height]]
    return np.moveaxis(np.array(rows), -1, 0).astype(np.float32)


def sampled(torch, x, grid, align_corners, **options):
    result = torch.nn.functional.grid_sample(x.permute(0, 3, 1, 2), grid, align_corners=align_corners, **options)
    return result.permute(0, 2, 3, 1)


def affine_by_torch(torch, x, matrices, align_corners, **options):
    theta = torch.tensor(theta_of(matrices, x.shape[1:3], align_corners))
    grid = torch.nn.functional.affine_grid(theta, (*x.shape[:1], 1, *x.shape[1:3]), align_corners=align_corners)
    return sampled(torch, x, grid, align_corners, **options)


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize(
    ("fill", "padding_mode", "align_corners"),
    [
        ("constant", "zeros", True), ("constant", "zeros", False), ("nearest", "border", True),
        ("nearest", "border", False), ("mirror", "reflection", True), ("reflect", "reflection", False),
    ],
)  # fmt: skip
def test_affine_maps_against_grid_sample(torch, all_agree, size, fill, padding_mode, align_corners):
    x, matrices = images(size), random_matrices()
    theirs = by_torch(torch, lambda x: affine_by_torch(torch, x, matrices, align_corners, padding_mode=padding_mode), x)
    ours = by_jax(lambda x: augmentation.affine(x, jnp.asarray(matrices), fill=fill), x)
    remark = f"{fill}: padding_mode={padding_mode}, align_corners={align_corners}"
    all_agree("data.augmentation.affine", "torch", ("images",), ours, theirs, rtol=allowed(size), scale=1.0,
              remark=remark)  # fmt: skip


def test_the_nearest_pixel_against_grid_sample(torch, agree):
    size = SIZES[0]
    x, matrices = images(size), random_matrices()
    theirs = affine_by_torch(torch, torch.tensor(x), matrices, True, mode="nearest")
    ours = augmentation.affine(jnp.asarray(x), jnp.asarray(matrices), order=0)
    agree("data.augmentation.affine", "torch", "value", ours, theirs.numpy(), remark="order 0: mode=nearest")


def value_by_keras(fn, *arguments, **options):
    with jax.numpy_rank_promotion("allow"):
        return np.asarray(fn(*arguments, **options))


def transform_of(matrices, size):
    """Keras's eight numbers: (x, y) in pixels from the first one."""
    row, column = half_size(size, True)
    (a, b, r), (c, d, s) = np.moveaxis(np.asarray(matrices, np.float64), 0, -1)
    first, second = s + column - d * column - c * row, r + row - a * row - b * column
    return np.stack([d, c, first, b, a, second, 0 * a, 0 * a], -1).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill", FILLS_OF_KERAS)
def test_affine_maps_against_keras(keras, agree, fill, size):
    x, matrices = images(size), random_matrices()
    theirs = value_by_keras(
        keras.ops.image.affine_transform, x, transform_of(matrices, size), fill_mode=fill, fill_value=0.25
    )
    cval = 0.25 if fill == "constant" else 0.0
    ours = augmentation.affine(jnp.asarray(x), jnp.asarray(matrices), fill=fill, cval=cval)
    remark = "all fills; transform about the first pixel, x before y"
    agree("data.augmentation.affine", "keras", "value", ours, theirs, rtol=allowed(size), scale=1.0, remark=remark)


@pytest.mark.parametrize("degrees", [20.0, -135.0, 300.0])
def test_rotations(torch, keras, agree, degrees):
    """By an angle, positive counter-clockwise, in all three."""
    size = SIZES[0]
    x, rtol = images(size), allowed(size)
    layer = keras.layers.RandomRotation(factor=(degrees / 360, degrees / 360), fill_mode="reflect", seed=0)
    ours = augmentation.rotate(jnp.asarray(x), degrees, fill="reflect")
    theirs = value_by_keras(layer, x, training=True)
    remark = "RandomRotation of one angle"
    agree("data.augmentation.rotate", "keras", "value", ours, theirs, rtol=rtol, scale=1.0, remark=remark)
    # The point that comes to (x, y), y upwards, is turned back: (x cos + y sin, y cos - x sin).
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrices = np.array([[[cosine, sine, 0], [-sine, cosine, 0]]] * len(x))
    theirs = affine_by_torch(torch, torch.tensor(x), matrices, True)
    ours = augmentation.rotate(jnp.asarray(x), degrees)
    agree("data.augmentation.rotate", "torch", "value", ours, theirs.numpy(), rtol=rtol, scale=1.0,
          remark="affine_grid, align_corners=True")  # fmt: skip


@pytest.mark.parametrize("fill", ["constant", "nearest", "reflect", "wrap"])
def test_shifts_against_keras(keras, agree, fill):
    size = SIZES[0]
    x, (down, right) = images(size), (0.17, -0.31)
    layer = keras.layers.RandomTranslation((down, down), (right, right), fill_mode=fill, seed=0)
    offsets = jnp.array([down * size[0], right * size[1]])
    ours = augmentation.shift(jnp.asarray(x), offsets, fill=fill)
    theirs = value_by_keras(layer, x, training=True)
    remark = "RandomTranslation of one offset, a share of the size; all fills"
    agree("data.augmentation.shift", "keras", "value", ours, theirs, rtol=allowed(size), scale=1.0, remark=remark)


@pytest.mark.parametrize("offsets", [(0.0, 0.0), (3.0, -2.0), (1.25, -4.5)])
def test_shifts_against_grid_sample(torch, agree, offsets):
    size = SIZES[0]
    x = images(size)
    matrices = np.array([[[1, 0, -offsets[0]], [0, 1, -offsets[1]]]] * len(x))
    theirs = affine_by_torch(torch, torch.tensor(x), matrices, True)
    ours = augmentation.shift(jnp.asarray(x), jnp.array(offsets))
    agree("data.augmentation.shift", "torch", "value", ours, theirs.numpy(), rtol=allowed(size), scale=1.0,
          remark="affine_grid, align_corners=True")  # fmt: skip


@pytest.mark.parametrize("factors", [(1.25, 1.25), (0.8, 1.6)])
def test_zooms_against_keras(keras, agree, factors):
    size = SIZES[0]
    x, (height, width) = images(size), (1 / factor - 1 for factor in factors)
    layer = keras.layers.RandomZoom((height, height), (width, width), fill_mode="constant", seed=0)
    ours = augmentation.zoom(jnp.asarray(x), jnp.array(factors))
    theirs = value_by_keras(layer, x, training=True)
    remark = "RandomZoom of 1 / factor - 1"
    agree("data.augmentation.zoom", "keras", "value", ours, theirs, rtol=allowed(size), scale=1.0, remark=remark)


@pytest.mark.parametrize("degrees", [15.0, -40.0])
def test_shears_against_grid_sample(torch, agree, degrees):
    size = SIZES[1]
    x, slope = images(size), math.tan(math.radians(degrees))
    # Upper rows move right: a pixel is read from slope times its height above the centre further left.
    matrices = np.array([[[1, 0, 0], [slope, 1, 0]]] * len(x))
    theirs = affine_by_torch(torch, torch.tensor(x), matrices, True)
    ours = augmentation.shear(jnp.asarray(x), degrees)
    agree("data.augmentation.shear", "torch", "value", ours, theirs.numpy(), rtol=allowed(size), scale=1.0,
          remark="affine_grid, align_corners=True")  # fmt: skip


@pytest.mark.parametrize("flips", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", SIZES)
def test_flips(torch, agree, flips, size):
    x = images(size)
    theirs = torch.flip(torch.tensor(x), [axis for axis, is_flipped in zip((1, 2), flips, strict=True) if is_flipped])
    ours = augmentation.flip(jnp.asarray(x), jnp.array(flips))
    agree("data.augmentation.flip", "torch", "value", ours, theirs.numpy(), rtol=0.0, remark="flip, to the bit")


@pytest.mark.parametrize("fill", FILLS_OF_KERAS)
def test_elastic_distortion_against_keras(keras, agree, fill):
    size = SIZES[0]
    x, displacement = images(size), draws(3, *size, 2, seed=7, scale=3)
    rows, columns = np.meshgrid(*(np.arange(length, dtype=np.float32) for length in size), indexing="ij")
    read = keras.ops.image.map_coordinates
    theirs = np.empty_like(x)
    for image, move, result in zip(x, displacement, theirs, strict=True):
        points = np.stack([rows + move[..., 0], columns + move[..., 1]])
        for channel in range(x.shape[-1]):
            result[..., channel] = value_by_keras(read, image[..., channel], points, 1, fill_mode=fill)
    ours = augmentation.elastic(jnp.asarray(x), jnp.asarray(displacement), fill=fill)
    agree("data.augmentation.elastic", "keras", "value", ours, theirs, rtol=allowed(size),
          scale=1.0, remark="map_coordinates; all fills")  # fmt: skip


def test_elastic_distortion_against_grid_sample(torch, all_agree):
    """With the gradient by the displacement, too."""
    size = SIZES[0]
    x, displacement = images(size), draws(3, *size, 2, seed=7, scale=3)
    rows, columns = torch.meshgrid(*(torch.arange(float(length)) for length in size), indexing="ij")

    def theirs(x, displacement):
        points = torch.stack([columns + displacement[..., 1], rows + displacement[..., 0]], -1)
        grid = points * 2 / torch.tensor([size[1] - 1.0, size[0] - 1.0]) - 1
        return sampled(torch, x, grid, True)

    pulled = by_torch(torch, theirs, x, displacement)
    ours = by_jax(augmentation.elastic, x, displacement)
    all_agree("data.augmentation.elastic", "torch", ("images", "displacement"), ours, pulled, rtol=allowed(size),
              scale=1.0, remark="grid_sample, align_corners=True")  # fmt: skip


@pytest.mark.parametrize("sigma", [0.7, 4.0])
def test_displacements_are_noise_blurred_by_a_convolution(torch, agree, sigma):
    size, alpha, key = (13, 17), 34.0, jax.random.key(3)
    noise = torch.tensor(np.asarray(jax.random.uniform(key, (*size, 2), jnp.float32, -1, 1))).permute(2, 0, 1)[:, None]
    radius = int(4 * sigma + 0.5)
    window = torch.exp(-0.5 * (torch.arange(-radius, radius + 1.0) / sigma) ** 2)
    window = window / window.sum()
    conv = torch.nn.functional.conv2d
    blurred = conv(conv(noise, window[None, None, :, None], padding="same"), window[None, None, None], padding="same")
    theirs = alpha * blurred[:, 0].permute(1, 2, 0)
    ours = augmentation.elastic_displacement(key, size, alpha=alpha, sigma=sigma)
    agree("data.augmentation.elastic_displacement", "torch", "value", ours, theirs.numpy(),
          remark="conv2d of the same noise, zeros around it")  # fmt: skip
