import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.diagnostics import gradient_statistics, gradient_variance, influential_examples, noise_scale
from tests.reference import example_gradients as reference


@pytest.mark.parametrize("size", [None, 1, 3, 11])
def test_against_the_gradients_written_out(small_net, size):
    losses, params, batch = small_net
    found = gradient_statistics(losses, params, batch, microbatch_size=size)
    grads = reference.gradients(params, batch)
    flat = reference.flat(grads)
    mean = flat.mean(0)
    np.testing.assert_allclose(found.norms, np.linalg.norm(flat, axis=1), rtol=1e-5)
    cosines = flat @ mean / np.linalg.norm(flat, axis=1) / np.linalg.norm(mean)
    np.testing.assert_allclose(found.cosines, cosines, rtol=1e-4, atol=1e-6)
    assert found.layers == ("hidden", "out")
    w, v = grads["hidden"]["w"].reshape(11, -1), grads["out"]["v"]
    np.testing.assert_allclose(found.mean_norm, [np.linalg.norm(g.mean(0)) for g in (w, v)], rtol=1e-5)
    variance = np.array([np.trace(np.cov(g.T)) for g in (w, v)])
    np.testing.assert_allclose(found.variance, variance, rtol=1e-4)
    np.testing.assert_allclose(found.signal_to_noise, found.mean_norm / np.sqrt(variance), rtol=1e-4)


def test_layers_stand_in_forward_order_and_what_is_not_used_comes_last():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(3, name="z_first")(x))
            return nn.Dense(2, name="a_last")(x)

    x, y = np.random.RandomState(0).rand(5, 4).astype(np.float32), np.array([0, 1, 0, 1, 1])
    params = {**Net().init(jax.random.key(0), x)["params"], "idle": {"w": jnp.ones(3)}}

    def losses(params, batch):
        used = {name: params[name] for name in ("z_first", "a_last")}
        return jaxdl.losses.softmax_cross_entropy(Net().apply({"params": used}, batch[0]), batch[1])

    found = gradient_statistics(losses, params, (x, y))
    assert found.layers == ("z_first", "a_last", "idle")
    assert float(found.mean_norm[2]) == float(found.deviation[2]) == 0.0
    assert np.isnan(found.signal_to_noise[2])


def test_the_variance_is_unbiased_over_all_batches_of_a_population():
    """Every ordered pair with replacement of four gradients: the mean of the estimates is the population's variance."""
    population = np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, 4.0], [2.0, 2.0]], np.float32)
    pairs = np.array([[population[i], population[j]] for i in range(4) for j in range(4)])
    found = jax.vmap(lambda x: gradient_statistics(lambda w, x: x @ w, jnp.ones(2), x))(pairs)
    assert float(jnp.mean(found.variance)) == pytest.approx(population.var(0).sum(), rel=1e-5)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_squares_neither_underflow_nor_overflow(size):
    x = np.array([[3.0, 4.0], [3.0, 2.0]], np.float32)
    found = gradient_statistics(lambda w, x: size * (x @ w), jnp.ones(2), x)
    np.testing.assert_allclose(found.deviation, [2**0.5 * size], rtol=1e-5)
    np.testing.assert_allclose(found.signal_to_noise, [3.0], rtol=1e-5)
    np.testing.assert_allclose(found.cosines, [0.98994949, 0.98058068], rtol=1e-5)


def test_equal_gradients_have_no_noise_and_zero_ones_no_cosine():
    x = np.ones((3, 2), np.float32)
    found = gradient_statistics(lambda w, x: x @ w, jnp.ones(2), x)
    assert float(found.deviation[0]) <= 1e-3 * float(found.mean_norm[0])
    np.testing.assert_allclose(found.cosines, 1.0, rtol=1e-6)
    rows = np.random.RandomState(0).rand(200, 1, 5).astype(np.float32) + np.zeros((1, 7, 1), np.float32)
    many = jax.vmap(lambda x: gradient_statistics(lambda w, x: x @ w, jnp.ones(5), x))(rows)
    assert np.all(many.deviation <= 1e-3 * many.mean_norm), "rounding may make a variance negative"
    x[1] = 0
    assert np.isnan(gradient_statistics(lambda w, x: x @ w, jnp.ones(2), x).cosines).tolist() == [False, True, False]
    opposed = gradient_statistics(lambda w, x: x @ w, jnp.ones(2), np.array([[1, 2], [-1, -2]], np.float32))
    assert np.isnan(opposed.cosines).all()
    nothing = gradient_statistics(lambda w, x: x @ w, jnp.ones(2), 0 * x)
    assert np.isnan(nothing.cosines).all()
    assert np.isnan(nothing.signal_to_noise).all()


