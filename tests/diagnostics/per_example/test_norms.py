"""The per-example functions as a user meets them: laws, microbatches, the plan, what is refused and in which words."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.diagnostics import (
    PerExampleNorms,
    Thresholds,
    gradient_gram,
    per_example_clipped_mean,
    per_example_gradient_norms,
    per_example_gradients,
    per_example_plan,
    per_layer_gradient_norms,
)
from jaxdl.optimizers import clip_examples
from jaxdl.tree import leaf_paths
from tests.diagnostics.per_example.oracle import assert_exact, vmap_of_grad


class Net(nn.Module):
    """A convolution, a normalization, and dense layers."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(3, (2, 2))(x))
        x = nn.LayerNorm()(x).reshape(x.shape[0], -1)
        return nn.Dense(3)(nn.tanh(nn.Dense(5)(x)))


X = jax.random.normal(jax.random.key(0), (7, 4, 4, 2))
Y = jnp.arange(7) % 3
PARAMS = Net().init(jax.random.key(1), X)["params"]


def losses(params, batch):
    x, y = batch
    logits = Net().apply({"params": params}, x)
    return jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, y[:, None], 1)[:, 0]


def truth():
    """`(7, P)` gradients, one row an example."""
    grads = jax.tree.leaves(vmap_of_grad(losses, PARAMS, (X, Y)))
    return np.concatenate([np.asarray(g, np.float64).reshape(7, -1) for g in grads], 1)


def masked(key):
    """Losses with a random mask of their own making, as of dropout."""

    def fn(params, batch):
        x, y = batch
        return losses(params, (x * jax.random.bernoulli(key, 0.5, x.shape), y))

    return fn


def test_the_mean_of_the_gradients_is_the_gradient_of_the_mean():
    grads = per_example_gradients(losses, PARAMS, (X, Y))
    whole = leaf_paths(jax.grad(lambda params: losses(params, (X, Y)).mean())(PARAMS))
    for path, rows in leaf_paths(grads).items():
        np.testing.assert_allclose(rows.mean(0), whole[path], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [3, 100, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, "auto"))])
def test_microbatches_change_nothing(size):
    whole = per_layer_gradient_norms(losses, PARAMS, (X, Y))
    parts = per_layer_gradient_norms(losses, PARAMS, (X, Y), microbatch_size=size, memory_limit=20_000)
    for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    grads = per_example_gradients(losses, PARAMS, (X, Y), microbatch_size=size, memory_limit=20_000)
    for ours, theirs in zip(
        jax.tree.leaves(grads), jax.tree.leaves(per_example_gradients(losses, PARAMS, (X, Y))), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_auto_stays_under_the_limit_and_says_so(caplog):
    plan = per_example_plan(losses, PARAMS, (X, Y))
    limit = 3 * 4 * plan.numbers + 1
    with caplog.at_level(logging.INFO, logger="jaxdl"):
        per_example_gradient_norms(losses, PARAMS, (X, Y), microbatch_size="auto", memory_limit=limit)
    assert caplog.messages == [plan.expectation(7, 3)]
    assert plan.expectation(7, 3).startswith("7 examples, 3 at a time: at most 0.0 MiB")
    assert plan.table().splitlines()[1].split()[:2] == ["Conv_0/kernel", "product"]


def test_one_example_alone():
    (norm,) = per_example_gradient_norms(losses, PARAMS, (X[:1], Y[:1]))
    np.testing.assert_allclose(norm, np.linalg.norm(truth()[0]), rtol=1e-5)
    (row,) = jax.tree.leaves(per_example_gradients(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0]])))
    np.testing.assert_array_equal(row, [[3.0, 4.0]])
    np.testing.assert_allclose(gradient_gram(lambda w, x: x @ w, jnp.ones(2), jnp.array([[3.0, 4.0]])), [[25.0]])


def test_under_jit_and_vmap_of_the_parameters():
    expected = np.linalg.norm(truth(), axis=1)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), PARAMS)
    norms = jax.jit(jax.vmap(lambda params: per_example_gradient_norms(losses, params, (X, Y))))(many)
    np.testing.assert_allclose(norms[0], expected, rtol=1e-5)
    half = jax.tree.map(lambda leaf: 0.5 * leaf, PARAMS)
    np.testing.assert_allclose(norms[1], per_example_gradient_norms(losses, half, (X, Y)), rtol=1e-5)


def test_the_second_call_compiles_nothing(caplog):
    per_example_gradient_norms(losses, PARAMS, (X, Y))
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        per_example_gradient_norms(losses, PARAMS, (X + 1, Y))
    assert not [m for m in caplog.messages if "Compiling jit(_norms)" in m or "Compiling _norms" in m]


