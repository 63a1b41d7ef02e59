"""Given geometry against scipy.ndimage and against exact moves of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxdl.data import augmentation as aug

MODES = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "reflect": "reflect",
    "mirror": "mirror",
    "wrap": "grid-wrap",
}


@pytest.fixture
def images():
    return np.random.RandomState(0).rand(3, 7, 6, 2).astype(np.float32)


def by_scipy(images, matrix, *, order, fill, cval):
    """affine_transform counts from the corner: its offset is c - A c + b for maps about the centre c."""
    matrix = np.asarray(matrix, np.float64)
    centre = (np.array(images.shape[1:3]) - 1) / 2
    offset = centre - matrix[:, :2] @ centre + matrix[:, 2]
    options = dict(offset=offset, order=order, mode=MODES[fill], cval=cval)
    channels = [
        [ndimage.affine_transform(image[..., c], matrix[:, :2], **options) for c in range(image.shape[-1])]
        for image in images.astype(np.float64)
    ]
    return np.moveaxis(np.array(channels), 1, -1)


@pytest.mark.parametrize("fill", MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_affine_is_that_of_scipy(images, order, fill):
    matrix = np.array([[0.8, -0.45, 1.3], [0.6, 1.1, -2.2]], np.float32)
    ours = aug.affine(images, matrix, order=order, fill=fill, cval=0.3)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, by_scipy(images, matrix, order=order, fill=fill, cval=0.3), atol=2e-6)


@pytest.mark.parametrize("fill", MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_elastic_is_map_coordinates_of_scipy(images, order, fill):
    displacement = np.random.RandomState(1).uniform(-9, 9, (3, 7, 6, 2)).astype(np.float32)
    grid = np.stack(np.mgrid[:7, :6], -1)
    expected = [
        np.stack(
            [
                ndimage.map_coordinates(
                    image[..., c], np.moveaxis(grid + d, -1, 0), order=order, mode=MODES[fill], cval=2
                )
                for c in range(2)
            ],
            -1,
        )
        for image, d in zip(images.astype(np.float64), displacement, strict=True)
    ]
    np.testing.assert_allclose(aug.elastic(images, displacement, order=order, fill=fill, cval=2), expected, atol=5e-6)


@pytest.mark.parametrize("order", [0, 1])
def test_shifts_by_whole_pixels_are_exact(images, order):
    expected = np.zeros_like(images)
    expected[:, 2:, :-1] = images[:, :-2, 1:]
    np.testing.assert_array_equal(aug.shift(images, [2, -1], order=order), expected)
    rolled = np.roll(images, (2, -1), (1, 2))
    np.testing.assert_array_equal(aug.shift(images, [2, -1], order=order, fill="wrap"), rolled)
    each = aug.shift(images, np.array([[0, 0], [1, 0], [0, 3]]), order=order, fill="wrap")
    for i, offsets in enumerate([(0, 0), (1, 0), (0, 3)]):
        np.testing.assert_array_equal(each[i], np.roll(images[i], offsets, (0, 1)))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4, -1])
@pytest.mark.parametrize("size", [5, 6])
def test_quarter_turns_are_rot90(size, quarters):
    images = np.random.RandomState(2).rand(2, size, size, 3).astype(np.float32)
    turned = aug.rotate(images, 90.0 * quarters)
    np.testing.assert_array_equal(turned, np.rot90(images, quarters, (1, 2)))


def test_flips_are_reversals(images):
    np.testing.assert_array_equal(aug.flip(images, [True, False]), images[:, ::-1])
    np.testing.assert_array_equal(aug.flip(images, [False, True]), images[:, :, ::-1])
    each = aug.flip(images, np.array([[True, True], [False, False], [False, True]]))
    np.testing.assert_array_equal(each, [images[0, ::-1, ::-1], images[1], images[2, :, ::-1]])


def test_zoom_and_shear_against_scipy(images):
    stretched = by_scipy(images, [[1 / 1.5, 0, 0], [0, 1 / 0.8, 0]], order=1, fill="nearest", cval=0)
    np.testing.assert_allclose(aug.zoom(images, [1.5, 0.8], fill="nearest"), stretched, atol=2e-6)
    sheared = by_scipy(images, [[1, 0, 0], [np.tan(np.deg2rad(25)), 1, 0]], order=1, fill="constant", cval=0)
    np.testing.assert_allclose(aug.shear(images, 25.0), sheared, atol=2e-6)


def test_directions_a_user_expects():
    dot = np.zeros((1, 9, 9, 1), np.float32)
    dot[0, 1, 4] = 1  # above the centre
    where = lambda image: np.unravel_index(np.argmax(image[0, ..., 0]), (9, 9))  # noqa: E731
    assert where(aug.rotate(dot, 90.0)) == (4, 1)  # counter-clockwise: to the left
    assert where(aug.shift(dot, [2, 1])) == (3, 5)
    assert where(aug.shear(dot, 45.0)) == (1, 7)  # upper rows to the right
    block = np.zeros((1, 9, 9, 1), np.float32)
    block[0, 3:6, 3:6] = 1
    assert aug.zoom(block, [2.0, 2.0]).sum() > 3 * block.sum()


def test_identity_parameters_give_the_same_bytes(images, same_bytes):
    images = jnp.asarray(images)
    for same in (
        aug.rotate(images, 0.0), aug.shift(images, [0, 0]), aug.zoom(images, [1, 1]), aug.shear(images, 0.0),
        aug.flip(images, [False, False]), aug.elastic(images, np.zeros((7, 6, 2))),
    ):  # fmt: skip
        same_bytes(same, images)


@pytest.mark.parametrize("order", [0, 1])
def test_jit_vmap_and_single_images_agree(images, order):
    degrees = np.array([10.0, 20.0, 200.0], np.float32)
    turn = lambda x, d: aug.rotate(x, d, order=order)  # noqa: E731
    together = turn(images, degrees)
    one_by_one = jax.vmap(lambda x, d: turn(x[None], d[None])[0])(images, degrees)
    np.testing.assert_array_equal(together, one_by_one)
    np.testing.assert_allclose(jax.jit(turn)(images, degrees), together, atol=1e-6)


def test_gradients_are_those_of_differences_of_scipy():
    images = np.random.RandomState(3).rand(1, 5, 5, 1).astype(np.float32)
    weights = np.random.RandomState(4).rand(1, 5, 5, 1).astype(np.float32)

    def by_hand(degrees):
        angle = np.deg2rad(degrees)
        matrix = [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0]]
        return np.sum(by_scipy(images, matrix, order=1, fill="mirror", cval=0) * weights)

    value = lambda x, d: jnp.sum(aug.rotate(x, d, fill="mirror") * weights)  # noqa: E731
    by_image, by_angle = jax.grad(value, (0, 1))(images, 17.0)
    # Linear in the images: the gradient times the images is the value itself.
    np.testing.assert_allclose(jnp.sum(by_image * images), by_hand(17.0), rtol=1e-5)
    np.testing.assert_allclose(by_angle, (by_hand(17 + 1e-5) - by_hand(17 - 1e-5)) / 2e-5, rtol=1e-3)


def test_gradients_are_finite_at_the_identity_and_at_the_edges(images):
    for fill in MODES:
        value = lambda x, s, d, fill=fill: jnp.sum(aug.elastic(aug.shift(x, s, fill=fill), d, fill=fill) ** 2)  # noqa: E731
        grads = jax.grad(value, (0, 1, 2))(images, jnp.zeros(2), jnp.full((7, 6, 2), -30.0))
        assert all(bool(jnp.isfinite(grad).all()) for grad in grads)


def test_bfloat16_images_are_read_at_float32_points():
    images = jnp.asarray(np.random.RandomState(5).rand(1, 4, 600, 1), jnp.bfloat16)
    moved = aug.shift(images, [0, 301])
    assert moved.dtype == jnp.bfloat16
    np.testing.assert_array_equal(moved[:, :, 301:], images[:, :, :-301])
    np.testing.assert_allclose(
        aug.rotate(images, 3.0).astype(jnp.float32), aug.rotate(images.astype(jnp.float32), 3.0), atol=2**-8
    )


@pytest.mark.parametrize("order", [0, 1])
def test_what_is_not_a_number_stays_visible(images, order):
    nowhere = np.zeros((3, 7, 6, 2), np.float32)
    nowhere[0, 0, 0, 0], nowhere[1, 2, 3, 1] = np.nan, np.inf
    result = np.asarray(aug.elastic(images, nowhere, order=order))
    assert np.isnan(result).sum() == 4  # two points of two channels
    assert np.isnan(result[0, 0, 0]).all()
    assert np.isnan(result[1, 2, 3]).all()


@pytest.mark.parametrize("fill", MODES)
def test_odd_sizes(fill):
    for shape in [(2, 1, 1, 1), (1, 1, 5, 3), (1, 5, 1, 1), (0, 4, 4, 1), (2, 3, 3, 0)]:
        images = np.ones(shape, np.float32)
        turned = aug.rotate(images, 30.0, fill=fill)
        assert turned.shape == shape
        if fill != "constant":
            np.testing.assert_allclose(turned, images, rtol=1e-6)


def test_refusals(images):
    with pytest.raises(TypeError, match=r"images: expected a floating-point array; got uint8\. Scale them first"):
        aug.rotate(images.astype(np.uint8), 1.0)
    with pytest.raises(ValueError, match=r"images: expected shape \(batch, height, width, channels\); got \(7, 6, 2\)"):
        aug.affine(images[0], np.eye(2, 3))
    with pytest.raises(ValueError, match=r"matrices: expected shape \(2, 3\) .* or \(3, 2, 3\) .*; got \(2, 2\)"):
        aug.affine(images, np.eye(2))
    with pytest.raises(ValueError, match=r"degrees: expected shape \(\) for all images or \(3,\).*; got \(2,\)"):
        aug.rotate(images, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"displacement: expected shape \(7, 6, 2\) .* or \(3, 7, 6, 2\)"):
        aug.elastic(images, np.zeros((6, 7, 2)))
    with pytest.raises(ValueError, match=r"order: expected 0 \(nearest pixel\) or 1 \(linear\); got 3"):
        aug.rotate(images, 1.0, order=3)
    with pytest.raises(ValueError, match=r"order: expected 0 .* got True"):
        aug.rotate(images, 1.0, order=True)
    with pytest.raises(ValueError, match=r"fill: expected one of constant, .*, wrap; got 'edge'"):
        aug.rotate(images, 1.0, fill="edge")
    with pytest.raises(TypeError, match="cval: expected a number; got str"):
        aug.rotate(images, 1.0, cval="0")  # type: ignore[arg-type]
