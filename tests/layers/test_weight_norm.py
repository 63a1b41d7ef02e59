import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import layers, tree

DRAWS = np.random.RandomState(0)
X = (3 * DRAWS.randn(64, 5) + 1).astype(np.float32)
IMAGES = (3 * DRAWS.randn(32, 6, 6, 2) + 1).astype(np.float32)
KEY = jax.random.key(0)


class DenseNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        for size in (8, 7, 6):
            x = nn.tanh(nn.WeightNorm(nn.Dense(size))(x))
        return nn.Dense(3)(x)


class ConvNet(nn.Module):
    """With dropout, whose mode is an argument, and layers made in setup."""

    def setup(self):
        self.first = nn.WeightNorm(nn.Conv(4, (3, 3)))
        self.second = nn.WeightNorm(nn.Conv(5, (3, 3), (2, 2), kernel_init=nn.initializers.he_normal()))
        self.transposed = nn.WeightNorm(nn.ConvTranspose(3, (2, 2)))
        self.out = nn.WeightNorm(nn.Dense(6))
        self.dropout = nn.Dropout(0.5)

    def __call__(self, x, train):
        x = nn.relu(self.second(nn.relu(self.first(x))))
        x = nn.relu(self.transposed(x))
        return self.out(self.dropout(x.reshape(x.shape[0], -1), deterministic=not train))


# At module level, where nn.jit keeps its traces from one call to the next.
JittedNet, RematNet = nn.jit(DenseNet), nn.remat(DenseNet)
NETS = {
    "dense": (DenseNet(), X),
    "conv": (ConvNet(), IMAGES),
    "root": (nn.WeightNorm(nn.Dense(4)), X),
    "jit": (JittedNet(), X),
    "jit_again": (JittedNet(), X),
    "remat": (RematNet(), X),
    "in_sequence": (nn.Sequential([nn.WeightNorm(nn.Dense(4)), nn.relu, nn.WeightNorm(nn.Dense(3))]), X),
}


def pre_activations(module, variables, x):
    """Outputs of every WeightNorm, in evaluation mode, `{path: array}`."""
    mode = {"train": False} if isinstance(module, ConvNet) else {}
    is_norm = lambda m, method: isinstance(m, nn.WeightNorm) and method == "__call__"  # noqa: E731
    _, caught = module.apply(variables, x, **mode, capture_intermediates=is_norm, mutable=["intermediates"])
    return tree.leaf_paths(caught["intermediates"])


@pytest.mark.parametrize("kind", NETS)
def test_first_batch_pre_activations_are_standard(kind):
    module, x = NETS[kind]
    variables = jaxdl.as_model(module).init(KEY, x)
    started = layers.start_weight_norm(module, variables, x)
    caught = pre_activations(module, started, x)
    assert len(caught) == {"conv": 4, "root": 1, "in_sequence": 2}.get(kind, 3)
    before = pre_activations(module, variables, x)
    for path, values in caught.items():
        axes = tuple(range(values.ndim - 1))
        np.testing.assert_allclose(values.mean(axes), 0, atol=1e-3)
        np.testing.assert_allclose(values.var(axes), 1, atol=1e-3)
        assert np.max(np.abs(before[path].var(axes) - 1)) > 0.1  # the start had something to do
    changed = {
        path
        for (path, old), new in zip(tree.leaf_paths(variables).items(), tree.leaf_paths(started).values(), strict=True)
        if not np.array_equal(old, new)
    }
    assert len(changed) == 2 * len(caught)
    assert all(path.endswith(("/bias", "kernel/scale")) for path in changed)