@pytest.mark.parametrize("max_norm", [0.01, 2.5, 1e3])
@pytest.mark.parametrize("size", [None, 3])
def test_the_clipped_mean_is_that_of_formed_gradients(max_norm, size):
    found, clipped = per_example_clipped_mean(losses, PARAMS, (X, Y), max_norm=max_norm, microbatch_size=size)
    expected, share = clip_examples(vmap_of_grad(losses, PARAMS, (X, Y)), max_norm)
    np.testing.assert_allclose(clipped, share)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_clipped_mean_moves_by_at_most_its_bound_when_one_example_changes():
    """The sensitivity on which DP-SGD rests: 2 c / B."""
    bound = 0.5
    other = (X.at[3].multiply(100.0), Y)
    one, two = (per_example_clipped_mean(losses, PARAMS, batch, max_norm=bound)[0] for batch in ((X, Y), other))
    moved = np.sqrt(
        sum(np.sum(np.square(a - b)) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))
    )
    assert 0 < moved <= 2 * bound / 7 * (1 + 1e-5)


def test_one_example_that_is_not_finite_spoils_the_whole_clipped_mean():
    """As in `clip_examples`: a share of it in some entries alone could be taken for a bounded gradient."""
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    batch = (jnp.array([[1.0, jnp.nan], [3.0, 4.0]]), jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    fn = lambda p, batch: batch[0] @ p["a"] + batch[1] @ p["b"]  # noqa: E731
    found, _ = per_example_clipped_mean(fn, params, batch, max_norm=1.0)
    expected, _ = clip_examples(vmap_of_grad(fn, params, batch), 1.0)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        assert np.all(np.isnan(ours))


def test_gram_matrix():
    rows = truth()
    gram = gradient_gram(losses, PARAMS, (X, Y))
    np.testing.assert_allclose(gram, rows @ rows.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jnp.sqrt(jnp.diag(gram)), per_example_gradient_norms(losses, PARAMS, (X, Y)), rtol=1e-5)


def test_random_masks_are_those_of_the_batch():
    """The gradient of the i-th loss of the very program, against one backward pass for each."""
    fn = masked(jax.random.key(5))
    rows = jax.jacrev(lambda params: fn(params, (X, Y)))(PARAMS)
    expected = np.sqrt(sum(np.sum(np.square(np.asarray(r)).reshape(7, -1), 1) for r in jax.tree.leaves(rows)))
    np.testing.assert_allclose(per_example_gradient_norms(fn, PARAMS, (X, Y)), expected, rtol=1e-5)
    for ours, theirs in zip(
        jax.tree.leaves(per_example_gradients(fn, PARAMS, (X, Y))), jax.tree.leaves(rows), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    message = (
        r"losses_fn: expected examples that can be taken apart, since they are taken in parts; got values that go by "
        r"an example's position in the batch, in \w+ at .*Put them into the batch"
    )
    for batch, size in (((X, Y), 3), ((X[:1], Y[:1]), None)):
        with pytest.raises(ValueError, match=message):
            per_example_gradient_norms(fn, PARAMS, batch, microbatch_size=size)


def test_keys_in_the_batch_may_be_taken_apart():
    keys = jax.random.split(jax.random.key(0), 7)

    def fn(params, batch):
        x, y, keys = batch
        return losses(params, (x * jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (4, 4, 2)))(keys), y))

    whole = per_example_gradient_norms(fn, PARAMS, (X, Y, keys))
    np.testing.assert_allclose(
        per_example_gradient_norms(fn, PARAMS, (X, Y, keys), microbatch_size=2), whole, rtol=1e-5
    )
    assert_exact(fn, PARAMS, (X, Y, keys))


def test_what_cannot_be_proved_falls_back_for_that_parameter_alone():
    @jax.custom_vjp
    def odd(x, w):
        return x * w

    odd.defvjp(lambda x, w: (x * w, (x, w)), lambda kept, d: (d * kept[1], 3 * jnp.sum(d * kept[0], 0, keepdims=True)))

    def fn(params, x):
        h = odd(jnp.tanh(x @ params["kernel"]), params["odd"])
        h = jax.lax.cond(True, lambda h: h + params["branch"], lambda h: h, h)
        start = jnp.broadcast_to(params["start"], (h.shape[0], 3))
        return jax.lax.scan(lambda carry, _: (jnp.sin(carry * h), None), start, None, length=2)[0].sum(1)

    params = {"kernel": X[0, :, :3, 0], "odd": X[1, :1, :3, 0], "branch": X[2, :1, :3, 0], "start": X[3, 0, :3, 0] + 1}
    x = X[:, 0, :, 1]
    methods = assert_exact(fn, params, x)
    assert methods == {"kernel": "outer", "odd": "vmap(grad)", "branch": "vmap(grad)", "start": "vmap(grad)"}
    reasons = {path: method.reason for path, method in per_example_plan(fn, params, x).methods.items()}
    assert "has a derivative of its own" in reasons["odd"]
    assert reasons["branch"] == "meets examples in a branch"
    assert reasons["start"] == "enters what a scan hands on"
    table = per_layer_gradient_norms(fn, params, x).table()
    assert "meets examples in a branch" in table
    assert "vmap(grad)" in table


