import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl import layers
from tests.reference import batch_renorm as reference

DRAWS = np.random.RandomState(0)
X = DRAWS.randn(8, 5) * [0.3, 1, 2, 5, 1] + [0, 1, -3, 4, 9]
WEIGHTS = DRAWS.randn(8, 5)
STATS = {"mean": DRAWS.randn(5), "var": DRAWS.rand(5) + 0.5}
PARAMS = {"scale": DRAWS.rand(5) + 0.5, "bias": DRAWS.randn(5)}
VARIABLES = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {"params": PARAMS, "batch_stats": STATS})


def outputs_and_gradients(module, x=X, variables=VARIABLES, **options):
    """Output, state, and gradients of a weighted sum of the output by x and by the parameters."""

    def run(x, params):
        y, updated = module.apply(
            {**variables, "params": params}, x, use_running_average=False, mutable=["batch_stats"], **options
        )
        return jnp.sum(y * jnp.asarray(WEIGHTS, jnp.float32).reshape(y.shape)), (y, updated)

    x = jnp.asarray(x, jnp.float32)
    grads, (y, updated) = jax.grad(run, (0, 1), has_aux=True)(x, variables["params"])
    return y, updated["batch_stats"], grads


def test_forward_state_and_gradient_against_numpy():
    """Both clips bind in some channels and not in others."""
    r_max, d_max = 1.5, 2.0
    r, d = reference.corrections(X, **STATS, r_max=r_max, d_max=d_max)
    assert {1 / r_max, r_max} < set(r.tolist())
    assert {-d_max, d_max} < set(d.tolist())
    y, stats, (by_x, by_params) = outputs_and_gradients(layers.BatchRenorm(momentum=0.9, r_max=r_max, d_max=d_max))
    np.testing.assert_allclose(y, reference.forward(X, r, d, **PARAMS), rtol=1e-5, atol=1e-5)
    mean, var = reference.updated(X, **STATS, momentum=0.9)
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)
    expected_x, expected_scale, expected_bias = reference.gradients(X, r, d, **PARAMS, weights=WEIGHTS)
    np.testing.assert_allclose(by_x, expected_x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_params["scale"], expected_scale, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_params["bias"], expected_bias, rtol=1e-5, atol=1e-5)


def test_without_correction_it_is_batch_norm():
    renorm = outputs_and_gradients(layers.BatchRenorm(momentum=0.9, r_max=1, d_max=0))
    norm = outputs_and_gradients(nn.BatchNorm(momentum=0.9, use_fast_variance=False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), renorm, norm)


def test_with_wide_clips_training_agrees_with_evaluation():
    """Each is (x - mean) / sigma with the running statistics."""
    module = layers.BatchRenorm(r_max=1e6, d_max=float("inf"))
    y, _, _ = outputs_and_gradients(module)
    expected = PARAMS["scale"] * (X - STATS["mean"]) / np.sqrt(STATS["var"] + 1e-5) + PARAMS["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    evaluated = module.apply(VARIABLES, jnp.asarray(X, jnp.float32), use_running_average=True)
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-5)


def test_takes_over_the_state_of_a_batch_norm():
    x = jnp.asarray(X, jnp.float32)
    theirs = nn.BatchNorm().init(jax.random.key(0), x, use_running_average=True)
    ours = layers.BatchRenorm().init(jax.random.key(0), x, use_running_average=True)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    expected = nn.BatchNorm().apply(VARIABLES, x, use_running_average=True)
    np.testing.assert_array_equal(layers.BatchRenorm().apply(VARIABLES, x, use_running_average=True), expected)


def test_bounds_that_follow_a_schedule():
    """The schedule counts the training batches seen; here plain batch norm for two batches, and then no bound."""
    r_max = optax.piecewise_constant_schedule(1.0, {2: 1e6})
    module = layers.BatchRenorm(r_max=r_max, d_max=lambda count: 1e6 * (count >= 2))
    variables = module.init(jax.random.key(0), jnp.asarray(X, jnp.float32), use_running_average=True)
    assert variables["batch_stats"]["count"] == 0
    stats = {**VARIABLES["batch_stats"], "count": jnp.zeros((), jnp.int32)}
    for seen in range(4):
        state = {"params": VARIABLES["params"], "batch_stats": stats}
        bound = 1e6 if seen >= 2 else None
        plain = layers.BatchRenorm(r_max=bound or 1, d_max=bound or 0)
        expected, _, _ = outputs_and_gradients(plain, variables={**state, "batch_stats": {**stats}})
        y, stats, _ = outputs_and_gradients(module, variables=state)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        assert stats["count"] == seen + 1
    evaluated = module.apply(VARIABLES, jnp.asarray(X, jnp.float32), use_running_average=True)  # without a count
    assert np.all(np.isfinite(evaluated))


def test_there_is_no_counter_without_a_schedule():
    _, stats, _ = outputs_and_gradients(layers.BatchRenorm())
    assert set(stats) == {"mean", "var"}


def test_large_offsets_keep_their_variance():
    """E[x^2] - E[x]^2, flax's default, is all rounding here."""
    x = X + 1e4
    y, _, _ = outputs_and_gradients(layers.BatchRenorm(r_max=1, d_max=0), x)
    expected = reference.forward(x.astype(np.float32).astype(np.float64), 1, 0, **PARAMS)
    np.testing.assert_allclose(y, expected, rtol=5e-3, atol=5e-3)  # the inputs themselves are rounded to 1e-3
    fast, _, _ = outputs_and_gradients(layers.BatchRenorm(r_max=1, d_max=0, use_fast_variance=True), x)
    assert not np.allclose(fast, expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("axis", [-1, 1, (1, 3)])
def test_images_and_other_axes(axis):
    """Against nn.BatchNorm on the same axes, and against itself with wide clips."""
    x = jnp.asarray(DRAWS.randn(4, 3, 2, 5), jnp.float32)
    options = {"axis": axis, "use_running_average": False, "momentum": 0.9}
    ours, theirs = layers.BatchRenorm(r_max=1, d_max=0, **options), nn.BatchNorm(use_fast_variance=False, **options)
    variables = theirs.init(jax.random.key(0), x)
    (y, state), (expected, expected_state) = (m.apply(variables, x, mutable=["batch_stats"]) for m in (ours, theirs))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, expected_state)
    wide, _ = layers.BatchRenorm(r_max=1e6, d_max=1e6, **options).apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(wide, x / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-5)  # running mean 0 and variance 1


