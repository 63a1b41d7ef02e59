"""Models that are no plain stack of layers; the variances are measured again by Flax or in NumPy."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxdl.initializers import lsuv
from jaxdl.models import MLP

X = jax.random.normal(jax.random.key(0), (128, 16))
SEQUENCES = jax.random.normal(jax.random.key(3), (64, 5, 16))


def started(module, x, **options):
    return lsuv(module, module.init(jax.random.key(1), x), x, key=jax.random.key(2), **options)


def orthonormal(matrix):
    """Whether all singular values are alike, which rescaling keeps."""
    singular = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    return np.allclose(singular, singular[0], rtol=1e-4)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(16, use_bias=False)(x)), None


class Stack(nn.Module):
    axis: int
    length: int

    @nn.compact
    def __call__(self, x):
        scanned = nn.scan(Layer, variable_axes={"params": self.axis}, split_rngs={"params": True}, length=self.length)
        return scanned()(x, None)[0]


@pytest.mark.parametrize(("axis", "length"), [(1, 3), (-1, 3), (1, 16)])
def test_a_stack_along_any_axis_also_one_as_long_as_the_others(axis, length):
    result = started(Stack(axis, length), X)
    (kernels,) = jax.tree.leaves(result.variables["params"])
    a = np.asarray(X)
    for kernel, reported in zip(np.moveaxis(np.asarray(kernels), axis, 0), result.variances[0], strict=True):
        z = a @ kernel
        assert z.var() == pytest.approx(1, abs=0.0201)
        assert z.var() == pytest.approx(float(reported), rel=1e-3)
        assert orthonormal(kernel)
        a = np.tanh(z)


def test_a_stack_behind_arithmetic_on_its_axis_is_scaled_as_one():
    kernels = jax.random.normal(jax.random.key(1), (3, 16, 16))

    def apply(params, x):
        return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["w"][::-1])[0]

    result = lsuv((lambda key, x: {"w": kernels}, apply), {"params": {"w": kernels}}, X, key=jax.random.key(2))
    a, z = np.asarray(X), []
    for kernel in np.asarray(result.variables["params"]["w"])[::-1]:
        z.append(a @ kernel)
        a = np.tanh(z[-1])
    np.testing.assert_allclose(np.var(z), result.variances[0], rtol=1e-4)
    np.testing.assert_allclose(np.var(z), 1, atol=0.0201)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_kernels_that_feed_one_another_in_a_recurrence_all_reach_variance_1(kind):
    result = started(nn.RNN(kind(8)), SEQUENCES)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)
    assert np.all(np.asarray(result.rounds) < 20)


def test_concatenated_kernels_are_measured_and_scaled_as_one():
    result = started(nn.RNN(nn.OptimizedLSTMCell(8)), SEQUENCES)
    cell = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), result.variables["params"]["cell"])
    joined = np.concatenate([cell[f"i{gate}"]["kernel"] for gate in "figo"], 1)
    from_input = np.asarray(SEQUENCES) @ joined
    reported = dict(zip(result.kernels, result.variances, strict=True))
    scales = [np.linalg.norm(cell[f"i{gate}"]["kernel"], 2) for gate in "figo"]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-5)
    assert from_input.var() == pytest.approx(float(reported["cell/ii/kernel"]), rel=1e-4)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)
    assert len(set(np.asarray(result.rounds)[:4].tolist())) == 1


def test_a_kernel_shared_around_another_one():
    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            outer, inner = nn.Dense(16, name="outer"), nn.Dense(16, name="inner")
            return outer(jnp.tanh(inner(jnp.tanh(3 * outer(x)))))

    result = started(Shared(), X)
    outer, inner = (np.asarray(result.variables["params"][name]["kernel"]) for name in ("outer", "inner"))
    first = np.asarray(X) @ outer
    second = np.tanh(3 * first) @ inner
    third = np.tanh(second) @ outer
    assert np.var([first, third]) == pytest.approx(1, abs=0.0201)
    assert second.var() == pytest.approx(1, abs=0.0201)


def test_projections_of_attention_are_orthonormal_from_features_to_heads():
    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.MultiHeadDotProductAttention(num_heads=4, name="a")(x, x)

    module = Attention()
    result = started(module, SEQUENCES)
    params = result.variables["params"]["a"]
    for name, rows in (("query", 16), ("key", 16), ("value", 16), ("out", 16)):
        assert orthonormal(np.reshape(params[name]["kernel"], (rows, -1)))
    _, state = module.apply(
        result.variables, SEQUENCES, capture_intermediates=lambda m, _: isinstance(m, nn.DenseGeneral)
    )
    measured = {name: float(jnp.var(out["__call__"][0])) for name, out in state["intermediates"]["a"].items()}
    np.testing.assert_allclose([measured[path.split("/")[1]] for path in result.kernels], result.variances, rtol=1e-4)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)


def test_members_of_an_ensemble_are_orthonormal_one_by_one():
    class Members(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True})
            return dense(5)(x)

    result = started(Members(), jnp.stack([X, 2 * X, X]))
    (kernels,) = (leaf for leaf in jax.tree.leaves(result.variables["params"]) if leaf.ndim == 3)
    assert all(orthonormal(kernel) for kernel in kernels)


@pytest.mark.parametrize(
    "end",
    [lambda z: jnp.argmax(z, -1), lambda z: jax.lax.stop_gradient(z), lambda z: {"a": (z, z > 0)}],
    ids=["integers", "no gradient", "several"],
)
def test_outputs_that_have_no_gradient_or_are_several(end):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = jnp.sign(nn.Dense(8, name="first")(x["image"]))
            return end(nn.Dense(4, name="second")(x))

    result = started(Net(), {"image": 3 * X})
    params = result.variables["params"]
    first = 3 * np.asarray(X) @ params["first"]["kernel"]
    second = np.sign(first) @ params["second"]["kernel"]
    np.testing.assert_allclose([first.var(), second.var()], result.variances, rtol=1e-4)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_kernels(dtype):
    module = MLP((16, 3), activation=jnp.tanh)
    variables = jax.tree.map(lambda leaf: leaf.astype(dtype), module.init(jax.random.key(1), 5 * X))
    result = lsuv(module, variables, 5 * X, key=jax.random.key(2))
    assert {leaf.dtype for leaf in jax.tree.leaves(result.variables)} == {jnp.dtype(dtype)}
    z = 5 * np.asarray(X) @ np.asarray(result.variables["params"]["Dense_0"]["kernel"], np.float32)
    assert z.var() == pytest.approx(1, abs=0.021)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)


@pytest.mark.parametrize(("scale", "offset"), [(1e15, 0.0), (1e-15, 0.0), (1e-2, 100.0)])
def test_inputs_of_another_scale_or_far_from_0(scale, offset):
    x = scale * X + offset
    result = started(MLP((16, 3), activation=jnp.tanh), x)
    z = np.asarray(x, np.float64) @ np.asarray(result.variables["params"]["Dense_0"]["kernel"], np.float64)
    # Means a hundred times the deviation leave five digits of it in float32.
    assert z.var() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(result.variances, 1, atol=0.0201)


def test_a_mean_ten_thousand_times_the_deviation():
    """Of one unit's outputs; a variance by E z^2 - (E z)^2 would be rounding alone."""
    result = started(MLP((1,)), 1e-2 * X + 100)
    z = np.float64(1e-2 * X + 100) @ np.float64(result.variables["params"]["Dense_0"]["kernel"])
    assert abs(z.mean()) > 1000
    assert z.var() == pytest.approx(1, abs=0.03)