def test_derivatives_of_their_own_are_followed():
    """One that hands a parameter through, one that only its derivative uses."""

    @jax.custom_vjp
    def turned(w):
        return w

    @jax.custom_vjp
    def passed(x, w):
        return x

    turned.defvjp(lambda w: (w, None), lambda kept, d: (-3 * d,))
    passed.defvjp(lambda x, w: (x, (x, w)), lambda kept, d: (d, jnp.sum(kept[0] * d) * kept[1]))

    def fn(params, x):
        return jnp.sum(jnp.sin(passed(x, params["passed"]) @ turned(params["turned"])), 1)

    params = {"passed": jnp.ones(2), "turned": X[0, :, :3, 0]}
    assert assert_exact(fn, params, X[:, 0, :, 1], gradients=True) == {"passed": "vmap(grad)", "turned": "formed"}


def test_losses_divided_by_the_number_of_examples_are_not_taken_in_parts():
    fn = lambda w, x: jnp.sum(jnp.sin(x @ w), 1) / len(x)  # noqa: E731
    looped = lambda w, x: jax.lax.map(lambda one: jnp.sum(one @ w), x) * (1 / len(x))  # noqa: E731
    w, x = X[0, :, :3, 0], X[:, 0, :, 1]
    rows = jax.jacrev(lambda w: fn(w, x))(w)
    expected = np.linalg.norm(np.asarray(rows).reshape(7, -1), axis=1)
    np.testing.assert_allclose(per_example_gradient_norms(fn, w, x), expected, rtol=1e-5)
    message = r"losses_fn: expected losses that do not go by the number of examples.*got a product with or division by"
    for losses_fn, size in ((fn, 3), (looped, None)):
        with pytest.raises(ValueError, match=message):
            per_example_gradient_norms(losses_fn, w, x, microbatch_size=size)


def test_a_loop_over_the_examples_with_a_mask_of_each_position_is_refused():
    def fn(w, x):
        keys = jax.random.split(jax.random.key(0), x.shape[0])
        return jax.lax.map(lambda a: jnp.sum(jnp.sin(a[0] @ w) * jax.random.bernoulli(a[1])), (x, keys))

    with pytest.raises(ValueError, match="got values that go by an example's position in the batch, in scan at"):
        per_example_gradient_norms(fn, X[0, :, :3, 0], X[:, 0, :, 1])


def test_a_loop_over_the_examples_falls_back():
    def fn(w, x):
        return jax.lax.map(lambda one: jnp.sum(jnp.sin(w @ one)), x)

    assert assert_exact(fn, X[0, :, :, 0], X[:, 0, :, 1]) == {"": "vmap(grad)"}