def test_a_nan_stays_with_its_example_and_in_the_layers(small_net):
    losses, params, (x, y) = small_net
    y[4] = np.nan
    found = gradient_statistics(losses, params, (x, y))
    assert np.flatnonzero(np.isnan(found.norms)).tolist() == [4]
    assert np.isnan(found.mean_norm).all()
    assert np.isnan(found.deviation).all()


def test_half_precision_and_transformations(small_net):
    losses, params, batch = small_net
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    found = gradient_statistics(losses, half, batch)
    whole = gradient_statistics(losses, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half), batch)
    assert found.norms.dtype == found.deviation.dtype == jnp.float32
    np.testing.assert_allclose(found.norms, whole.norms, rtol=0.05)
    np.testing.assert_allclose(found.deviation, whole.deviation, rtol=0.05)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    many = jax.jit(jax.vmap(lambda p: gradient_statistics(losses, p, batch, microbatch_size=4)))(stacked)
    np.testing.assert_allclose(many[0].norms, gradient_statistics(losses, params, batch).norms, rtol=1e-5)


def test_errors(small_net):
    losses, params, (x, y) = small_net
    with pytest.raises(ValueError, match=r"batch: expected 2 or more examples to vary; got 1\. Pass more of them\."):
        gradient_statistics(losses, params, (x[:1], y[:1]))
    with pytest.raises(ValueError, match=r"microbatch_size: expected a whole number >= 1; got 0"):
        gradient_statistics(losses, params, (x, y), microbatch_size=0)
    with pytest.raises(ValueError, match=r"losses_fn: expected one loss per example"):
        gradient_statistics(lambda p, b: losses(p, b)[:, None], params, (x, y))
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum"):
        gradient_statistics(lambda p, b: losses(p, b) - jnp.mean(losses(p, b)), params, (x, y))


def masked(params, x):
    """What each example is multiplied by goes by its place in the batch."""
    return (x @ params) * jnp.arange(1.0, len(x) + 1)


def test_values_that_go_by_position_are_taken_as_a_whole_or_not_at_all():
    x = np.random.RandomState(0).randn(6, 2).astype(np.float32)
    found = gradient_statistics(masked, jnp.ones(2), x)
    rows = x * np.arange(1, 7)[:, None]
    np.testing.assert_allclose(found.norms, np.linalg.norm(rows, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.variance, [np.trace(np.cov(rows.T))], rtol=1e-4)
    np.testing.assert_allclose(gradient_variance(masked, jnp.ones(2), x), rows.var(0, ddof=1), rtol=1e-4)
    for measure in (gradient_statistics, gradient_variance):
        with pytest.raises(ValueError, match="expected examples that can be taken apart"):
            measure(masked, jnp.ones(2), x, microbatch_size=3)
    with pytest.raises(ValueError, match="expected examples that can be taken apart"):
        noise_scale(masked, jnp.ones(2), x, batch_size=3)
    with pytest.raises(ValueError, match="expected examples that can be taken apart"):
        influential_examples(masked, [jnp.ones(2)], x, x[:1], learning_rates=[1.0], batch_size=3)


def test_auto_takes_all_where_they_fit(small_net):
    losses, params, batch = small_net
    found = gradient_statistics(losses, params, batch, microbatch_size="auto")
    np.testing.assert_array_equal(found.norms, gradient_statistics(losses, params, batch).norms)
