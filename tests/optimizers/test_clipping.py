"""Clipping by layer and by example against NumPy, and every row of the table of edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.optimizers import clip_by_global_norm, clip_by_value, clip_each_layer, clip_examples

DRAWS = np.random.RandomState(0)
GRADS = {
    "Dense_0": {"kernel": 10 * DRAWS.randn(4, 3), "bias": 10 * DRAWS.randn(3)},
    "block": {"Dense_0": {"kernel": 0.1 * DRAWS.randn(3, 2), "bias": 0.1 * DRAWS.randn(2)}},
    "scale": DRAWS.randn(5),
}
LAYERS = [("Dense_0",), ("block", "Dense_0"), ("scale",)]


def jnp_tree(grads, dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), grads, is_leaf=lambda node: isinstance(node, list))


def clipped(tx, grads):
    return tx.update(grads, tx.init(grads))[0]


def layer(grads, path):
    for name in path:
        grads = grads[name]
    return grads


def long(grads):
    """All leaves as one vector, in float64."""
    return np.concatenate([np.ravel(np.asarray(leaf).astype(np.float64)) for leaf in jax.tree.leaves(grads)])


@pytest.mark.parametrize("bound", [0.2, 1.0, 7.0, 1e4])
def test_each_layer_by_its_own_norm(bound):
    found = clipped(clip_each_layer(bound), jnp_tree(GRADS))
    shortened = 0
    for path in LAYERS:
        vector = long(layer(GRADS, path))
        factor = min(1, bound / np.linalg.norm(vector))
        np.testing.assert_allclose(long(layer(found, path)), vector * factor, rtol=1e-6)
        shortened += factor < 1
    assert shortened == {0.2: 3, 1.0: 2, 7.0: 1, 1e4: 0}[bound]


def test_one_exploding_layer_does_not_shrink_the_steps_of_the_others():
    grads = jnp_tree({"a": {"kernel": [3e8, 4e8]}, "b": {"kernel": [0.3, 0.4]}})
    by_layer, by_norm = clipped(clip_each_layer(1.0), grads), clipped(clip_by_global_norm(1.0), grads)
    np.testing.assert_allclose(by_layer["a"]["kernel"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(by_layer["b"]["kernel"], grads["b"]["kernel"])
    np.testing.assert_allclose(by_norm["b"]["kernel"], [0.6e-9, 0.8e-9], rtol=1e-5)


def test_only_the_leaves_chosen_are_clipped_and_counted():
    grads = jnp_tree({"a": {"kernel": [[3.0], [4.0]], "bias": [100.0]}})
    found = clipped(clip_each_layer(1.0, where="**/kernel"), grads)
    np.testing.assert_allclose(found["a"]["kernel"], [[0.6], [0.8]], rtol=1e-6)
    np.testing.assert_array_equal(found["a"]["bias"], [100])
    with pytest.raises(ValueError, match=r"where='\*\*/scale' matches no leaf\. The paths are: a/bias, a/kernel"):
        clip_each_layer(1.0, where="**/scale").init(grads)


def test_examples_against_numpy_and_the_sum_of_optax():
    grads = {"w": DRAWS.randn(7, 3, 2) * np.geomspace(0.01, 10, 7).reshape(7, 1, 1), "b": DRAWS.randn(7, 2)}
    mean, share = clip_examples(jnp_tree(grads), 2.0)
    norms = np.sqrt(np.square(grads["w"]).sum((1, 2)) + np.square(grads["b"]).sum(1))
    factors = np.minimum(1, 2 / norms)
    np.testing.assert_allclose(mean["w"], np.mean(factors[:, None, None] * grads["w"], 0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mean["b"], np.mean(factors[:, None] * grads["b"], 0), rtol=1e-5, atol=1e-7)
    assert float(share) == pytest.approx(np.mean(norms > 2))
    assert 0 < share < 1
    theirs, count = optax.per_example_global_norm_clip(jnp_tree(grads), 2.0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(7 * a, b, rtol=1e-5, atol=1e-6), mean, theirs)
    assert int(count) == round(7 * float(share))


def test_one_example_moves_the_mean_by_c_over_b_at_most():
    grads = jnp_tree({"w": DRAWS.randn(8, 5)})
    far = {"w": grads["w"].at[3].set(1e9)}
    moved = clip_examples(far, 0.5)[0]["w"] - clip_examples({"w": grads["w"].at[3].set(0)}, 0.5)[0]["w"]
    assert np.linalg.norm(moved) == pytest.approx(0.5 / 8, rel=1e-4)


def test_where_nothing_is_long_it_is_the_gradient_of_the_mean_loss():
    x, y = jnp_tree((DRAWS.randn(6, 4), DRAWS.randn(6)))
    loss = lambda w, x, y: jnp.square(jnp.dot(x, w) - y)  # noqa: E731
    each = jax.vmap(jax.grad(loss), (None, 0, 0))(jnp.ones(4), x, y)
    mean, share = clip_examples(each, 1e6)
    whole = jax.grad(lambda w: jnp.mean(jax.vmap(loss, (None, 0, 0))(w, x, y)))(jnp.ones(4))
    np.testing.assert_allclose(mean, whole, rtol=1e-5)
    assert float(share) == 0


# The table of jaxdl.optimizers.clipping, row by row


def all_four(values, bound, dtype=jnp.float32):
    """Two layers, the second [0.25]: by value, by global norm, by layer, and as the only example."""
    grads = {"a": {"w": jnp.asarray(values, dtype)}, "b": {"w": jnp.full(1, 0.25, dtype)}}
    transformed = [clipped(tx(bound), grads) for tx in (clip_by_value, clip_by_global_norm, clip_each_layer)]
    mean, share = clip_examples(jax.tree.map(lambda leaf: leaf[None], grads), bound)
    for result in (*transformed, mean):
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(dtype)}
    return [np.concatenate([np.asarray(r[k]["w"]).astype(np.float64) for k in "ab"]) for r in (*transformed, mean)], (
        float(share)
    )


def close(found, *expected, rtol=1e-6):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol)


def test_within_the_bound_and_zero():
    found, share = all_four([0.5, -0.25], 1.0)
    for result in found:
        np.testing.assert_array_equal(result, [0.5, -0.25, 0.25])
    with jax.debug_nans(True):
        found, share = all_four([0.0, -0.0], 1.0)
    for result in found:
        np.testing.assert_array_equal(result, [0, 0, 0.25])
    for result in found[:3]:
        assert np.signbit(result[1]), "same bits"
    assert share == 0
    zeros = {"w": jnp.zeros((3, 2))}
    with jax.debug_nans(True):
        mean, share = clip_examples(zeros, 1.0)
    np.testing.assert_array_equal(mean["w"], [0, 0])


def test_of_norm_c():
    tx = clip_each_layer(5.0)
    np.testing.assert_array_equal(clipped(tx, {"w": jnp.array([3.0, 4.0])})["w"], [3, 4])
    mean, share = clip_examples({"w": jnp.array([[3.0, 4.0]])}, 5.0)
    np.testing.assert_array_equal(mean["w"], [3, 4])
    assert float(share) == 0
    np.testing.assert_allclose(clipped(clip_by_global_norm(5.0), {"w": jnp.array([3.0, 4.0])})["w"], [3, 4], rtol=1e-6)


def test_no_leaf():
    for tx in (clip_by_value(1.0), clip_by_global_norm(1.0), clip_each_layer(1.0)):
        assert clipped(tx, {}) == {}
    with pytest.raises(ValueError, match="grads: expected arrays that share one leading example axis"):
        clip_examples({}, 1.0)
    np.testing.assert_array_equal(clipped(clip_each_layer(1.0), {"w": jnp.zeros((0, 3))})["w"], np.zeros((0, 3)))


def test_nan():
    found, share = all_four([np.nan, 0.5], 0.3)
    nan = np.nan
    close(found, [nan, 0.3, 0.25], [nan, nan, nan], [nan, nan, 0.25], [nan, nan, nan])
    assert share == 0


def test_infinity():
    found, share = all_four([-np.inf, 0.5], 0.3)
    close(found, [-0.3, 0.3, 0.25], [np.nan, 0, 0], [np.nan, 0, 0.25], [np.nan, 0, 0])
    assert share == 1


@pytest.mark.parametrize(("size", "dtype"), [(1e20, jnp.float32), (3e38, jnp.float32), (300.0, jnp.float16),
                                             (1e20, jnp.bfloat16)])  # fmt: skip
def test_finite_but_with_squares_that_overflow(size, dtype):
    found, share = all_four([size, -size], 1.0, dtype)
    half, rest = np.sqrt(0.5), 0.25 / size / np.sqrt(2)
    tolerance = {2: 2**-7, 4: 1e-6}[jnp.dtype(dtype).itemsize]
    close(found[:1], [1, -1, 0.25])
    close(found[1:2], [0, 0, 0])
    close(found[2:3], [half, -half, 0.25], rtol=tolerance)
    np.testing.assert_allclose(found[3], [half, -half, rest], rtol=tolerance, atol=1e-37)
    assert share == 1


def test_finite_but_with_squares_that_underflow():
    grads = {"w": jnp.array([3e-30, 4e-30])}
    np.testing.assert_allclose(clipped(clip_each_layer(1e-31), grads)["w"], [0.6e-31, 0.8e-31], rtol=1e-6)
    np.testing.assert_array_equal(clipped(clip_by_global_norm(1e-31), grads)["w"], grads["w"])
    mean, share = clip_examples({"w": grads["w"][None]}, 1e-31)
    np.testing.assert_allclose(mean["w"], [0.6e-31, 0.8e-31], rtol=1e-6)
    assert float(share) == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_counts_in_float32(dtype):
    """4096 entries of 1 have norm 64; added up in bfloat16 they would make 256."""
    grads = {"w": jnp.ones(4096, dtype)}
    found = clipped(clip_each_layer(1.0), grads)["w"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found).astype(np.float64), np.full(4096, 1 / 64))
    mean, _ = clip_examples({"w": jnp.ones((512, 3), dtype)}, 10.0)
    assert mean["w"].dtype == dtype
    np.testing.assert_array_equal(np.asarray(mean["w"]).astype(np.float64), [1, 1, 1])


# Contracts


def test_norms_never_exceed_the_bound():
    for dtype, slack in ((jnp.float32, 1e-6), (jnp.bfloat16, 2**-8), (jnp.float16, 2**-10)):
        for size in (1.0, 1e2, 1e4):
            found = clipped(clip_each_layer(0.7), jnp_tree({"w": size * DRAWS.randn(50)}, dtype))["w"]
            assert np.linalg.norm(np.asarray(found).astype(np.float64)) <= 0.7 * (1 + slack)


def test_under_jit_vmap_and_with_an_injected_bound():
    grads = jnp_tree({"w": [3.0, 4.0]})
    norms = jax.jit(jax.vmap(lambda bound: jnp.linalg.norm(clipped(clip_each_layer(bound), grads)["w"])))
    np.testing.assert_allclose(norms(jnp.array([0.5, 2.0, 9.0])), [0.5, 2.0, 5.0], rtol=1e-6)
    many = jax.vmap(clip_examples, (None, 0))({"w": grads["w"][None]}, jnp.array([0.5, 9.0]))
    np.testing.assert_allclose(many[0]["w"], [[0.3, 0.4], [3, 4]], rtol=1e-6)
    np.testing.assert_array_equal(many[1], [1, 0])
    injected = optax.inject_hyperparams(clip_each_layer, static_args="where")(max_norm=lambda n: 1.0 / (1 + n))
    state = injected.init(grads)
    for n in range(3):
        updates, state = injected.update(grads, state, grads)
        assert float(jnp.linalg.norm(updates["w"])) == pytest.approx(1 / (1 + n), rel=1e-6)


def test_derivatives_through_it_are_finite_at_zero_and_those_of_the_formula():
    total = lambda w: jnp.sum(clipped(clip_each_layer(1.0), {"w": w})["w"])  # noqa: E731
    np.testing.assert_array_equal(jax.grad(total)(jnp.zeros(3)), np.ones(3))
    w = np.array([3.0, 4.0])
    expected = 1 / 5 - w * w.sum() / 125
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(w, jnp.float32)), expected, rtol=1e-5)


def test_in_front_of_a_chain_in_a_training_step(digits_like):
    """Plain descent from 0 with rate 1: the parameters are minus the clipped gradient."""
    x, t = digits_like[0].reshape(120, -1), digits_like[1]
    objective = lambda params, batch, *, model_state, key, train: (  # noqa: E731
        1e3 * jnp.square(batch[0] @ params["dense"]["kernel"] + params["dense"]["bias"] - batch[1]),
        training.Aux(model_state, {}),
    )
    params = {"dense": {"kernel": jnp.zeros(16), "bias": jnp.zeros(())}}
    tx = optax.chain(clip_each_layer(0.5), optax.sgd(1.0))
    step = training.make_train_step(objective, tx)
    state, _ = jax.jit(step)(training.make_state(params, tx, key=jax.random.key(0)), (x, t.astype(np.float32)))
    slope = np.append(-2e3 * (x * t[:, None]).mean(0), -2e3 * t.mean())
    expected = -slope * 0.5 / np.linalg.norm(slope)
    np.testing.assert_allclose(state.params["dense"]["kernel"], expected[:-1], rtol=1e-4)
    np.testing.assert_allclose(state.params["dense"]["bias"], expected[-1], rtol=1e-4)


# Errors


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf, "1", True, jnp.ones(2)])
def test_bounds_that_are_none(bound):
    for call in (lambda: clip_each_layer(bound), lambda: clip_examples({"w": jnp.ones((2, 3))}, bound)):
        with pytest.raises(ValueError, match=r"max_norm: expected one finite number > 0; got .* 1\.0 is usual"):
            call()


def test_examples_that_do_not_agree_in_number():
    with pytest.raises(ValueError, match=r"grads: expected arrays that share .* got b: 3, w: 2"):
        clip_examples({"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, 1.0)
