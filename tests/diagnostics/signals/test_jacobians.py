"""Jacobians of the traced program against products written out in NumPy, and against laws of random matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.diagnostics import JacobianSpectrum, Thresholds, jacobian_spectrum
from jaxdl.diagnostics.signals.singular_values import singular_values
from tests.diagnostics import networks

EFFORT = dict(num_probes=4, num_lanczos=24)


def linear(weights, x):
    for w in weights:
        x = x @ w
    return x.sum(-1)


def summary(jacobian):
    values = np.linalg.svd(jacobian, compute_uv=False)
    return [values.mean(), values[0], values[-1], np.linalg.norm(jacobian) / np.sqrt(len(jacobian))]


def test_a_network_of_tanh_against_numpy():
    objective, params, (x, y), _ = networks.mlp()
    found = jacobian_spectrum(objective, params, (x, y))
    assert found.sources == ("input", "Dense_0", "Dense_1", "input")
    assert found.targets == ("Dense_0", "Dense_1", "Dense_2", "Dense_2")
    assert found.exact == (True,) * 4
    kernels = [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64) for i in range(3)]
    biases = [np.asarray(params[f"Dense_{i}"]["bias"], np.float64) for i in range(3)]
    for example, row in enumerate(np.asarray(x, np.float64)):
        z = row @ kernels[0] + biases[0]
        jacobians = [kernels[0].T]
        for kernel, bias in zip(kernels[1:], biases[1:], strict=True):
            jacobians.append(kernel.T @ np.diag(1 - np.tanh(z) ** 2))
            z = np.tanh(z) @ kernel + bias
        jacobians.append(jacobians[2] @ jacobians[1] @ jacobians[0])
        expected = np.array([summary(jacobian) for jacobian in jacobians])
        measured = np.stack([found.mean, found.largest, found.smallest, found.gain], -1)[:, example]
        np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_orthogonal_layers_are_isometric():
    weights = [np.linalg.qr(np.random.RandomState(i).randn(12, 12))[0].astype(np.float32) for i in range(5)]
    found = jacobian_spectrum(linear, weights, jnp.ones((2, 12)))
    for values in (found.mean, found.largest, found.smallest, found.gain):
        np.testing.assert_allclose(values, 1, rtol=1e-5)
    assert "healthy" in found.verdict()
    assert found.verdict().endswith("mean 1: near isometry")


def test_the_mean_singular_value_of_a_gaussian_layer():
    """8 / (3 pi) = 0.849 for entries of variance 1/n (Marchenko-Pastur), 0.490 for the start of variance 1/(3 n)."""
    n = 200
    for variance, expected in ((1 / n, 0.849), (1 / (3 * n), 0.490)):
        w = np.random.RandomState(0).randn(n, n).astype(np.float32) * np.sqrt(variance)
        for exact_up_to in (n, n - 1):
            found = jacobian_spectrum(linear, [w], jnp.ones((1, n)), exact_up_to=exact_up_to)
            # Linear statistics of the eigenvalues of W W^T move by about 1/n; the quadrature by a few per cent.
            np.testing.assert_allclose(found.mean[0], expected, rtol=0.01 if exact_up_to == n else 0.05)
            assert found.exact == (exact_up_to == n,) * 2


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_estimates_against_all_singular_values(shape):
    matrix = np.random.RandomState(0).randn(*shape).astype(np.float32)
    fn = lambda x: jnp.asarray(matrix) @ x  # noqa: E731
    x = jnp.zeros(shape[1])
    expected = summary(matrix.astype(np.float64))
    exact, whole = singular_values(fn, x, jax.random.key(0), exact_up_to=40, **EFFORT)
    assert whole
    np.testing.assert_allclose(exact, expected, rtol=1e-4)
    # As many steps as the side is long find the ends themselves, whatever the probes.
    ends, whole = singular_values(fn, x, jax.random.key(0), exact_up_to=39, num_probes=2, num_lanczos=40)
    assert not whole
    np.testing.assert_allclose(ends[1:3], expected[1:3], rtol=1e-3)
    # |J v|^2 of a unit probe has relative variance 2 (n tr A^2 / (tr A)^2 - 1) / (n + 2) with A = J J^T, here
    # 2 (40 / 60) / 42 = 0.18^2; of 400 probes 4 % is more than four standard errors (1 in 10^4).
    estimate, _ = singular_values(fn, x, jax.random.key(1), exact_up_to=39, num_probes=400, num_lanczos=8)
    np.testing.assert_allclose(estimate[jnp.array([0, 3])], [expected[0], expected[3]], rtol=0.04)


def test_a_map_that_is_degenerate():
    rank_one = np.outer(np.arange(1, 7.0), np.arange(2, 8.0)).astype(np.float32)
    found, _ = singular_values(
        lambda x: jnp.asarray(rank_one) @ x, jnp.zeros(6), jax.random.key(0), exact_up_to=1, **EFFORT
    )
    np.testing.assert_allclose(found[1], np.linalg.norm(rank_one), rtol=1e-4)
    assert found[2] < 1e-3 * found[1]
    zero, _ = singular_values(lambda x: 0 * x, jnp.zeros(6), jax.random.key(0), exact_up_to=1, **EFFORT)
    np.testing.assert_array_equal(zero, 0)
    for exact_up_to in (1, 6):
        broken, _ = singular_values(
            lambda x: x * jnp.nan, jnp.zeros(6), jax.random.key(0), exact_up_to=exact_up_to, **EFFORT
        )
        assert np.isnan(broken).all()


def test_a_convolution_against_its_matrix():
    objective, params, (x, y), state = networks.cnn()
    found = jacobian_spectrum(objective, params, (x, y), model_state=state)
    assert (found.sources, found.targets) == (("input", "conv", "input"), ("conv", "head", "head"))
    kernel = np.asarray(params["conv"]["kernel"], np.float64)
    matrix = np.zeros((6, 6, 4, 6, 6, 1))
    for i, j in np.ndindex(6, 6):
        for a, b in np.ndindex(3, 3):
            if 0 <= i + a - 1 < 6 and 0 <= j + b - 1 < 6:
                matrix[i, j, :, i + a - 1, j + b - 1, 0] += kernel[a, b, 0]
    expected = summary(matrix.reshape(144, 36))
    np.testing.assert_allclose(
        [found.mean[0, 0], found.largest[0, 0], found.smallest[0, 0], found.gain[0, 0]], expected, rtol=1e-4
    )
    # Batch statistics tie the examples of a batch together: there is no Jacobian of one example.
    with pytest.raises(ValueError, match=r"train: expected False for a model that keeps state \(batch_stats\)"):
        jacobian_spectrum(objective, params, (x, y), model_state=state, train=True)


def test_maps_past_a_skip_start_where_the_skip_does():
    objective, params, batch, _ = networks.resnet()
    found = jacobian_spectrum(objective, params, batch, max_examples=1)
    pairs = list(zip(found.sources, found.targets, strict=True))
    assert pairs == [
        ("input", "stem"),
        ("stem", "block_0/first"),
        ("block_0/first", "block_0/second"),
        ("stem", "block_1/first"),
        ("block_1/first", "block_1/second"),
        ("stem", "head"),
        ("input", "head"),
    ]
    # The last map of the chain by differentiating what comes after the stem, with the stem written out.
    model = networks.ResNet()

    def after_stem(h):
        def shadow(next_fn, args, kwargs, context):
            return h if context.module.name == "stem" else next_fn(*args, **kwargs)

        with nn.intercept_methods(shadow):
            return model.apply({"params": params}, batch[0][:1])[0]  # type: ignore[index]

    stem = nn.Conv(4, (3, 3)).apply({"params": params["stem"]}, batch[0][:1])
    expected = summary(np.asarray(jax.jacobian(after_stem)(stem)).reshape(3, -1))
    measured = [found.mean[5, 0], found.largest[5, 0], found.smallest[5, 0], found.gain[5, 0]]
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_what_has_no_map_says_why():
    found = jacobian_spectrum(*networks.rnn()[:3])
    reasons = dict(zip(found.targets, found.reasons, strict=True))
    assert reasons["lstm/hf"] == "it lies inside a loop or a branch"
    assert (found.sources[-1], found.targets[-1], found.reasons[-1]) == ("input", "head", "")
    assert np.isnan(found.mean[0, 0])
    assert np.isfinite(found.mean[-1, 0])
    tokens = jacobian_spectrum(*networks.seq2seq()[:3])
    reasons = dict(zip(tokens.targets[:-1], tokens.reasons[:-1], strict=True))
    assert reasons["embed"] == "its weight is used in 2 places"
    assert reasons["head"] == "no input or layer that can be shifted comes before it"
    assert tokens.verdict().startswith("no Jacobian from layer to layer")
    assert "2 places" in tokens.table()

    def meeting(p, batch):
        return (p["table"][batch["token"]] @ p["a"] + batch["x"] @ p["b"]) @ p["c"]

    square = jnp.asarray(np.random.RandomState(0).randn(3, 3).astype(np.float32))
    params = {"table": square, "a": square, "b": square, "c": square[0]}
    joined = jacobian_spectrum(meeting, params, {"token": jnp.arange(2), "x": jnp.ones((2, 3))})
    pairs = {target: source for source, target in zip(joined.sources[:-1], joined.targets[:-1], strict=True)}
    assert pairs == {"table": "-", "a": "table", "b": "input"}

    def shared(p, x):
        return (jnp.split(x @ jnp.concatenate([p["a"]["w"], p["b"]["w"]], 1), 2, 1)[0] @ p["c"]["w"]).sum(-1)

    halves = jacobian_spectrum(shared, {name: {"w": square} for name in "abc"}, jnp.ones((2, 3)))
    assert halves.reasons[1] == "it shares its product with a"


def test_paths_from_several_starts():
    def losses(p, batch):
        return ((p["table"][batch["token"]] + batch["x"]) @ p["a"]).sum(-1)

    params = {"table": jnp.ones((4, 3)), "a": jnp.ones((3, 2))}
    found = jacobian_spectrum(losses, params, {"token": jnp.arange(2), "x": jnp.ones((2, 3))})
    assert found.reasons[1] == "paths from several starts meet before it"
    assert (found.sources[-1], found.targets[-1], found.reasons[-1]) == ("input", "a", "")


def test_a_chain_of_tokens_begins_at_the_embedding():
    params = {
        "embed": {"table": jnp.ones((4, 3))},
        "hidden": {"kernel": 2 * jnp.eye(3)},
        "out": {"kernel": 3 * jnp.eye(3)},
    }

    def losses(p, x):
        return (p["embed"]["table"][x] @ p["hidden"]["kernel"] @ p["out"]["kernel"]).sum(-1)

    found = jacobian_spectrum(losses, params, jnp.array([0, 3]))
    assert (found.sources, found.targets) == (
        ("-", "embed", "hidden", "embed"),
        ("embed", "hidden", "out", "out"),
    )
    np.testing.assert_allclose(found.mean[1:], [[2, 2], [3, 3], [6, 6]], rtol=1e-5)


def test_bfloat16_vmap_and_a_derivative_rule_of_its_own():
    weights = [np.random.RandomState(i).randn(6, 6).astype(np.float32) for i in range(2)]
    x = jnp.asarray(np.random.RandomState(2).randn(3, 6), jnp.bfloat16)
    half = jacobian_spectrum(linear, [jnp.asarray(w, jnp.bfloat16) for w in weights], x)
    full = jacobian_spectrum(linear, weights, x.astype(jnp.float32))
    assert half.mean.dtype == jnp.float32
    np.testing.assert_allclose(half.mean, full.mean, rtol=0.02)
    stacked = [jnp.stack([w, 2 * w]) for w in weights]
    many = jax.vmap(lambda ws: jacobian_spectrum(linear, ws, x.astype(jnp.float32)))(stacked)
    np.testing.assert_allclose(many[1].mean[-1], 4 * full.mean[-1], rtol=1e-4)

    @jax.custom_vjp
    def triple(x):
        return 3 * x

    triple.defvjp(lambda x: (triple(x), None), lambda _, g: (3 * g,))
    tripled = jacobian_spectrum(lambda w, x: (triple(x @ w[0]) @ w[1]).sum(-1), weights, x.astype(jnp.float32))
    np.testing.assert_allclose(tripled.mean[-1], 3 * full.mean[-1], rtol=1e-4)


def test_dropout_follows_the_key():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.Dense(8)(x)))

    objective, params, batch, _ = networks.ready(Dropped(), *networks.mlp()[2])
    one, again, two = (
        jacobian_spectrum(objective, params, batch, train=True, key=jax.random.key(i)).gain[1] for i in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    assert len(set(np.asarray(one).tolist())) > 1  # every example has a mask of its own


def spectrum(gains, smallest=None, largest=None):
    gains = np.asarray(gains, np.float32)[:, None]
    names = tuple(f"layer_{i}" for i in range(len(gains) - 1))
    sources, targets = ("input", *names[:-1], "input"), (*names, names[-1])
    low = gains if smallest is None else np.full_like(gains, smallest)
    high = gains if largest is None else np.full_like(gains, largest)
    return JacobianSpectrum(gains, high, low, gains, sources, targets, (True,) * len(gains), ("",) * len(gains))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.4, 0.5, 0.4, 0.08], ["shrinks x0.43 per layer over 3 maps", "x0.08 from input to layer_2", "vanishing",
                                 "x0.4 in input -> layer_0"]),
        ([1.5, 6, 2, 18], ["grows x2.6 per layer", "exploding", "x6 in layer_0 -> layer_1"]),
        ([0.8, 0.8, 0.009], ["vanishing"]),
        ([0.8, 0.8, 0.011], ["healthy"]),
        ([1.2, 1.2, 110], ["exploding"]),
        ([1.2, 1.2, 90], ["healthy"]),
        ([1.2, np.nan, 1.2], ["not finite in 1 of 3 maps, the first of them layer_0 -> layer_1"]),
        ([1.2, 0.0, 0.0], ["nothing gets through layer_0 -> layer_1"]),
        ([0.2, 0.2], ["a signal changes x0.2 from input to layer_0: healthy"]),
    ],
)  # fmt: skip
def test_verdict(gains, words):
    for word in words:
        assert word in spectrum(gains).verdict(), spectrum(gains).verdict()


def test_the_bound_of_isometry_can_be_moved():
    near = spectrum([1, 1, 1], 0.7, 1.4)
    assert near.verdict().endswith("near isometry")
    assert spectrum([1, 1, 1], 0.6, 1.4).verdict().endswith("no isometry")
    assert near.verdict(Thresholds(isometry=1.3)).endswith("no isometry")


def test_table_and_picture(tmp_path):
    found = jacobian_spectrum(*networks.rnn()[:3])
    lines = found.table().splitlines()
    assert lines[0].split() == ["map", "mean", "smallest", "largest", "gain"]
    assert lines[-1].startswith("input -> head")
    figure = spectrum([0.4, 0.5, 0.0, 0.08]).plot(tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").stat().st_size > 1000
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [0.4, 0.5, 0, 0.08])
    assert found.plot(title="mine").get_suptitle() == "mine"
    assert spectrum([np.nan, np.nan]).plot().axes[0].get_yscale() == "linear"
    assert "~" in jacobian_spectrum(linear, [jnp.eye(3)], jnp.ones((1, 3)), exact_up_to=1).table()


def test_errors():
    with pytest.raises(ValueError, match="max_examples: expected a whole number >= 1; got 0"):
        jacobian_spectrum(linear, [jnp.eye(2)], jnp.ones((1, 2)), max_examples=0)
    with pytest.raises(ValueError, match="batch: expected arrays that share one leading example axis"):
        jacobian_spectrum(linear, [jnp.eye(2)], jnp.ones((0, 2)))
    with pytest.raises(TypeError, match="objective: expected a function"):
        jacobian_spectrum(jaxdl.models.MLP((2,)), {}, jnp.ones((1, 2)))
    many = jax.tree.map(lambda a: jnp.stack([a, a]), jacobian_spectrum(linear, [jnp.eye(2)], jnp.ones((1, 2))))
    for report in (many.table, many.verdict, many.plot):
        with pytest.raises(ValueError, match=r"spectrum: expected one measurement, .* got shape \(2, 2, 1\)"):
            report()