@pytest.mark.parametrize(("g", "b"), [(1.0, 0.0), (-0.5, 3.0)])
def test_one_layer_against_numpy(g, b):
    """g = 1/s and b = -m/s of t = v . x / |v|; from another g and b the sign of g stays."""
    module = nn.WeightNorm(nn.Dense(4))
    variables = module.init(KEY, X)
    params = variables["params"]
    kernel = np.asarray(params["layer_instance"]["kernel"], np.float64)
    params = params | {
        "layer_instance/kernel/scale": jnp.full(4, g),
        "layer_instance": params["layer_instance"] | {"bias": jnp.full(4, b)},
    }
    t = X.astype(np.float64) @ (kernel / np.linalg.norm(kernel, axis=0))
    started = layers.start_weight_norm(module, {"params": params}, X)["params"]
    np.testing.assert_allclose(started["layer_instance/kernel/scale"], np.sign(g) / t.std(0), rtol=1e-5)
    np.testing.assert_allclose(started["layer_instance"]["bias"], -np.sign(g) * t.mean(0) / t.std(0), rtol=1e-4)
    np.testing.assert_array_equal(started["layer_instance"]["kernel"], params["layer_instance"]["kernel"])


def test_the_start_compiles_and_keeps_what_it_was_given(same_bytes):
    module = DenseNet()
    variables = module.init(KEY, X)
    copy = jax.tree.map(jnp.copy, variables)
    started = layers.start_weight_norm(module, variables, X)
    same_bytes(variables, copy)
    compiled = jax.jit(lambda v, x: layers.start_weight_norm(module, v, x))(variables, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), started, compiled)


def test_half_precision_layers_keep_float32_parameters():
    module = nn.WeightNorm(nn.Dense(4, dtype="bfloat16"))
    started = layers.start_weight_norm(module, module.init(KEY, X), X)
    assert {leaf.dtype for leaf in jax.tree.leaves(started)} == {np.dtype("float32")}
    values = np.asarray(module.apply(started, X), np.float64)
    np.testing.assert_allclose(values.var(0), 1, atol=0.02)
    # The layer's outputs are rounded, what is made of them is not.
    outputs = np.asarray(module.apply(module.init(KEY, X), X), np.float64)
    params = started["params"]
    np.testing.assert_allclose(params["layer_instance/kernel/scale"], 1 / outputs.std(0), rtol=1e-5)
    np.testing.assert_allclose(params["layer_instance"]["bias"], -outputs.mean(0) / outputs.std(0), rtol=1e-5)


def test_the_rest_of_the_state_stays(same_bytes):
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.BatchNorm(use_running_average=not train)(nn.WeightNorm(nn.Dense(3))(x))

    variables = jaxdl.as_model(Normed()).init(KEY, X)
    started = layers.start_weight_norm(Normed(), variables, X)
    assert set(started) == set(variables)
    same_bytes(started["batch_stats"], variables["batch_stats"])