def test_an_unused_parameter_has_norm_0():
    norms = per_layer_gradient_norms(lambda p, x: x @ p["w"], {"w": jnp.ones(2), "b": jnp.ones(3)}, jnp.ones((4, 2)))
    np.testing.assert_array_equal(norms.leaves["b"], np.zeros(4))
    assert dict(norms.methods)["b"].name == "unused"


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_norms_far_from_1_neither_vanish_nor_overflow(size):
    """Their squares are no float32."""
    x = jnp.array([[3.0, 4.0], [1.0, 0.0]]) * size
    np.testing.assert_allclose(
        per_example_gradient_norms(lambda w, x: x @ w, jnp.zeros(2), x), [5 * size, size], rtol=1e-6
    )
    w = jnp.ones((2, 2))
    series = jnp.stack([x, x], 1)
    norms = per_example_gradient_norms(lambda w, x: jnp.sum(x @ w, (1, 2)), w, series)
    np.testing.assert_allclose(norms, np.sqrt(2) * 2 * np.array([5 * size, size]), rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_so_for_its_example_alone():
    x = jnp.array([[1.0, jnp.nan], [3.0, 4.0], [jnp.inf, 0.0]])
    norms = np.asarray(per_example_gradient_norms(lambda w, x: jnp.tanh(x @ w), jnp.zeros(2), x))
    assert np.isnan(norms[0])
    assert norms[1] == 5
    assert not np.isfinite(norms[2])


def test_bfloat16_parameters_are_summed_in_float32():
    w = jnp.ones((64, 8), jnp.bfloat16)
    x = jax.random.normal(jax.random.key(0), (5, 16, 64), jnp.bfloat16)
    found = per_example_gradient_norms(lambda w, x: jnp.sum(x @ w, (1, 2)).astype(jnp.float32), w, x)
    assert found.dtype == jnp.float32
    exact = np.sqrt(8) * np.linalg.norm(np.asarray(x, np.float64).sum(1), axis=1)
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_memory_is_that_of_activations():
    """A batch of 64 with 2.2 million parameters: formed gradients would take 566 MB."""
    params = {"a": jnp.ones((100, 1500)), "b": jnp.ones((1500, 1400)), "c": jnp.ones((1400, 2))}

    def fn(params, x):
        return jnp.sum(jnp.tanh(jnp.tanh(x @ params["a"]) @ params["b"]) @ params["c"], 1)

    shapes = jax.eval_shape(lambda: (params, jnp.ones((64, 100))))
    program = jax.jit(lambda params, x: per_example_gradient_norms(fn, params, x)).lower(*shapes).compile()
    activations = 4 * 64 * (100 + 2 * 1500 + 2 * 1400 + 2)
    assert program.memory_analysis().temp_size_in_bytes < 3 * activations
    assert 4 * per_example_plan(fn, *shapes).numbers < 4 * activations / 64 * 3


BAD = {
    "a mean": (
        lambda w, x: jnp.sum(x @ w), ValueError,
        r"losses_fn: expected one loss per example, one array of shape \(4,\); got 1 arrays of shapes \[\(\)\]",
    ),
    "two arrays": (
        lambda w, x: (x @ w, 0.0), ValueError, r"losses_fn: expected one loss per example.*got 2 arrays",
    ),
    "no batch": (
        lambda w, x: jnp.sum(w) * jnp.ones(4), ValueError,
        r"losses_fn: expected losses that depend on the batch; got losses made of params and constants alone\. Compute",
    ),
    "no function": ("losses", TypeError, r"losses_fn: expected a function of \(params, batch\); got str"),
}  # fmt: skip


@pytest.mark.parametrize("function", [per_example_gradient_norms, per_example_gradients, gradient_gram])
@pytest.mark.parametrize("name", BAD)
def test_bad_losses(function, name):
    fn, error, message = BAD[name]
    with pytest.raises(error, match=message):
        function(fn, jnp.ones(2), jnp.ones((4, 2)))


def test_bad_arguments():
    fn = lambda w, x: x @ w["a"]  # noqa: E731
    good, x = {"a": jnp.ones(2)}, jnp.ones((4, 2))
    for params, batch, error, message in [
        ({}, x, ValueError, "params: expected at least one array; got a tree without any"),
        ({"a": jnp.ones(2, int)}, x, TypeError, "params: expected real floating-point.*got a of dtype int32. Close"),
        (good, (x, x[:3]), ValueError, "batch: expected arrays that share one leading example axis"),
        (good, jnp.ones((0, 2)), ValueError, "batch: expected arrays that share one leading.*length >= 1"),
        (good, (), ValueError, "batch: expected arrays"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            per_example_gradient_norms(fn, params, batch)
    for size in (0, -1, 2.0, "all", True):
        with pytest.raises(ValueError, match=r'microbatch_size: expected a whole number >= 1; got .*"auto"'):
            per_example_gradient_norms(fn, good, x, microbatch_size=size)
    with pytest.raises(ValueError, match=r"memory_limit: expected a whole number >= 1; got 0"):
        per_example_gradient_norms(fn, good, x, microbatch_size="auto", memory_limit=0)
    with pytest.raises(ValueError, match=r"max_norm: expected one finite number > 0; got 0"):
        per_example_clipped_mean(fn, good, x, max_norm=0)


def test_verdict_table_and_picture(tmp_path):
    norms = jnp.array([1.0, 1.1, 0.9, 1.0, 30.0])
    result = PerExampleNorms(
        norms,
        norms,
        {"a/kernel": norms, "a/bias": 0 * norms},
        per_layer_gradient_norms(losses, PARAMS, (X, Y)).methods[:0],
    )
    assert result.verdict() == (
        "gradient norms of 5 examples: median 1, largest 30 (example 4): 1 beyond 5 times the median, with 99.6 % of "
        "the sum of squares"
    )
    assert "none beyond 40 times the median" in result.verdict(Thresholds(outlying_norm=40.0))
    assert (
        "not finite for 1 of 5 examples, the first of them example 2"
        in PerExampleNorms(norms.at[2].set(jnp.nan), norms, {}, ()).verdict()
    )
    assert PerExampleNorms(0 * norms, norms, {}, ()).verdict() == "no gradient at all from 5 of 5 examples"
    real = per_layer_gradient_norms(losses, PARAMS, (X, Y))
    layers = [line.split("/")[0] for line in real.table().splitlines()[1:-1]]
    assert list(dict.fromkeys(layers)) == ["Conv_0", "LayerNorm_0", "Dense_1", "Dense_0"]  # forward, not by name
    assert len(layers) == len(real.leaves)
    real.plot(tmp_path / "norms.png")
    assert (tmp_path / "norms.png").stat().st_size > 10_000
