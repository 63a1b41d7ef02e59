"""The variances are measured again outside: by Flax's captured layer outputs, or in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxdl.initializers import lsuv
from jaxdl.models import MLP

X = jax.random.normal(jax.random.key(0), (256, 64))


class MaxoutNet(nn.Module):
    depth: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            z = nn.Dense(2 * 64)(x)
            x = z.reshape(*z.shape[:-1], 64, 2).max(-1)
        return nn.Dense(10)(x)


def captured_variances(module, variables, x):
    """Of every layer's output, by Flax."""
    _, state = module.apply(variables, x, capture_intermediates=lambda m, _: isinstance(m, (nn.Dense, nn.Conv)))
    return {name: float(jnp.var(out["__call__"][0])) for name, out in state["intermediates"].items()}


@pytest.mark.parametrize("kind", ["tanh", "relu", "maxout"])
def test_every_layer_of_a_30_layer_network_reaches_variance_1_within_2_percent(kind):
    module = MaxoutNet(30) if kind == "maxout" else MLP((64,) * 30 + (10,), activation=getattr(jnp, kind, nn.relu))
    start = module.init(jax.random.key(1), X)
    result = lsuv(module, start, X, key=jax.random.key(2), tolerance=0.02)
    measured = captured_variances(module, result.variables, X)
    assert len(measured) == 31 == len(result.kernels)
    assert max(abs(v - 1) for v in measured.values()) <= 0.02 + 1e-5
    np.testing.assert_allclose([measured[name.split("/")[0]] for name in result.kernels], result.variances, rtol=1e-4)
    # Before, the deepest layers are far from it, so the test can fail.
    assert max(abs(v - 1) for v in captured_variances(module, start, X).values()) > 0.3


def test_kernels_stay_multiples_of_orthonormal_ones():
    module = MLP((64, 64, 10), activation=jnp.tanh)
    result = lsuv(module, module.init(jax.random.key(1), X), X, key=jax.random.key(2))
    for layer in result.variables["params"].values():
        singular = np.linalg.svd(layer["kernel"], compute_uv=False)
        np.testing.assert_allclose(singular, singular[0], rtol=1e-5)


def test_convolutions_of_odd_windows():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(7, (3, 5), strides=2)(x))
            x = nn.relu(nn.Conv(5, (1, 3), use_bias=False, padding="VALID")(x))
            return nn.Dense(3)(x.mean((1, 2)))

    images = 5 * jax.random.normal(jax.random.key(0), (64, 9, 11, 2)) + 1
    result = lsuv(Net(), Net().init(jax.random.key(1), images), images, key=jax.random.key(2))
    measured = captured_variances(Net(), result.variables, images)
    assert max(abs(v - 1) for v in measured.values()) <= 0.02


def test_a_recurrent_kernel_is_measured_over_all_steps():
    module = nn.RNN(nn.SimpleCell(16))
    x = jax.random.normal(jax.random.key(0), (128, 7, 5))
    result = lsuv(module, module.init(jax.random.key(1), x), x, key=jax.random.key(2))
    params = jax.tree.map(np.asarray, result.variables["params"])["cell"]
    h, from_input, from_state = np.zeros((128, 16)), [], []
    for t in range(7):
        from_input.append(np.asarray(x[:, t]) @ params["i"]["kernel"])
        from_state.append(h @ params["h"]["kernel"])
        h = np.tanh(from_input[-1] + params["i"]["bias"] + from_state[-1])
    assert result.kernels == ("cell/i/kernel", "cell/h/kernel")
    np.testing.assert_allclose([np.var(from_input), np.var(from_state)], result.variances, rtol=1e-4)
    np.testing.assert_allclose(result.variances, 1, atol=0.02)


