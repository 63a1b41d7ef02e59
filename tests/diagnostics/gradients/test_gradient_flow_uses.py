"""Uses of parameters that are hard to tell apart: each has its own error signal, or none, but never another's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import gradient_flow

from .test_gradient_flow import TARGETS, X, Y, start, sum_of_squares, without_biases


def joint(*grads):
    return np.sqrt(sum(np.sum(np.square(np.asarray(g, np.float64))) for g in grads))


def test_layers_in_one_product_are_told_apart_by_their_biases_or_not_at_all():
    """As in an LSTM whose gates are computed by one product of concatenated kernels."""
    kernels = [np.random.RandomState(i).randn(6, 3).astype(np.float32) for i in range(2)]

    def losses(p, x):
        w = jnp.concatenate([p["i"]["w"], p["f"]["w"]], 1)
        z = x @ w
        if "b" in p["i"]:
            z = z + jnp.concatenate([p["i"]["b"], p["f"]["b"]])[None]
        gate, value = jnp.split(jnp.tanh(z), 2, axis=1)
        return jnp.square(gate * value).sum(-1)

    params = {"i": {"w": kernels[0]}, "f": {"w": kernels[1]}}
    assert np.all(np.isnan(gradient_flow(losses, params, X).error_signal))
    with_biases = {name: {**layer, "b": jnp.zeros(3)} for name, layer in params.items()}
    flow = gradient_flow(losses, with_biases, X)
    grads = jax.grad(lambda p: losses(p, X).mean())(with_biases)
    for name, signal in zip(flow.layers, flow.error_signal, strict=True):
        np.testing.assert_allclose(signal, joint(grads[name]["b"]), rtol=1e-5)


class Stack(nn.Module):
    """Dense layers stacked by nn.scan: one path, a slice of the parameters in each turn."""

    use_bias: bool
    reverse: bool = False

    @nn.compact
    def __call__(self, x):
        class Layer(nn.Module):
            use_bias: bool

            @nn.compact
            def __call__(self, carry, _):
                return nn.tanh(nn.Dense(6, use_bias=self.use_bias, name="dense")(carry)), None

        options = dict(variable_axes={"params": 0}, split_rngs={"params": True}, length=4, reverse=self.reverse)
        return nn.Dense(3, use_bias=self.use_bias, name="out")(
            nn.scan(Layer, **options)(self.use_bias, name="stack")(x, None)[0]
        )


class Side(nn.Module):
    """Dense layers side by side, each with its own input: nn.vmap over parameters and data."""

    use_bias: bool

    @nn.compact
    def __call__(self, x):
        x = jnp.reshape(x, (len(x), 2, 3))
        side = nn.vmap(nn.Dense, in_axes=1, out_axes=1, variable_axes={"params": 0}, split_rngs={"params": True})
        return side(3, use_bias=self.use_bias, name="side")(x).sum(1)


class Local(nn.Module):
    use_bias: bool

    @nn.compact
    def __call__(self, x):
        return nn.tanh(nn.ConvLocal(2, (3,), padding="VALID", use_bias=self.use_bias, name="local")(x[..., None]))


@pytest.mark.parametrize("make", [Stack, lambda bias: Stack(bias, reverse=True), Side, Local])
def test_stacked_weights_have_a_bias_each(make):
    params, _ = start(make(True))
    expected = gradient_flow(training.supervised(make(True), sum_of_squares), params, (X, TARGETS))
    found = gradient_flow(training.supervised(make(False), sum_of_squares), without_biases(params), (X, TARGETS))
    assert found.layers == expected.layers
    np.testing.assert_allclose(found.error_signal, expected.error_signal, rtol=1e-4)


def test_a_use_inside_a_while_loop_is_not_passed_off_as_the_whole():
    """A fixed point found under stop_gradient, then one step of it that is differentiated."""
    w = 0.3 * np.random.RandomState(0).randn(6, 6).astype(np.float32)

    def losses(p, x):
        turn = lambda h: jnp.tanh(h @ p["f"]["w"] + x)  # noqa: E731
        found = jax.lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, turn(c[1])), (0, x))[1]
        return jnp.square(turn(jax.lax.stop_gradient(found))).sum(-1)

    flow = gradient_flow(losses, {"f": {"w": w}}, X)
    assert np.isnan(flow.error_signal[0])
    assert flow.weight_gradient[0] > 0


def test_a_dictionary_of_several_layers_is_several_rows():
    def losses(p, x):
        net = p["net"]
        return jnp.square(jnp.tanh(x @ net["w1"] + net["b1"][None]) @ net["w2"] + net["b2"][None]).sum(-1)

    draws = np.random.RandomState(0)
    shapes = {"b1": (4,), "b2": (3,), "w1": (6, 4), "w2": (4, 3)}
    params = {"net": {name: draws.randn(*shape).astype(np.float32) for name, shape in shapes.items()}}
    flow = gradient_flow(losses, params, X)
    grads = jax.grad(lambda p: losses(p, X).mean())(params)["net"]
    rows = dict(zip(flow.layers, flow.error_signal, strict=True))
    for name in ("1", "2"):
        np.testing.assert_allclose(rows[f"net/b{name}"], joint(grads[f"b{name}"]), rtol=1e-5)
        np.testing.assert_allclose(rows[f"net/w{name}"], rows[f"net/b{name}"], rtol=1e-4)


def test_what_the_loss_does_not_depend_on_is_unused():
    def losses(p, x):
        _ = x @ p["head"]["w"]  # an auxiliary head whose output is dropped
        return jnp.square(x @ p["body"]["w"]).sum(-1)

    flow = gradient_flow(losses, {"body": {"w": jnp.ones((6, 2))}, "head": {"w": jnp.ones((6, 2))}}, X)
    assert (flow.layers, flow.unused) == (("body",), ("head",))


def test_tied_weights_with_uses_of_two_kinds():
    table = np.random.RandomState(0).randn(6, 6).astype(np.float32)

    def losses(p, tokens):
        return jax.nn.logsumexp(jnp.take(p["table"], tokens, axis=0) @ p["table"].T, -1)

    flow = gradient_flow(losses, {"table": table}, np.arange(5))
    assert np.isnan(flow.error_signal[0])
    assert flow.weight_gradient[0] > 0


def test_gradients_too_small_or_too_large_to_be_squared():
    for scale in (1e-30, 1e30):
        flow = gradient_flow(lambda p, x, s=scale: s * (x @ p["a"]["w"]).sum(-1), {"a": {"w": jnp.ones((6, 2))}}, X)
        np.testing.assert_allclose(flow.error_signal[0] / scale, np.sqrt(2), rtol=1e-5)


def test_more_errors():
    objective = training.supervised(jaxdl.models.MLP((3,)), jaxdl.losses.softmax_cross_entropy)
    params, _ = start(jaxdl.models.MLP((3,)))
    with pytest.raises(TypeError, match=r"got the model MLP\. Make an objective of it: jaxdl\.training\.supervised"):
        gradient_flow(jaxdl.models.MLP((3,)), params, (X, Y))
    with pytest.raises(TypeError, match="key: expected one typed key; got int"):
        gradient_flow(objective, params, (X, Y), key=0)
    with pytest.raises(
        ValueError, match=r"batch: expected a pair \(x, y\) for a supervised objective; got an array of shape \(9, 6\)"
    ):
        gradient_flow(objective, params, X)
    unhashable = type("Losses", (), {"__call__": lambda self, p, x: x.sum(-1), "__eq__": lambda a, b: True})
    with pytest.raises(TypeError, match="objective: expected something hashable"):
        gradient_flow(unhashable(), params, X)