def test_rounds_are_limited_and_those_of_a_stack_by_its_length():
    cell = started(nn.RNN(nn.GRUCell(8)), SEQUENCES, max_rounds=1)
    assert np.max(cell.rounds) == 1
    assert np.abs(np.array(cell.variances) - 1).max() > 0.02
    stack = started(Stack(1, 3), X, max_rounds=1)
    assert 1 < int(stack.rounds[0]) <= 4
    np.testing.assert_allclose(stack.variances[0], 1, atol=0.0201)


def test_the_model_runs_in_evaluation_mode():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(16, name="first")(x))
            return nn.Dense(4, name="second")(nn.Dropout(0.5, deterministic=not train)(x))

    start = Net().init(jax.random.key(1), X, False)
    stats = {"BatchNorm_0": {"mean": jnp.full(16, 2.0), "var": jnp.full(16, 9.0)}}
    result = lsuv(Net(), {**start, "batch_stats": stats}, X, key=jax.random.key(2))
    params = result.variables["params"]
    hidden = (np.asarray(X) @ params["first"]["kernel"] - 2) / np.sqrt(9 + 1e-5)
    assert np.var(hidden @ params["second"]["kernel"]) == pytest.approx(float(result.variances[1]), rel=1e-4)
    assert float(result.variances[1]) == pytest.approx(1, abs=0.0201)


@pytest.mark.parametrize(("x", "variance"), [(1e20 * X, np.inf), (X.at[0, 0].set(jnp.nan), np.nan)])
def test_what_cannot_be_rescaled_keeps_its_orthonormal_kernel(x, variance):
    result = started(MLP((8, 3)), x)
    np.testing.assert_array_equal(result.variances, variance)
    np.testing.assert_array_equal(result.rounds, 0)
    assert all(orthonormal(layer["kernel"]) for layer in result.variables["params"].values())


def test_a_kernel_in_a_branch_that_is_not_taken_shows_as_nan():
    def apply(params, x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ params["taken"], lambda: x @ params["other"])

    params = {"taken": jnp.ones((16, 4)), "other": jnp.ones((16, 4))}
    result = lsuv((lambda key, x: params, apply), {"params": params}, jnp.abs(X), key=jax.random.key(2))
    variances = dict(zip(result.kernels, result.variances, strict=True))
    assert np.isnan(variances["other"])
    assert float(variances["taken"]) == pytest.approx(1, abs=0.0201)


def test_kernels_that_do_not_multiply_as_they_are_stay():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            embed = nn.Embed(10, 8)
            return embed.attend(nn.WeightNorm(nn.Dense(8))(nn.Dense(8, name="plain")(embed(x))))

    tokens = jnp.arange(40) % 10
    start = Net().init(jax.random.key(1), tokens)
    result = lsuv(Net(), start, tokens, key=jax.random.key(2))
    assert result.kernels == ("plain/kernel",)
    for name in start["params"].keys() - {"plain"}:
        for ours, theirs in zip(
            jax.tree.leaves(result.variables["params"][name]), jax.tree.leaves(start["params"][name]), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"that multiply data, as they are.*none of Dense_0/kernel does"):
        started(NormalizedOnly(), X)


class NormalizedOnly(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.WeightNorm(nn.Dense(4))(x)


def test_double_precision():
    # Where jax has no public switch yet, it stands among the experiments.
    switch = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64
    with switch(True):
        x = 7 * jax.random.normal(jax.random.key(0), (64, 8), jnp.float64)
        kernel = jnp.ones((8, 4), jnp.float64)
        model = (lambda key, x: {"w": kernel}, lambda params, x: x @ params["w"])
        result = lsuv(model, {"params": {"w": kernel}}, x, key=jax.random.key(1))
        assert result.variables["params"]["w"].dtype == jnp.float64
        assert float(np.var(np.asarray(x) @ result.variables["params"]["w"])) == pytest.approx(1, abs=1e-6)