def test_masked_positions_do_not_count():
    padded = np.concatenate([X, 100 * DRAWS.randn(3, 5)])
    mask = np.arange(11) < 8
    module = layers.BatchRenorm(use_running_average=False, momentum=0.9)
    y, state = module.apply(
        VARIABLES, jnp.asarray(padded, jnp.float32), mask=jnp.asarray(mask)[:, None], mutable=["batch_stats"]
    )
    expected, expected_state = module.apply(VARIABLES, jnp.asarray(X, jnp.float32), mutable=["batch_stats"])
    np.testing.assert_allclose(y[:8], expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state, expected_state)


def test_statistics_of_a_named_axis_are_those_of_the_whole_batch():
    x = jnp.asarray(X, jnp.float32)
    halves = layers.BatchRenorm(use_running_average=False, axis_name="devices")
    apply = jax.vmap(lambda x: halves.apply(VARIABLES, x, mutable=["batch_stats"]), axis_name="devices")
    y, state = apply(x.reshape(2, 4, 5))
    whole, whole_state = layers.BatchRenorm(use_running_average=False).apply(VARIABLES, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y.reshape(8, 5), whole, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-5), state, whole_state)
    assert halves.init(jax.random.key(0), x)["batch_stats"]["mean"].shape == (5,)  # without the axis in sight


@pytest.mark.parametrize(("dtype", "expected"), [(None, "float32"), ("bfloat16", "bfloat16")])
def test_half_precision_inputs_have_float32_statistics(dtype, expected):
    module = layers.BatchRenorm(use_running_average=False, dtype=dtype)
    y, state = module.apply(VARIABLES, jnp.asarray(X, "bfloat16"), mutable=["batch_stats"])
    assert (
        y.dtype
        == expected
        == nn.BatchNorm(use_running_average=True, dtype=dtype).apply(VARIABLES, jnp.asarray(X, "bfloat16")).dtype
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}


def test_half_precision_inputs_are_normalized_in_float32():
    """The rounding of x alone is left: r and d act on numbers of full precision."""
    x = np.asarray(jnp.asarray(X, "bfloat16"))
    y, _ = layers.BatchRenorm(use_running_average=False).apply(VARIABLES, x, mutable=["batch_stats"])
    x = x.astype(np.float64)
    r, d = reference.corrections(x, **STATS, r_max=3.0, d_max=5.0)
    np.testing.assert_allclose(y, reference.forward(x, r, d, **PARAMS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integer_inputs_are_normalized_as_floats(dtype):
    """Without scale and bias too, where no parameter lends its dtype."""
    x = jnp.asarray(DRAWS.randint(0, 200, (8, 5)), dtype)
    module = layers.BatchRenorm(use_running_average=False, use_scale=False, use_bias=False, r_max=1, d_max=0)
    y, _ = module.apply({"batch_stats": VARIABLES["batch_stats"]}, x, mutable=["batch_stats"])
    assert y.dtype == jnp.float32
    pixels = np.asarray(x, np.float64)
    np.testing.assert_allclose(y, (pixels - pixels.mean(0)) / np.sqrt(pixels.var(0) + 1e-5), rtol=1e-5, atol=1e-5)


@pytest.fixture
def float64_mode():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_keep_their_dtype_in_float64_mode(float64_mode, dtype):
    """A scan over steps carries them."""
    module = layers.BatchRenorm(use_running_average=False)
    y, state = module.apply(VARIABLES, jnp.asarray(X, dtype), mutable=["batch_stats"])
    assert y.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float32")}


@pytest.mark.parametrize("use", ["use_scale", "use_bias"])
def test_without_scale_or_bias(use):
    module = layers.BatchRenorm(use_running_average=False, r_max=1e6, d_max=1e6, **{use: False})
    x = jnp.asarray(X, jnp.float32)
    variables = module.init(jax.random.key(0), x)
    assert set(variables["params"]) == {"scale", "bias"} - {use.removeprefix("use_")}
    y, _ = module.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, X / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-5)


def test_one_example_and_a_constant_channel_stay_finite():
    y, _, grads = outputs_and_gradients(layers.BatchRenorm(), np.zeros((8, 5)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((y, grads)))
    single = layers.BatchRenorm(use_running_average=False)
    assert np.all(np.isfinite(single.apply(VARIABLES, jnp.ones((1, 5)), mutable=["batch_stats"])[0]))


@pytest.mark.parametrize(("bound", "minimum"), [("r_max", 1), ("d_max", 0)])
def test_bounds_out_of_range(bound, minimum):
    with pytest.raises(
        ValueError, match=rf"{bound}: expected one number >= {minimum}; got -0.5.*is batch normalization"
    ):
        outputs_and_gradients(layers.BatchRenorm(**{bound: -0.5}))


def test_half_precision_reductions_are_refused():
    with pytest.raises(ValueError, match=r"force_float32_reductions: expected True.*got False"):
        outputs_and_gradients(layers.BatchRenorm(force_float32_reductions=False))
