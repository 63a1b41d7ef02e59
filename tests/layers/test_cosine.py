import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads

from jaxdl import layers

DRAWS = np.random.RandomState(0)
KEY = jax.random.key(0)
X = (DRAWS.randn(6, 5) + 0.5).astype(np.float32)
KERNEL = DRAWS.randn(5, 4).astype(np.float32)
IMAGES = (DRAWS.randn(2, 6, 5, 3) + 0.5).astype(np.float32)
FILTERS = DRAWS.randn(3, 2, 3, 4).astype(np.float32)


def dense(x=X, kernel=KERNEL, **options):
    return layers.CosineDense(kernel.shape[-1], **options).apply({"params": {"kernel": kernel}}, x)


def conv(x=IMAGES, kernel=FILTERS, **options):
    module = layers.CosineConv(kernel.shape[-1], kernel.shape[:-2], **options)
    return module.apply({"params": {"kernel": kernel}}, x)


def cosine(a, b, centered):
    if centered:
        return np.corrcoef(a, b)[0, 1]
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


@pytest.mark.parametrize("centered", [False, True])
def test_dense_is_the_cosine_or_pearsons_correlation(centered):
    x, kernel = X.astype(np.float64), KERNEL.astype(np.float64)
    expected = [[cosine(row, column, centered) for column in kernel.T] for row in x]
    np.testing.assert_allclose(dense(centered=centered), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("strides", "padding"), [(1, "VALID"), ((2, 1), "SAME"), (2, [(0, 1), (1, 0)])])
def test_conv_is_the_cosine_with_every_patch(centered, strides, padding):
    """Against a loop over patches; SAME is written out as the pairs it stands for at these lengths."""
    steps = (strides, strides) if isinstance(strides, int) else strides
    pairs = {"VALID": [(0, 0), (0, 0)], "SAME": [(0, 1), (0, 1)]}.get(padding) if isinstance(padding, str) else padding
    padded = np.pad(IMAGES.astype(np.float64), [(0, 0), *pairs, (0, 0)])
    height, width = ((n - k) // s + 1 for n, k, s in zip(padded.shape[1:3], FILTERS.shape[:2], steps, strict=True))
    expected = np.zeros((2, height, width, 4))
    for n, i, j, f in np.ndindex(*expected.shape):
        patch = padded[n, i * steps[0] : i * steps[0] + 3, j * steps[1] : j * steps[1] + 2]
        expected[n, i, j, f] = cosine(patch.ravel(), FILTERS[..., f].astype(np.float64).ravel(), centered)
    found = conv(centered=centered, strides=strides, padding=padding)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("layer", [dense, conv])
def test_values_and_invariance(layer, centered):
    default = layer.__defaults__
    y = layer(centered=centered)
    assert np.max(np.abs(y)) <= 1 + 1e-6
    np.testing.assert_allclose(layer(100 * default[0], centered=centered), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(kernel=0.01 * default[1], centered=centered), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(-default[0], centered=centered), -y, rtol=1e-5, atol=1e-6)
    parallel = default[1].reshape(-1, 4)[:, 0]
    if layer is dense:
        assert float(dense(3 * parallel[None], centered=centered)[0, 0]) == pytest.approx(1, abs=1e-6)
    else:
        alike = 3 * parallel.reshape(1, 3, 2, 3)
        assert float(conv(alike, padding="VALID", centered=centered)[0, 0, 0, 0]) == pytest.approx(1, abs=1e-6)


def test_centering_ignores_an_offset():
    np.testing.assert_allclose(dense(X + 7, centered=True), dense(centered=True), rtol=1e-4, atol=1e-5)
    assert np.max(np.abs(dense(X + 7) - dense())) > 0.1


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("layer", [dense, conv])
def test_zero_and_constant_inputs_and_zero_weights(layer, centered):
    """0 in place of 0/0, and derivatives of at most 1 / epsilon."""
    x, kernel = layer.__defaults__
    constants = [np.full_like(x, value) for value in (0.1, 1000.1)] if centered else []
    cases = [(x, np.zeros_like(kernel)), (np.zeros_like(x), kernel), *((constant, kernel) for constant in constants)]
    for inputs, weights in cases:
        y, backward = jax.vjp(lambda x, k: layer(x, k, centered=centered), inputs, weights)
        if layer is conv and inputs.any():
            y = y[:, 1:-1, :-1]  # the patches without padding
        np.testing.assert_allclose(y, 0, atol=1e-4)
        for grad in backward(jnp.ones_like(layer(inputs, weights, centered=centered))):
            assert np.all(np.isfinite(grad))
            assert np.max(np.abs(grad)) <= 4 * 6 * 1e6


def test_constant_inputs_have_no_correlation_whatever_the_constant():
    """In float32 the mean of equal numbers is not always that number, and what is left over is no signal."""
    constants = (1000 * DRAWS.randn(300, 1)).astype(np.float32)
    np.testing.assert_allclose(dense(np.repeat(constants, 5, 1), centered=True), 0, atol=1e-4)
    images = np.tile(constants.reshape(300, 1, 1, 1), (1, 3, 2, 3))
    np.testing.assert_allclose(conv(images, centered=True, padding="VALID"), 0, atol=1e-4)


def test_the_slope_at_zero_is_bounded_by_epsilon():
    """Below epsilon the layer is linear: y = (w / |w|) . x / epsilon."""
    slope = jax.jacobian(lambda x: dense(x[None], epsilon=0.01)[0])(jnp.zeros(5))
    np.testing.assert_allclose(slope, (KERNEL / np.linalg.norm(KERNEL, axis=0)).T / 0.01, rtol=1e-5)


@pytest.mark.parametrize(("share", "factor"), [(0.9, 0.9), (1.1, 1.0)])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("layer", [dense, conv])
def test_a_norm_below_epsilon_counts_as_epsilon_and_no_other(layer, centered, share, factor):
    """Parallel to the weights the cosine is |x| / epsilon below, and 1 from there on."""
    weights = layer.__defaults__[1][..., :1].astype(np.float64)
    weights -= weights.mean() if centered else 0
    x = (share * 0.5 * weights / np.linalg.norm(weights))[..., 0][None].astype(np.float32)
    options = {"padding": "VALID"} if layer is conv else {}
    y = layer(x, weights.astype(np.float32), epsilon=0.5, centered=centered, **options)
    np.testing.assert_allclose(y, factor, rtol=1e-5)


@pytest.mark.parametrize("layer", [dense, conv])
def test_gradients_against_central_differences(layer):
    x, kernel = (jnp.asarray(a) for a in layer.__defaults__)
    for centered in (False, True):
        check_grads(lambda x, k: layer(x, k, centered=centered), (x, kernel), 1, atol=1e-2, rtol=1e-2)  # noqa: B023


def test_ten_classes_are_capped_without_a_scale():
    """Even a perfect output, +1 for its class and -1 for the others, has probability e / (e + 9/e) = 0.451."""
    best = 2 * jnp.eye(10) - 1
    cap = np.e / (np.e + 9 / np.e)
    assert cap == pytest.approx(0.451, abs=5e-4)
    np.testing.assert_allclose(jax.nn.softmax(best).max(1), cap, rtol=1e-6)
    random = [layers.CosineDense(10, kernel_init=nn.initializers.normal()).init_with_output(k, X)[0]
              for k in jax.random.split(KEY, 20)]  # fmt: skip
    assert np.max(jax.nn.softmax(jnp.stack(random))) < cap
    # Weights that are the class's own direction and inputs along it: as close as ten unit vectors come.
    simplex = np.eye(10) - 0.1
    close = layers.CosineDense(10).apply({"params": {"kernel": simplex}}, jnp.asarray(simplex, jnp.float32))
    assert np.max(jax.nn.softmax(close)) < cap
    scaled = layers.CosineDense(10, use_scale=True)
    params = {"kernel": simplex, "scale": jnp.full(10, 10.0)}
    assert np.min(jax.nn.softmax(scaled.apply({"params": params}, jnp.asarray(simplex, jnp.float32))).max(1)) > 0.99


@pytest.mark.parametrize(
    "make", [lambda **o: layers.CosineDense(4, **o), lambda **o: layers.CosineConv(4, (3, 3), **o)]
)
def test_scale_and_parameters(make):
    module = make(use_scale=True, scale_init=nn.initializers.constant(3.0))
    variables = module.init(KEY, IMAGES)
    assert set(variables["params"]) == {"kernel", "scale"}
    plain = make().apply({"params": {"kernel": variables["params"]["kernel"]}}, IMAGES)
    np.testing.assert_allclose(module.apply(variables, IMAGES), 3 * plain, rtol=1e-6)
    assert set(make().init(KEY, IMAGES)["params"]) == {"kernel"}


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    "make", [lambda **o: layers.CosineDense(4, **o), lambda **o: layers.CosineConv(4, (3, 3), **o)]
)
def test_half_precision_and_transformations(make, centered):
    module = make(dtype="bfloat16", centered=centered)
    variables = module.init(KEY, IMAGES)
    full = make(centered=centered).apply(variables, IMAGES)
    half = jax.jit(module.apply)(variables, jnp.asarray(300 * IMAGES, "bfloat16"))
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.astype("float32"), full, atol=0.02)
    large = jnp.asarray(300 * IMAGES, "float16")  # their squares are beyond float16
    np.testing.assert_allclose(make(dtype="float16", centered=centered).apply(variables, large), full, atol=0.01)
    one_by_one = jax.vmap(lambda x: make(centered=centered).apply(variables, x))(IMAGES)  # without a batch axis
    np.testing.assert_allclose(one_by_one, full, rtol=1e-5, atol=1e-6)