def test_a_scanned_stack_settles_layer_by_layer():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return jnp.tanh(nn.Dense(64, use_bias=False)(x)), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)
            return scanned()(x, None)[0]

    result = lsuv(Stack(), Stack().init(jax.random.key(1), X), X, key=jax.random.key(2))
    ((_, kernels),) = jax.tree_util.tree_leaves_with_path(result.variables["params"])
    a = np.asarray(X)
    for kernel, reported in zip(np.asarray(kernels), np.asarray(result.variances[0]), strict=True):
        z = a @ kernel
        assert z.var() == pytest.approx(1, abs=0.02)
        assert z.var() == pytest.approx(float(reported), rel=1e-4)
        np.testing.assert_allclose(np.linalg.svd(kernel, compute_uv=False), np.linalg.norm(kernel, 2), rtol=1e-4)
        a = np.tanh(z)


class TwoLayers(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(64, 32, rngs=rngs), nnx.BatchNorm(32, rngs=rngs)
        self.second = nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.norm(self.first(x))))


def test_any_model_will_do_and_other_parameters_stay():
    import jaxdl

    model = jaxdl.as_model(TwoLayers)
    variables = model.init(jax.random.key(1), X)
    result = lsuv(model, variables, X, key=jax.random.key(2))
    assert result.kernels == ("first/kernel", "second/kernel")
    np.testing.assert_allclose(result.variances, 1, atol=0.02)
    assert result.variables["state"] is variables["state"]
    np.testing.assert_array_equal(result.variables["params"]["norm"]["scale"], 1)
    plain = (lambda key, x: {"w": jnp.ones((64, 4))}, lambda params, x: x @ params["w"])
    assert lsuv(plain, {"params": {"w": jnp.ones((64, 4))}}, X, key=jax.random.key(0)).kernels == ("w",)


def test_only_chosen_kernels_change():
    module = MLP((32, 32, 3))
    variables = module.init(jax.random.key(1), X)
    result = lsuv(module, variables, X, key=jax.random.key(2), where="Dense_1/kernel")
    assert result.kernels == ("Dense_1/kernel",)
    for name in ("Dense_0", "Dense_2"):
        np.testing.assert_array_equal(result.variables["params"][name]["kernel"], variables["params"][name]["kernel"])


def test_one_program_and_many_starts():
    module = MLP((32, 32, 3))
    variables = module.init(jax.random.key(1), X)
    start = lambda key: lsuv(module, variables, X, key=key)  # noqa: E731
    keys = jax.random.split(jax.random.key(2), 3)
    many, single = jax.jit(jax.vmap(start))(keys), start(keys[1])
    for ours, theirs in zip(jax.tree.leaves(many), jax.tree.leaves(single), strict=True):
        np.testing.assert_allclose(ours[1], theirs, rtol=1e-4, atol=1e-6)


def test_a_dead_layer_is_left_and_shows_in_the_variances():
    module = MLP((32, 3))
    variables = module.init(jax.random.key(1), X)
    result = lsuv(module, variables, jnp.zeros_like(X), key=jax.random.key(2), max_rounds=3)
    np.testing.assert_array_equal(result.variances, 0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(result.variables))
    np.testing.assert_array_equal(result.rounds, 0)


def test_arguments_that_do_not_fit():
    module = MLP((4, 3))
    variables = module.init(jax.random.key(1), X)
    with pytest.raises(ValueError, match=r"tolerance: expected a number > 0; got 0"):
        lsuv(module, variables, X, key=jax.random.key(0), tolerance=0)
    with pytest.raises(ValueError, match=r"max_rounds: expected a whole number >= 1; got 0"):
        lsuv(module, variables, X, key=jax.random.key(0), max_rounds=0)
    with pytest.raises(TypeError, match=r"key: expected one typed key; got int"):
        lsuv(module, variables, X, key=0)
    with pytest.raises(ValueError, match=r"where: expected parameters that multiply data, as they are.*Dense_0/bias"):
        lsuv(module, variables, X, key=jax.random.key(0), where="**/bias")
    with pytest.raises(
        ValueError, match=r"variables: expected a mapping with 'params'.*the keys \['Dense_0', 'Dense_1'"
    ):
        lsuv(module, variables["params"], X, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"variables: expected a mapping with 'params'.*got list"):
        lsuv(module, [], X, key=jax.random.key(0))
