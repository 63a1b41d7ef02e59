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
    from jaxdl.diagnostics.gradients.gradient_flow import _measure

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


def test_a_state_brings_its_running_statistics_along():
    model = Normalized(nn.BatchNorm)
    objective, tx = training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.1)
    state = training.init_state(model, tx, X, key=jax.random.key(0))
    whole = gradient_flow(objective, state, (X, Y), tx=tx)
    parts = gradient_flow(objective, state.params, (X, Y), model_state=state.model_state, tx=tx)
    np.testing.assert_array_equal(whole.weight_gradient, parts.weight_gradient)
    np.testing.assert_array_equal(whole.update_to_weight, parts.update_to_weight)
