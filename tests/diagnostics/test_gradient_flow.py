import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import gradient_flow, measure_gradient_flow
from tests.reference import backprop

X = np.random.RandomState(0).rand(9, 6).astype(np.float32)
Y = np.random.RandomState(1).randint(0, 3, 9)
TARGETS = np.random.RandomState(2).rand(9, 3).astype(np.float32)


def start(model, x=X, seed=0):
    variables = dict(jaxdl.as_model(model).init(jax.random.key(seed), x))
    return variables.pop("params"), variables


def sum_of_squares(outputs, targets):
    return jnp.square(outputs).reshape(len(outputs), -1).sum(-1)


def test_the_book_quantities_against_the_four_equations():
    sizes = (5,) * 11 + (3,)  # eleven hidden layers, so that Dense_10 must not come before Dense_2
    model = jaxdl.models.MLP(sizes, activation=nn.sigmoid, bias_init=nn.initializers.normal(1.0))
    params, _ = start(model)
    flow = gradient_flow(
        training.supervised(model, jaxdl.losses.sigmoid_cross_entropy), params, (X, Y), tx=optax.sgd(0.5)
    )
    names = [f"Dense_{i}" for i in range(12)]
    weights = [np.asarray(params[name]["kernel"], np.float64).T for name in names]
    biases = [np.asarray(params[name]["bias"], np.float64) for name in names]
    grads_w, grads_b = backprop.mean_backprop(weights, biases, X.astype(np.float64), np.eye(3)[Y])
    assert flow.layers == tuple(names)
    assert flow.matrix == (True,) * 12
    errors = np.array([np.linalg.norm(g) for g in grads_b])
    np.testing.assert_allclose(flow.error_signal, errors, rtol=1e-4)
    np.testing.assert_allclose(flow.ratio_to_next[:-1], errors[:-1] / errors[1:], rtol=1e-4)
    assert np.isnan(flow.ratio_to_next[-1])
    gradients = np.array([np.linalg.norm(g) for g in grads_w])
    np.testing.assert_allclose(flow.weight_gradient, gradients, rtol=1e-4)
    norms = np.array([np.linalg.norm(w) for w in weights])
    np.testing.assert_allclose(flow.update_to_weight, 0.5 * gradients / norms, rtol=1e-4)
    assert "vanishing" in flow.verdict()


class WithBias(nn.Module):
    """Dense, convolution, embedding and recurrence; the twin of `WithoutBias` with biases that are zero."""

    use_bias: bool

    @nn.compact
    def __call__(self, x):
        b = self.use_bias
        h = jnp.tanh(nn.Conv(4, (2,), strides=(2,), use_bias=b, name="conv")(x[..., None]))
        h = jnp.tanh(nn.DenseGeneral((2, 3), use_bias=b, name="general")(h))
        h = jnp.tanh(nn.DenseGeneral(5, axis=(-2, -1), use_bias=b, name="joined")(h))
        shared = nn.Dense(5, use_bias=b, name="shared")
        h = jnp.tanh(shared(jnp.tanh(shared(h))))
        h = nn.RNN(Cell(use_bias=b, name="cell"), name="rnn")(h)
        return nn.Dense(3, use_bias=b, name="out")(nn.remat(nn.Dense)(4, use_bias=b, name="remat")(h[:, -1]))


class Cell(nn.RNNCellBase):
    use_bias: bool

    @nn.compact
    def __call__(self, carry, x):
        carry = jnp.tanh(
            nn.Dense(4, use_bias=self.use_bias, name="hh")(carry) + nn.Dense(4, use_bias=False, name="xh")(x)
        )
        return carry, carry

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], 4))

    @property
    def num_feature_axes(self):
        return 1


def without_biases(params):
    if not isinstance(params, dict):
        return params
    return {name: without_biases(value) for name, value in params.items() if name != "bias"}


def test_a_layer_without_bias_has_the_error_signal_of_its_twin_with_a_zero_bias():
    with_bias, without = WithBias(True), WithBias(False)
    params, _ = start(with_bias)
    bare = without_biases(params)  # those of the twin are zero, so both compute the same function
    expected = gradient_flow(training.supervised(with_bias, sum_of_squares), params, (X, TARGETS))
    found = gradient_flow(training.supervised(without, sum_of_squares), bare, (X, TARGETS))
    assert found.layers == expected.layers
    assert set(found.layers) == {
        "conv", "general", "joined", "shared", "cell/hh", "cell/xh", "remat", "out",
    }  # fmt: skip
    np.testing.assert_allclose(found.error_signal, expected.error_signal, rtol=1e-4)
    np.testing.assert_allclose(found.weight_gradient, expected.weight_gradient, rtol=1e-4)