def test_gradient_identities():
    """N07: grad_g = grad_w . v / |v|, grad_v = (g / |v|) grad_w - (g grad_g / |v|^2) v; and grad_v . v = 0."""
    module = nn.WeightNorm(nn.Dense(4, use_bias=False))
    v, g = DRAWS.randn(5, 4), DRAWS.rand(4) + 0.5
    weights = jnp.asarray(DRAWS.randn(64, 4), jnp.float32)
    loss = lambda y: jnp.sum(weights * jnp.sin(y))  # noqa: E731
    params = {"layer_instance": {"kernel": jnp.asarray(v, jnp.float32)},
              "layer_instance/kernel/scale": jnp.asarray(g, jnp.float32)}  # fmt: skip
    grads = jax.grad(lambda p: loss(module.apply({"params": p}, X)))(params)
    norm = np.linalg.norm(v, axis=0)
    w = jnp.asarray(g * v / norm, jnp.float32)
    grad_w = np.asarray(jax.grad(lambda w: loss(X @ w))(w), np.float64)
    grad_g = np.sum(grad_w * v, 0) / norm
    grad_v = g / norm * grad_w - g * grad_g / norm**2 * v
    scale = np.abs(grad_w).max()
    np.testing.assert_allclose(grads["layer_instance/kernel/scale"], grad_g, rtol=1e-5, atol=1e-5 * scale)
    found = np.asarray(grads["layer_instance"]["kernel"], np.float64)
    np.testing.assert_allclose(found, grad_v, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(np.sum(found * v, 0), 0, atol=1e-5 * scale * norm.max())


def test_the_scale_of_flax_starts_at_one():
    """Catalogue Z-22: effective columns have unit norm whatever the initializer was; that of He is lost."""
    for kernel_init in (nn.initializers.he_normal(), nn.initializers.constant(7.0)):
        module = nn.WeightNorm(nn.Dense(4, kernel_init=kernel_init))
        variables = module.init(KEY, X)
        np.testing.assert_array_equal(variables["params"]["layer_instance/kernel/scale"], 1)
        effective = module.apply(variables, np.eye(5, dtype=np.float32))
        np.testing.assert_allclose(np.linalg.norm(effective, axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "options", "found"),
    [
        (nn.Dense(3, use_bias=False), {}, "got Dense at"),
        (nn.Dense(3), {"use_scale": False}, "got Dense at"),
        (nn.Dense(3), {"variable_filter": None}, "got Dense at"),
        (nn.Dense(3), {"feature_axes": None}, "got Dense at"),
        (nn.DenseGeneral((2, 3)), {}, "got DenseGeneral at"),
        (nn.Sequential([nn.Dense(3), nn.relu]), {}, "got Sequential at"),
        (layers.CosineDense(3), {}, "got CosineDense at"),
    ],
)
def test_layers_it_cannot_start(layer, options, found):
    module = nn.WeightNorm(layer, **options)
    with pytest.raises(ValueError, match=rf"module: expected every WeightNorm around .* with a bias.*{found} \(root\)"):
        layers.start_weight_norm(module, module.init(KEY, X), X)


def test_one_without_scale_below_the_root():
    module = nn.Sequential([nn.WeightNorm(nn.Dense(3), use_scale=False)])
    with pytest.raises(ValueError, match=r"got Dense at layers_0 with .*'kernel': \(5, 3\)"):
        layers.start_weight_norm(module, module.init(KEY, X), X)


def test_no_weight_norm():
    with pytest.raises(ValueError, match=r"module: expected at least one flax\.linen\.WeightNorm; Dense calls none"):
        layers.start_weight_norm(nn.Dense(3), nn.Dense(3).init(KEY, X), X)


def test_one_that_is_called_twice():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.WeightNorm(nn.Dense(5))
            return layer(layer(x))

    with pytest.raises(ValueError, match=r"expected every WeightNorm to be called once; the one at WeightNorm_0"):
        layers.start_weight_norm(Twice(), Twice().init(KEY, X), X)


def test_one_in_a_scan():
    class Cell(nn.RNNCellBase):
        @nn.compact
        def __call__(self, carry, x):
            carry = nn.tanh(nn.WeightNorm(nn.Dense(5))(x) + carry)
            return carry, carry

        def initialize_carry(self, rng, input_shape):
            return jnp.zeros((*input_shape[:-1], 5))

        @property
        def num_feature_axes(self):
            return 1

    x = X.reshape(8, 8, 5)
    variables = nn.RNN(Cell()).init(KEY, x)
    with pytest.raises(ValueError, match=r"expected every WeightNorm outside of scans.*got one inside, at cell/Weight"):
        layers.start_weight_norm(nn.RNN(Cell()), variables, x)


@pytest.mark.parametrize("x", [np.ones((64, 5), np.float32), X[:1], np.zeros((64, 5), np.float32), X * np.nan])
def test_units_that_do_not_vary(x):
    module = DenseNet()
    message = r"x: expected pre-activations that vary.*units \[0, 1, 2, 3, 4, 5, 6, 7\] of WeightNorm_0 do not"
    with pytest.raises(ValueError, match=message):
        layers.start_weight_norm(module, module.init(KEY, X), x)


def test_a_model_in_place_of_a_module():
    with pytest.raises(TypeError, match=r"module: expected a flax\.linen module; got Model"):
        layers.start_weight_norm(jaxdl.as_model(DenseNet()), {}, X)  # type: ignore[arg-type]
