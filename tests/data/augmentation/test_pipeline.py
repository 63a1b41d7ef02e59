"""Random augmentation: its laws, its distributions, and one composed resampling against scipy.ndimage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import jaxdl
from jaxdl.data import Standardizer, augmentation, make_augmentation
from jaxdl.data.augmentation import pipeline

ALL = dict(
    rotation=20, shift=0.1, zoom=0.2, stretch=(0.9, 1.2), shear=10, flip_horizontal=True, flip_vertical=True,
    elastic=(20.0, 3.0),
)  # fmt: skip
KEY = jax.random.key(5)


@pytest.fixture
def images():
    return np.random.RandomState(0).rand(6, 12, 10, 2).astype(np.float32)


def ramp(height, width):
    """Pixels that say where they are: linear interpolation of them is the point itself."""
    return np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float32)


def test_without_options_the_images_come_back(images):
    augment = make_augmentation()
    assert augment(KEY, images).tobytes() == images.tobytes()
    assert not jax.make_jaxpr(augment)(KEY, images).eqns


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill", ["constant", "reflect"])
def test_one_resampling_of_all_maps_composed(images, order, fill):
    # The geometry is drawn again from the key as the pipeline draws it, composed by hand in float64, and read by scipy.
    augment = make_augmentation(**ALL, order=order, fill=fill, cval=0.5)
    ours = augment(KEY, images)
    checked = 0
    for i, image in enumerate(images):
        draws_key, field_key = jax.random.split(jax.random.fold_in(KEY, i))
        u = np.asarray(jax.random.uniform(draws_key, (11,)), np.float64)
        displaced = np.mgrid[:12, :10] + np.moveaxis(
            np.asarray(augmentation.elastic_displacement(field_key, (12, 10), alpha=20.0, sigma=3.0)), -1, 0
        )
        angle, slope = np.deg2rad(40 * u[0] - 20), np.tan(np.deg2rad(20 * u[8] - 10))
        factors = (0.8 + 0.4 * u[5]) * (0.9 + 0.3 * u[6:8])
        flips = np.where(u[9:11] < 0.5, -1, 1)
        # Forward: flip, stretch, shear, rotate, shift; rows count downwards.
        forward = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        forward = forward @ [[1, 0], [-slope, 1]] @ np.diag(factors) @ np.diag(flips)
        offset = (0.2 * u[1:3] - 0.1) * [12, 10]
        centre = np.array([5.5, 4.5])
        points = np.linalg.solve(forward, displaced.reshape(2, -1) - (centre + offset)[:, None]) + centre[:, None]
        mode = {"constant": "grid-constant", "reflect": "reflect"}[fill]
        # A point half way between pixels may fall either way with order 0.
        sure = (np.abs(points % 1 - 0.5) > 1e-4).all(0).reshape(12, 10) | (order == 1)
        for c in range(2):
            read = ndimage.map_coordinates(
                image[..., c].astype(np.float64), points.reshape(2, 12, 10), order=order, mode=mode, cval=0.5
            )
            np.testing.assert_allclose(ours[i, ..., c][sure], read[sure], atol=2e-5)
            checked += sure.sum()
    assert checked > 0.95 * images.size


def test_same_key_same_bytes_and_another_key_others(images, same_bytes):
    augment = jax.jit(make_augmentation(**ALL))
    same_bytes(augment(KEY, images), augment(KEY, images))
    assert float(jnp.abs(augment(KEY, images) - augment(jax.random.key(6), images)).max()) > 0.1


def test_examples_differ_from_one_another(images):
    same = np.repeat(images[:1], 6, axis=0)
    for options in (ALL, dict(rotation=20), dict(shift=0.2), dict(elastic=(20, 3))):
        result = np.asarray(make_augmentation(**options)(KEY, same))
        assert all(np.abs(result[i] - result[j]).max() > 1e-3 for i in range(6) for j in range(i))


def test_an_example_does_not_depend_on_the_others(images, same_bytes):
    augment = make_augmentation(**ALL)
    whole = augment(KEY, images)
    # A batch of another size is another program, which may round in another way.
    np.testing.assert_allclose(augment(KEY, images[:2]), whole[:2], atol=1e-5)
    changed = images.copy()
    changed[3:] = np.nan
    same_bytes(augment(KEY, changed)[:3], whole[:3])


def test_vmap_over_keys_and_batches(images):
    augment = make_augmentation(**ALL)
    keys = jax.random.split(KEY, 2)
    stacked = jax.vmap(augment)(keys, np.stack([images, images]))
    for i in range(2):
        np.testing.assert_allclose(stacked[i], augment(keys[i], images), atol=1e-6)


def test_one_option_leaves_the_draws_of_the_others():
    image = ramp(11, 11)[None]
    turned = make_augmentation(rotation=20, fill="nearest")(KEY, image)
    both = make_augmentation(rotation=20, shift=(0.0, 1e-7), fill="nearest")(KEY, image)
    np.testing.assert_allclose(turned, both, atol=1e-4)
    assert float(jnp.abs(turned - image).max()) > 0.1


def test_no_callback_and_no_host_transfer(images):
    augment = jax.jit(make_augmentation(**ALL))
    assert "callback" not in str(jax.make_jaxpr(augment)(KEY, images))
    on_device = jax.device_put(images)
    augment(KEY, on_device)
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(augment(KEY, on_device))


def test_gradients_are_finite(images):
    augment = make_augmentation(**ALL)
    grad = jax.grad(lambda x: jnp.sum(augment(KEY, x) ** 2))(images)
    assert bool(jnp.isfinite(grad).all())
    assert float(jnp.abs(grad).max()) > 0


@pytest.mark.parametrize("order", [0, 1])
def test_images_in_any_range(images, order):
    """What a pixel becomes is a mean of pixels and cval with weights of sum 1: offset and unit go through it."""
    small = make_augmentation(**ALL, order=order, cval=0.25)(KEY, images)
    large = make_augmentation(**ALL, order=order, cval=255 * 0.25 - 300)(KEY, 255 * images - 300)
    np.testing.assert_allclose(large, 255 * small - 300, atol=1e-3)


def test_bytes_in_memory_that_the_model_scales():
    """As the docstring says; evaluation then sees the bytes, scaled alike."""
    x = np.random.RandomState(2).randint(0, 256, (6, 5, 5, 1)).astype(np.uint8)
    augment = make_augmentation(shift_pixels=(1, 1), flip_horizontal=True)
    model = jaxdl.as_model((lambda key, x: {}, lambda params, x: x / 255))
    objective = jaxdl.training.supervised(
        model, lambda outputs, y: outputs.mean((1, 2, 3)), augment=lambda key, x: augment(key, x.astype(jnp.float32))
    )
    losses = {train: objective({}, (x, x), model_state={}, key=KEY, train=train)[0] for train in (False, True)}
    np.testing.assert_allclose(losses[False], x.mean((1, 2, 3)) / 255, rtol=1e-5)
    # Flipped or not, one row and one column are pushed out.
    sums = [[kept.sum() / 25 / 255 for kept in (image[:-1, :-1], image[:-1, 1:])] for image in x.astype(np.float64)]
    assert all(np.abs(loss - np.array(of)).min() < 1e-5 for loss, of in zip(losses[True], sums, strict=True))


def test_bfloat16(images):
    augment = make_augmentation(**ALL)
    half = augment(KEY, jnp.asarray(images, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), augment(KEY, images), atol=2**-7)


def test_flips_are_fair_and_exact(images):
    many = np.repeat(images[:1], 400, axis=0)
    result = np.asarray(make_augmentation(flip_horizontal=True)(KEY, many))
    flipped = (result == images[0, :, ::-1]).all((1, 2, 3))
    assert (flipped | (result == images[0]).all((1, 2, 3))).all()
    assert abs(flipped.mean() - 0.5) < 5 * 0.5 / np.sqrt(400)  # missed once in 2 million times
    both = np.asarray(make_augmentation(flip_horizontal=True, flip_vertical=True)(KEY, many))
    kinds = [(both == images[0, ::a, ::b]).all((1, 2, 3)).mean() for a in (1, -1) for b in (1, -1)]
    assert sum(kinds) == 1
    assert max(abs(kind - 0.25) for kind in kinds) < 5 * np.sqrt(0.25 * 0.75 / 400)


def test_whole_pixels_are_exact_and_uniform():
    image = np.random.RandomState(1).rand(1, 9, 9, 1).astype(np.float32)
    for limits, offsets in ((2, range(-2, 3)), ((0, 3), range(4))):
        result = np.asarray(make_augmentation(shift_pixels=limits, fill="wrap")(KEY, np.repeat(image, 2000, 0)))
        counts = [
            (result == np.roll(image, (down, right), (1, 2))).all((1, 2, 3)).sum()
            for down in offsets
            for right in offsets
        ]
        assert sum(counts) == 2000
        share = 1 / len(counts)  # each count is within 5 deviations: missed by any once in 70,000 times
        assert np.abs(np.array(counts) - 2000 * share).max() < 5 * np.sqrt(2000 * share * (1 - share))


def test_a_whole_pixel_shift_does_not_spread_what_is_not_a_number():
    image = np.zeros((50, 5, 5, 1), np.float32)
    image[:, 2, 2] = np.nan
    assert np.isnan(make_augmentation(shift_pixels=1, flip_horizontal=True)(KEY, image)).sum() == 50


@pytest.mark.parametrize(
    ("options", "read", "low", "high"),
    [
        (dict(shift=0.2), lambda x: x[:, 5, 5, 0] - 5, -0.2 * 11, 0.2 * 11),
        (dict(shift=(0.1, 0.2)), lambda x: x[:, 5, 5, 1] - 5, -0.2 * 11, -0.1 * 11),
        (dict(zoom=0.2), lambda x: 1 / (x[:, 6, 5, 0] - x[:, 5, 5, 0]), 0.8, 1.2),
        (dict(zoom=(1.5, 2.0)), lambda x: 1 / (x[:, 5, 6, 1] - x[:, 5, 5, 1]), 1.5, 2.0),
        (dict(stretch=0.3), lambda x: 1 / (x[:, 5, 6, 1] - x[:, 5, 5, 1]), 0.7, 1.3),
        (dict(rotation=30), lambda x: np.rad2deg(np.arcsin(x[:, 5, 6, 0] - x[:, 5, 5, 0])), -30, 30),
        (dict(shear=(0, 20)), lambda x: np.rad2deg(np.arctan(x[:, 6, 5, 1] - x[:, 5, 5, 1])), 0, 20),
    ],
)
def test_ranges_are_uniform_in_their_unit(options, read, low, high):
    # The ramp shows the point read; its uniform law over n = 2000 by Kolmogorov's bound: sup |F_n - F| < 2.3 / sqrt(n)
    # is missed once in 20,000 times.
    points = np.asarray(make_augmentation(**options, fill="nearest")(KEY, np.repeat(ramp(11, 11)[None], 2000, axis=0)))
    values = np.sort(read(points.astype(np.float64)))
    uniform = (values - low) / (high - low)
    assert uniform[0] > -1e-4
    assert uniform[-1] < 1 + 1e-4
    assert np.abs(uniform - np.arange(2000) / 2000).max() < 2.3 / np.sqrt(2000)


def test_zoom_keeps_the_shape_and_stretch_does_not():
    steps = lambda x: (x[:, 6, 5, 0] - x[:, 5, 5, 0], x[:, 5, 6, 1] - x[:, 5, 5, 1])  # noqa: E731
    batch = np.repeat(ramp(11, 11)[None], 20, axis=0)
    np.testing.assert_allclose(*steps(make_augmentation(zoom=0.3, fill="nearest")(KEY, batch)), rtol=1e-4)
    down, across = steps(make_augmentation(stretch=0.3, fill="nearest")(KEY, batch))
    assert float(jnp.abs(down - across).min()) > 1e-4


def test_the_keras_recipe_of_the_lecture(digits_like):
    """Feature-wise centre and deviation, rotation 20, shifts 0.2, horizontal flip, as the docstring composes them."""
    x = digits_like[0]
    channels = Standardizer.fit(x.reshape(-1, x.shape[-1]), ddof=0)
    np.testing.assert_allclose(channels.mean, [x.mean()], rtol=1e-6)
    np.testing.assert_allclose(channels.deviation, [x.std()], rtol=1e-6)
    augment = make_augmentation(rotation=20, shift=0.2, flip_horizontal=True, fill="nearest")
    batch = jax.jit(lambda key, x: channels.transform(augment(key, x)))(KEY, x)
    assert batch.shape == x.shape
    np.testing.assert_allclose(batch, (augment(KEY, x) - x.mean()) / x.std(), atol=1e-5)
    # Keras fills with the nearest pixel, so that nothing leaves the range of the images.
    assert x.min() <= float(augment(KEY, x).min()) < float(augment(KEY, x).max()) <= x.max()
    # The trap of the listing: N steps an epoch are N / (N // batch_size) epochs.
    assert len(x) // 32 == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(rotation="20"), TypeError, r"rotation: expected a number or a pair \(low, high\); got '20'"),
        (dict(rotation=True), TypeError, "rotation: expected a number or a pair"),
        (dict(shift=(1, 2, 3)), TypeError, r"shift: expected a number or a pair \(low, high\); got \(1, 2, 3\)"),
        (dict(shift=()), TypeError, r"shift: expected a number or a pair \(low, high\); got \(\)"),
        (dict(shift=-0.1), ValueError, "shift: expected a finite number >= 0 or a pair with low <= high; got -0.1"),
        (dict(rotation=(5, -5)), ValueError, r"rotation: expected a finite number .* got \(5, -5\)"),
        (dict(rotation=np.nan), ValueError, "rotation: expected a finite number >= 0 .* got nan"),
        (dict(zoom=1), ValueError, r"zoom: expected factors > 0; got the range \(0.0, 2.0\)"),
        (dict(stretch=(-1, 2)), ValueError, r"stretch: expected factors > 0; got the range \(-1.0, 2.0\)"),
        (dict(shear=90), ValueError, r"shear: expected degrees between -90 and 90; got the range \(-90.0, 90.0\)"),
        (dict(shift_pixels=0.5), ValueError, r"shift_pixels: expected whole numbers; got the range \(-0.5, 0.5\)"),
        (dict(shift_pixels=1, shift=0.1), ValueError, r"shift_pixels: expected 0 beside shift; got \(-1.0, 1.0\) and"),
        (dict(flip_horizontal=0.5), TypeError, "flip_horizontal: expected True or False; got 0.5"),
        (dict(flip_vertical=1), TypeError, "flip_vertical: expected True or False; got 1"),
        (dict(elastic=34), TypeError, r"elastic: expected a pair \(alpha, sigma\) or None; got 34"),
        (dict(elastic=(-1, 4)), ValueError, "alpha: expected one finite number >= 0; got -1"),
        (dict(elastic=("34", 4)), ValueError, "alpha: expected one finite number >= 0; got '34'"),
        (dict(order=2), ValueError, "order: expected 0"),
    ],
)
def test_refusals_when_built(options, error, message):
    with pytest.raises(error, match=message):
        make_augmentation(**options)


def test_refusals_when_called(images):
    augment = make_augmentation(rotation=5)
    with pytest.raises(TypeError, match="key: expected one typed key"):
        augment(jax.random.split(KEY), images)
    with pytest.raises(TypeError, match="images: expected a floating-point array; got uint8"):
        augment(KEY, images.astype(np.uint8))
    with pytest.raises(ValueError, match="images: expected shape"):
        make_augmentation()(KEY, images[0])


def test_numpy_numbers_are_numbers():
    assert pipeline._range(1.0, zoom=np.float32(0.5)) == (0.5, 1.5)