def test_an_embedding():
    table = np.random.RandomState(0).randn(7, 3).astype(np.float32)
    tokens = np.array([[0, 1], [1, 6], [2, 2]])

    def losses(params, tokens):
        return jnp.square(jnp.take(params["embed"]["table"], tokens, axis=0) @ params["head"]["w"]).sum((1, 2))

    params = {"embed": {"table": table}, "head": {"w": np.ones((3, 2), np.float32)}}
    flow = gradient_flow(losses, params, tokens)
    assert flow.layers == ("embed", "head")
    outputs = table[tokens].astype(np.float64) @ np.ones((3, 2))
    np.testing.assert_allclose(flow.error_signal[1], np.linalg.norm(2 * outputs.sum((0, 1)) / 3), rtol=1e-4)
    cotangent = (2 * outputs) @ np.ones((2, 3)) / 3
    np.testing.assert_allclose(flow.error_signal[0], np.linalg.norm(cotangent.sum((0, 1))), rtol=1e-4)


def test_linen_nnx_and_plain_functions_agree():
    kernels = [np.random.RandomState(i).randn(*shape).astype(np.float32) for i, shape in enumerate([(6, 4), (4, 3)])]

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 4, rngs=rngs)
            self.second = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(nnx.sigmoid(self.first(x)))

    layers = [{"kernel": k, "bias": np.zeros(k.shape[1], np.float32)} for k in kernels]

    def plain(params, x):
        hidden = jax.nn.sigmoid(x @ params[0]["kernel"] + params[0]["bias"][None])
        return hidden @ params[1]["kernel"] + params[1]["bias"][None]

    cases = [
        (jaxdl.models.MLP((4, 3), activation=nn.sigmoid), {"Dense_0": layers[0], "Dense_1": layers[1]}),
        (Nnx, {"first": layers[0], "second": layers[1]}),
        ((lambda key, x: None, plain), layers),
    ]
    flows = [
        gradient_flow(training.supervised(model, jaxdl.losses.softmax_cross_entropy), params, (X, Y))
        for model, params in cases
    ]
    assert [flow.layers for flow in flows] == [("Dense_0", "Dense_1"), ("first", "second"), ("0", "1")]
    for flow in flows[1:]:
        np.testing.assert_allclose(flow.error_signal, flows[0].error_signal, rtol=1e-5)
        np.testing.assert_allclose(flow.weight_gradient, flows[0].weight_gradient, rtol=1e-5)


class Normalized(nn.Module):
    norm: type[nn.Module]
    use_bias: bool = True

    @nn.compact
    def __call__(self, x, train):
        options = {"use_running_average": not train} if self.norm is nn.BatchNorm else {}
        for _ in range(3):
            x = nn.relu(self.norm(use_bias=self.use_bias, **options)(nn.Dense(32, use_bias=False)(x)))
        return nn.Dense(3)(x)


@pytest.mark.parametrize("norm", [nn.BatchNorm, nn.LayerNorm])
def test_a_normalized_network_is_not_called_sick(norm):
    """Behind a batch norm the bias of a layer has no gradient at all, however well the layer learns."""
    model = Normalized(norm)
    params, state = start(model)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    flow = gradient_flow(objective, params, (X, Y), model_state=state)
    kind = norm.__name__
    assert flow.layers == ("Dense_0", f"{kind}_0", "Dense_1", f"{kind}_1", "Dense_2", f"{kind}_2", "Dense_3")
    assert flow.matrix == (True, False) * 3 + (True,)
    if norm is nn.BatchNorm:
        assert np.all(np.asarray(flow.error_signal)[[0, 2, 4]] < 1e-5)
    assert "healthy" in flow.verdict(), flow.verdict()


def test_a_scale_alone_has_no_error_signal():
    flow = gradient_flow(lambda p, x: jnp.square(x * p["scale"]["s"][None]).sum(-1), {"scale": {"s": jnp.ones(6)}}, X)
    assert np.isnan(flow.error_signal[0])
    assert flow.matrix == (False,)
    expected = np.linalg.norm(2 * np.mean(X.astype(np.float64) ** 2, 0))
    np.testing.assert_allclose(flow.weight_gradient[0], expected, rtol=1e-5)


def test_weight_normalization_is_one_layer():
    def losses(p, x):
        w = p["wn"]["g"] * p["wn"]["v"] / jnp.linalg.norm(p["wn"]["v"], axis=0, keepdims=True)
        return jnp.square(x @ w).sum(-1)

    params = {"wn": {"g": jnp.ones((1, 4)), "v": jax.random.normal(jax.random.key(0), (6, 4))}}
    flow = gradient_flow(losses, params, X)
    assert flow.layers == ("wn",)
    v = np.asarray(params["wn"]["v"], np.float64)
    outputs = X @ (v / np.linalg.norm(v, axis=0))
    np.testing.assert_allclose(flow.error_signal[0], np.linalg.norm(2 * outputs.mean(0)), rtol=1e-4)


def test_layers_without_data_are_listed_apart():
    flow = gradient_flow(
        lambda p, x: (x @ p["used"]["w"]).sum(-1), {"idle": {"w": jnp.ones(2)}, "used": {"w": jnp.ones((6, 2))}}, X
    )
    assert flow.layers == ("used",)
    assert flow.unused == ("idle",)
    assert "idle" in flow.table()