def test_other_numbers_of_axes():
    series = DRAWS.randn(2, 9, 3).astype(np.float32)
    assert layers.CosineConv(4, 3).init_with_output(KEY, series)[0].shape == (2, 9, 4)
    volume = DRAWS.randn(2, 4, 5, 6, 1).astype(np.float32)
    y = layers.CosineConv(4, (2, 2, 2), padding="VALID").init_with_output(KEY, volume)[0]
    assert y.shape == (2, 3, 4, 5, 4)
    stacked = np.stack([IMAGES, IMAGES])
    np.testing.assert_allclose(conv(stacked)[1], conv(), rtol=1e-6)
    assert conv(IMAGES[:0]).shape == (0, 6, 5, 4)
    assert dense(X[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features: expected a whole number >= 1; got 0"),
        ({"epsilon": 0.0}, "epsilon: expected one finite number >= 1e-18; got 0.0. It is the least norm"),
        ({"padding": "FULL"}, "padding: expected 'SAME', 'VALID' or pairs; got 'FULL'"),
        ({"padding": [(1, 1)]}, r"padding: expected one pair \(low, high\) an axis of kernel_size=\(3, 3\); got"),
        ({"kernel_size": (9, 9), "padding": "VALID"}, r"x: expected at least \(9, 9\) positions .*; got \(6, 5\)"),
        ({"kernel_size": (1, 1, 1, 1)}, r"x: expected 4 axes of positions and one of channels .*; got shape \(2, 6"),
    ],
)
def test_arguments_that_make_no_layer(options, message):
    with pytest.raises(ValueError, match=message):
        layers.CosineConv(**{"features": 4, "kernel_size": (3, 3), **options}).init(KEY, IMAGES)