def test_branches_and_loops():
    def losses(p, x):
        x = jax.lax.cond(x.sum() > 0, lambda x: jnp.tanh(x @ p["a"]["w"]), lambda x: x, x)
        return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ p["b"]["w"]), x).sum(-1)

    weights = [np.random.RandomState(i).randn(6, 6).astype(np.float32) for i in range(2)]
    params = {"a": {"w": weights[0]}, "b": {"w": weights[1]}}
    flow = gradient_flow(losses, params, X)

    def shifted(shifts):
        h = jnp.tanh(X @ weights[0] + shifts[0])
        for _ in range(3):
            h = jnp.tanh(h @ weights[1] + shifts[1])
        return h.sum(-1).mean()

    expected = jax.grad(shifted)([jnp.zeros((1, 6)), jnp.zeros((1, 6))])
    assert flow.layers == ("a", "b")
    np.testing.assert_allclose(flow.error_signal, [np.linalg.norm(g) for g in expected], rtol=1e-4)


def test_dropout_follows_the_key():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.Dense(8)(x)))

    params, _ = start(Dropped())
    objective = training.supervised(Dropped(), jaxdl.losses.softmax_cross_entropy)
    flows = [gradient_flow(objective, params, (X, Y), key=jax.random.key(i)) for i in (1, 1, 2)]
    np.testing.assert_array_equal(flows[0].error_signal, flows[1].error_signal)
    assert not np.array_equal(flows[0].error_signal, flows[2].error_signal)
    evaluated = gradient_flow(objective, params, (X, Y), train=False)
    assert not np.array_equal(flows[0].error_signal, evaluated.error_signal)


def test_stacks_under_vmap_and_is_found_again_without_compiling():
    model = jaxdl.models.MLP((4, 3), activation=nn.sigmoid)
    objective = training.supervised(model, jaxdl.losses.sigmoid_cross_entropy)
    singles = [gradient_flow(objective, start(model, seed=i)[0], (X, Y)) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(start(model, seed=i)[0] for i in range(3)))
    flows = jax.vmap(lambda params: gradient_flow(objective, params, (X, Y)))(stacked)
    assert flows.error_signal.shape == (3, 2)
    for i in range(3):
        np.testing.assert_allclose(flows[i].error_signal, singles[i].error_signal, rtol=1e-5)
    from jaxdl.diagnostics.gradient_flow import _measure

    before = _measure._cache_size()
    gradient_flow(objective, start(model)[0], (X, Y))
    assert _measure._cache_size() == before


def test_riding_in_a_step_gives_what_the_call_gives():
    model = WithBias(False)
    objective, tx = training.supervised(model, sum_of_squares), optax.adam(0.01)
    state = training.init_state(model, tx, X, key=jax.random.key(0))
    step = training.make_train_step(objective, tx, measure=measure_gradient_flow)
    _, metrics = jax.jit(step)(state, (X, TARGETS))
    alone = gradient_flow(objective, state.params, (X, TARGETS), tx=tx)
    for ours, theirs in zip(jax.tree.leaves(metrics["measure"]), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_what_is_measured_for_another_dtype():
    model = jaxdl.models.MLP((8, 8, 3), activation=nn.sigmoid, dtype=jnp.bfloat16)
    params, _ = start(model)
    full = jaxdl.models.MLP((8, 8, 3), activation=nn.sigmoid)
    flow = gradient_flow(training.supervised(model, jaxdl.losses.softmax_cross_entropy), params, (X, Y))
    reference = gradient_flow(training.supervised(full, jaxdl.losses.softmax_cross_entropy), params, (X, Y))
    assert flow.error_signal.dtype == jnp.float32
    np.testing.assert_allclose(flow.error_signal, reference.error_signal, rtol=0.05)


def test_errors():
    with pytest.raises(TypeError, match=r"objective: expected a function of \(params, batch\); got MLP"):
        gradient_flow(type("MLP", (), {})(), {}, X)
    with pytest.raises(TypeError, match=r"tx: expected an optax\.GradientTransformation; got float"):
        gradient_flow(lambda p, x: x.sum(-1), {}, X, tx=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="objective: expected a loss that depends on the parameters and the batch"):
        gradient_flow(lambda p, x: x.sum(-1), {"w": jnp.ones(2)}, X)
    with pytest.raises(ValueError, match=r"losses: expected one value per example, shape \(batch,\); got shape \(\)"):
        gradient_flow(lambda p, x: (x @ p["w"]).sum(), {"w": jnp.ones((6, 2))}, X)


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


def test_a_state_brings_its_running_statistics_along():
    model = Normalized(nn.BatchNorm)
    objective, tx = training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.1)
    state = training.init_state(model, tx, X, key=jax.random.key(0))
    whole = gradient_flow(objective, state, (X, Y), tx=tx)
    parts = gradient_flow(objective, state.params, (X, Y), model_state=state.model_state, tx=tx)
    np.testing.assert_array_equal(whole.weight_gradient, parts.weight_gradient)
    np.testing.assert_array_equal(whole.update_to_weight, parts.update_to_weight)
