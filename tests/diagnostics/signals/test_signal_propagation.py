"""What is measured on the way forward, against NumPy and against what Flax itself captures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import training
from jaxdl.diagnostics import measure_signal_propagation, signal_propagation

from .signal_networks import Attention, Cnn, Recurrent, ResNet, Stacked, draws

LOSS = jaxdl.losses.softmax_cross_entropy


def start(model, x, seed=0):
    variables = dict(jaxdl.as_model(model).init(jax.random.key(seed), x))
    return variables.pop("params"), variables


def labels(x):
    return np.arange(len(x)) % 3


def measured(model, x, params=None, **options):
    drawn, state = start(model, x)
    params = drawn if params is None else params
    return signal_propagation(training.supervised(model, LOSS), params, (x, labels(x)), model_state=state, **options)


def cosine(z):
    """Mean over pairs, one by one."""
    rows = np.asarray(z, np.float64).reshape(len(z), -1)
    pairs = [
        rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
        for i in range(len(z))
        for j in range(len(z))
        if i != j
    ]
    return np.mean(pairs)


def agrees(signals, row, z, *, a=None, small=None):
    """Compares a row with arrays `(examples, ...)` of pre-activations, activations and small derivatives."""
    z = np.asarray(z, np.float64)
    found = [np.asarray(values)[row] for values in (signals.mean, signals.variance, signals.length)]
    np.testing.assert_allclose(found, [z.mean(), z.var(), np.square(z).mean()], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(signals.correlation[row], cosine(z), rtol=1e-4, atol=1e-5)
    a = z if a is None else np.asarray(a, np.float64)
    passed = [np.asarray(values)[row] for values in (signals.activation_mean, signals.activation_variance)]
    np.testing.assert_allclose(passed, [a.mean(), a.var()], rtol=1e-4, atol=1e-6)
    share = np.nan if small is None else np.mean(small)
    np.testing.assert_allclose(signals.saturation[row], share, rtol=1e-5)


def softmax_errors(logits, y):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True) - np.eye(logits.shape[-1])[y]


def test_a_tanh_network_against_backpropagation_by_hand():
    model, x = jaxdl.models.MLP((7, 6, 3), activation=jnp.tanh), np.asarray(draws(5, 4))
    params, _ = start(model, x)
    params = jax.tree.map(lambda leaf: 3 * leaf + 0.3, params)
    signals = measured(model, x, params)
    w = [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64) for i in range(3)]
    b = [np.asarray(params[f"Dense_{i}"]["bias"], np.float64)[None] for i in range(3)]
    z = [x @ w[0] + b[0]]
    for i in (1, 2):
        z.append(np.tanh(z[-1]) @ w[i] + b[i])
    errors = [softmax_errors(z[2], labels(x))]
    for i in (1, 0):
        errors.insert(0, errors[0] @ w[i + 1].T * (1 - np.tanh(z[i]) ** 2))
    for i in range(2):
        agrees(signals, i, z[i], a=np.tanh(z[i]), small=1 - np.tanh(z[i]) ** 2 < 0.05)
    agrees(signals, 2, z[2])
    assert 0.1 < signals.saturation[0] < 0.9
    np.testing.assert_allclose(signals.error_norm, [np.sqrt(np.square(e).sum(-1).mean()) for e in errors], rtol=1e-4)
    np.testing.assert_allclose(signals.error_variance, [e.var() for e in errors], rtol=1e-4)
    right = np.eye(3)[labels(x)] > 0
    np.testing.assert_allclose(signals.loss, -np.log(1 + errors[2][right]).mean(), rtol=1e-5)
    assert signals.layers == ("Dense_0", "Dense_1", "Dense_2")
    assert signals.activations == ("tanh", "tanh", None)
    assert not np.any(signals.illness)
    assert signals.length_by_turn == {}


ACTIVATIONS = {
    "relu": nn.relu, "leaky_relu": nn.leaky_relu, "elu": nn.elu, "selu": nn.selu, "celu": nn.celu, "silu": nn.silu,
    "soft_sign": nn.soft_sign, "softplus": nn.softplus, "logistic": nn.sigmoid, "hard_tanh": nn.hard_tanh,
    "relu6": nn.relu6, "integer_pow to mul": nn.gelu, "erfc to mul": lambda z: nn.gelu(z, approximate=False),
    "max": lambda z: jnp.maximum(z, 0.1 * z), "gt to select_n": lambda z: jnp.where(z > 0, z, 0.02 * z),
    "exp to div": lambda z: 1 / (1 + jnp.exp(-z)), "logistic to mul": lambda z: z * nn.sigmoid(1.702 * z),
    "tanh": lambda z: jnp.tanh(2 / 3 * z), "exp to log1p": lambda z: jnp.log1p(jnp.exp(z)),
    "sin to add": lambda z: z + jnp.sin(z), "clamp": lambda z: jnp.clip(z, -1.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_found_whole(name):
    activation = ACTIVATIONS[name]
    w = np.asarray(4 * draws(3, 8, seed=1))
    x = np.asarray(draws(9, 3))

    def losses(params, x):
        return jnp.square(activation(x @ params["a"]["w"]) @ params["b"]["w"]).sum(-1)

    signals = signal_propagation(losses, {"a": {"w": w}, "b": {"w": draws(8, 2)}}, x, saturated_below=0.1)
    z = x @ w
    slopes = jax.vmap(jax.grad(activation))(z.ravel())
    agrees(signals, 0, z, a=activation(jnp.asarray(z)), small=np.abs(slopes) < 0.1)
    assert signals.activations[0] in (name, "clip")
    assert signals.activations[1] is None, "the squares belong to the loss"


def test_a_convolutional_network():
    x = draws(5, 8, 8, 2)
    signals = measured(Cnn(), x)
    params, _ = start(Cnn(), x)
    _, kept = Cnn().apply({"params": params}, x, capture_intermediates=True)
    z = {name: value["__call__"][0] for name, value in kept["intermediates"].items() if name != "__call__"}
    assert signals.layers == ("first", "second", "hidden", "head")
    for row, (name, fn) in enumerate([("first", nn.relu), ("second", nn.elu), ("hidden", nn.tanh)]):
        slopes = jax.vmap(jax.grad(fn))(z[name].ravel())
        agrees(signals, row, z[name], a=fn(z[name]), small=np.abs(slopes) < 0.05)
    agrees(signals, 3, z["head"])


@pytest.mark.parametrize(("norm", "train"), [(nn.GroupNorm, True), (nn.BatchNorm, True), (nn.BatchNorm, False)])
def test_a_residual_network_bends_behind_its_normalizations_and_sums(norm, train):
    x, model = draws(5, 6, 6, 2), ResNet(norm)
    signals = measured(model, x, train=train)
    params, state = start(model, x)
    _, kept = model.apply(
        {"params": params, **state}, x, train, capture_intermediates=True, mutable=["intermediates", "batch_stats"]
    )
    kept = kept["intermediates"]
    names = ["block1/conv1", "block1/conv2", "block1/shortcut", "block2/conv1", "block2/conv2", "head"]
    assert list(signals.layers) == names
    assert signals.activations == ("relu",) * 5 + (None,)
    assert signals.meeting == (0, 1, 1, 3, 4, 5)
    call = lambda node: node["__call__"][0]  # noqa: E731
    skips = [call(kept["block1"]["shortcut"]), call(kept["block1"])]
    for i, block in enumerate((kept["block1"], kept["block2"])):
        first, last = call(block["norm1"]), skips[i] + call(block["norm2"])
        agrees(signals, 3 * i, call(block["conv1"]), a=nn.relu(first), small=first <= 0)
        agrees(signals, 3 * i + 1, call(block["conv2"]), a=nn.relu(last), small=last <= 0)
        np.testing.assert_allclose(call(block), nn.relu(last), rtol=1e-5)
    agrees(signals, 5, call(kept["head"]))


def test_a_recurrent_network_turn_by_turn():
    x = np.asarray(draws(6, 4, 3))
    signals = measured(Recurrent(), x)
    params, _ = start(Recurrent(), x)
    cell = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["cell"])
    h, inputs, states, sums = np.zeros((6, 5)), [], [], []
    for t in range(4):
        inputs.append(x[:, t] @ cell["i"]["kernel"] + cell["i"]["bias"][None])
        states.append(h @ cell["h"]["kernel"])
        sums.append(inputs[-1] + states[-1])
        h = np.tanh(sums[-1])
    assert signals.layers == ("cell/i", "cell/h", "head")
    assert signals.activations == ("tanh", "tanh", None)
    assert signals.meeting == (0, 0, 2)
    for row, z in ((0, np.array(inputs)), (1, np.array(states))):
        found = [np.asarray(v)[row] for v in (signals.mean, signals.variance, signals.activation_variance)]
        np.testing.assert_allclose(found, [z.mean(), z.var(), np.tanh(sums).var()], rtol=1e-4, atol=1e-6)
        by_turn = signals.length_by_turn[signals.layers[row]]
        np.testing.assert_allclose(by_turn, np.square(z).mean((1, 2)), rtol=1e-4)
        # The state of the first turn is 0 and has no direction.
        turns = z if row == 0 else z[1:]
        np.testing.assert_allclose(signals.correlation[row], np.mean([cosine(turn) for turn in turns]), rtol=1e-3)
        assert signals.saturation[row] == pytest.approx(np.mean(1 - np.tanh(sums) ** 2 < 0.05))


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell])
def test_gates_have_their_own_activations(cell):
    signals = measured(Recurrent(cell), draws(6, 4, 3))
    found = dict(zip(signals.layers, signals.activations, strict=True))
    if cell is nn.LSTMCell:
        expected = {f"cell/{side}{gate}": "tanh" if gate == "g" else "logistic" for side in "ih" for gate in "ifgo"}
    else:
        expected = {f"cell/{side}{gate}": "logistic" for side in "ih" for gate in "rz"} | {
            "cell/in": "tanh",
            "cell/hn": None,
        }
    assert found == {**expected, "head": None}


def test_gates_in_one_product_are_not_told_apart():
    signals = measured(Recurrent(nn.OptimizedLSTMCell), draws(6, 4, 3))
    for values in (signals.length, signals.saturation, signals.error_norm):
        assert np.all(np.isnan(values[:8]))
    assert np.isfinite(signals.length[8])
    assert "nothing to compare" in signals.verdict()


def test_a_sequence_model_with_attention():
    tokens = np.arange(20).reshape(5, 4) % 7
    signals = measured(Attention(), tokens)
    params, _ = start(Attention(), tokens)
    rows = dict(zip(signals.layers, range(99), strict=False))
    embedded = np.asarray(params["embed"]["embedding"])[tokens]
    agrees(signals, rows["embed"], embedded)
    query = np.einsum("btd,dhk->bthk", embedded, params["attend"]["query"]["kernel"])
    agrees(signals, rows["attend/query"], query + params["attend"]["query"]["bias"][None, None])
    assert [name for name, fn in zip(signals.layers, signals.activations, strict=True) if fn] == [
        "up", "decoder/ir", "decoder/hr", "decoder/iz", "decoder/hz", "decoder/in",
    ]  # fmt: skip
    assert np.isfinite(signals.correlation).all()
    assert "healthy" in signals.verdict()


def test_layers_stacked_by_a_scan_are_one_row():
    x = draws(6, 4)
    signals = measured(Stacked(), x)
    params, _ = start(Stacked(), x)
    h, z = np.asarray(x), []
    for kernel, bias in zip(*(params["stack"]["dense"][name] for name in ("kernel", "bias")), strict=True):
        z.append(h @ kernel + bias[None])
        h = np.tanh(z[-1])
    assert signals.layers == ("stack/dense", "head")
    np.testing.assert_allclose(signals.length[0], np.square(z).mean(), rtol=1e-4)
    np.testing.assert_allclose(signals.activation_variance[0], np.tanh(z).var(), rtol=1e-4)
    np.testing.assert_allclose(signals.length_by_turn["stack/dense"], np.square(z).mean((1, 2)), rtol=1e-4)


def test_linen_nnx_and_plain_functions_agree():
    kernels = [np.random.RandomState(i).randn(*shape).astype(np.float32) for i, shape in enumerate([(6, 4), (4, 3)])]
    layers = [{"kernel": k, "bias": 0.1 * np.ones(k.shape[1], np.float32)} for k in kernels]
    x = draws(5, 6)

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 4, rngs=rngs)
            self.second = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(nnx.sigmoid(self.first(x)))

    def plain(params, x):
        hidden = jax.nn.sigmoid(x @ params[0]["kernel"] + params[0]["bias"][None])
        return hidden @ params[1]["kernel"] + params[1]["bias"][None]

    cases = [
        (jaxdl.models.MLP((4, 3), activation=nn.sigmoid), {"Dense_0": layers[0], "Dense_1": layers[1]}),
        (Nnx, {"first": layers[0], "second": layers[1]}),
        ((lambda key, x: None, plain), layers),
    ]
    found = [signal_propagation(training.supervised(model, LOSS), params, (x, labels(x))) for model, params in cases]
    for signals in found[1:]:
        for ours, theirs in zip(jax.tree.leaves(signals), jax.tree.leaves(found[0]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_axis_of_examples_is_not_mistaken_for_time():
    """Time first, and as many time steps as examples: the correlation is that of examples all the same."""
    x, w = np.asarray(draws(5, 5, 3)), np.asarray(draws(3, 4, seed=1))

    def losses(params, x):
        z = jnp.swapaxes(x, 0, 1) @ params["a"]["w"]
        return (jnp.tanh(z) @ params["b"]["w"]).sum((0, 2))

    params = {"a": {"w": w}, "b": {"w": draws(4, 2)}}
    signals = signal_propagation(losses, params, x)
    np.testing.assert_allclose(signals.correlation[0], cosine(x @ w), rtol=1e-4)
    fixed = lambda params, x: losses(params, x + jnp.zeros((5, 1, 1)))  # noqa: E731
    assert np.isnan(signal_propagation(fixed, params, x).correlation[0]), "no guess where it can't be told"


def test_a_layer_used_twice_in_a_branch_and_in_one_not_taken():
    w = {name: draws(4, 4, seed=i) for i, name in enumerate("abc")}
    x = np.asarray(draws(6, 4, seed=5))

    def losses(p, x):
        x = jnp.tanh(jnp.tanh(x @ p["a"]) @ p["a"])
        x = jax.lax.cond(x.sum() > 1e6, lambda x: jnp.tanh(x @ p["b"]), lambda x: jnp.tanh(x @ p["c"]), x)
        return (x @ p["c"]).sum(-1)

    signals = signal_propagation(losses, w, x)
    assert signals.layers == ("a", "c", "b")
    first = x @ np.asarray(w["a"])
    second = np.tanh(first) @ np.asarray(w["a"])
    np.testing.assert_allclose(signals.length[0], np.square([first, second]).mean(), rtol=1e-4)
    np.testing.assert_allclose(signals.correlation[0], np.mean([cosine(first), cosine(second)]), rtol=1e-3)
    for values in (signals.length, signals.saturation, signals.error_norm):
        assert np.isnan(values[2])
        assert np.all(np.isfinite(values[:2]))


def test_dropout_and_running_statistics_are_part_of_the_run():
    class Dropped(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(8)(x))))

    x = draws(6, 4)
    first, again, other = (measured(Dropped(), x, key=jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first.length, again.length)
    assert first.length[1] != other.length[1]
    assert first.saturation[0] == other.saturation[0], "what dropout drops is not saturated"
    assert measured(Dropped(), x, train=False).length[1] != first.length[1]


def test_bfloat16_float64_and_sizes_beyond_a_float():
    x = draws(6, 4)
    full = measured(jaxdl.models.MLP((8, 3), activation=nn.sigmoid), x)
    half = measured(jaxdl.models.MLP((8, 3), activation=nn.sigmoid, dtype=jnp.bfloat16), x)
    assert half.length.dtype == jnp.float32
    np.testing.assert_allclose(half.length, full.length, rtol=0.05)
    np.testing.assert_allclose(half.error_norm, full.error_norm, rtol=0.05)
    tiny = signal_propagation(lambda p, x: 1e-30 * jnp.tanh(x @ p["a"]).sum(-1), {"a": draws(4, 2)}, x)
    slopes = 1 - np.tanh(np.asarray(x @ draws(4, 2))) ** 2
    np.testing.assert_allclose(tiny.error_norm[0] / 1e-30, np.sqrt(np.square(slopes).sum(-1).mean()), rtol=1e-4)


def test_it_maps_jits_and_is_found_again_without_compiling():
    from jaxdl.diagnostics.signals.signal_propagation import _measure

    model, x = jaxdl.models.MLP((4, 4, 3), activation=jnp.tanh), draws(6, 4)
    objective = training.supervised(model, LOSS)
    singles = [signal_propagation(objective, start(model, x, seed)[0], (x, labels(x))) for seed in range(2)]
    before = _measure._cache_size()
    signal_propagation(objective, start(model, x, 3)[0], (x, labels(x)))
    assert _measure._cache_size() == before
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(start(model, x, seed)[0] for seed in range(2)))
    both = jax.jit(jax.vmap(lambda params: signal_propagation(objective, params, (x, labels(x)))))(stacked)
    assert both.length.shape == (2, 3)
    assert both.illness.shape == (2, 3, 3)
    for i in range(2):
        for ours, theirs in zip(jax.tree.leaves(both[i]), jax.tree.leaves(singles[i]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_it_rides_in_a_training_step_and_changes_nothing(same_bytes, digits_like):
    model = jaxdl.models.MLP((8, 10), activation=nn.relu)
    objective, tx = training.supervised(model, LOSS), optax.sgd(0.1)
    x, y = digits_like
    state = training.init_state(model, tx, x, key=jax.random.key(0))
    step = training.make_train_step(objective, tx, measure=measure_signal_propagation)
    _, metrics = jax.jit(step)(state, (x, y))
    alone = signal_propagation(objective, state, (x, y))
    for ours, theirs in zip(jax.tree.leaves(metrics["measure"]), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    options: dict = dict(epochs=2, batch_size=40)
    plain = training.make_train_step(objective, tx)
    sometimes = training.make_train_step(objective, tx, measure=measure_signal_propagation, measure_every=2)
    measured_fit = training.fit(sometimes, state, (x, y), **options)
    bare_fit = training.fit(plain, state, (x, y), **options)
    same_bytes(measured_fit.state, bare_fit.state)
    history = measured_fit.history
    assert history.measures.length.shape == (3, 2)
    np.testing.assert_array_equal(history.measure_steps, [0, 2, 4])


def test_errors():
    params, x = {"w": jnp.ones((6, 2))}, jnp.ones((4, 6))
    with pytest.raises(ValueError, match=r"saturated_below: expected one finite number >= 0; got -1.* size of a deriv"):
        signal_propagation(lambda p, x: (x @ p["w"]).sum(-1), params, x, saturated_below=-1)
    with pytest.raises(TypeError, match=r"got the model MLP\. Make an objective of it"):
        signal_propagation(jaxdl.models.MLP((3,)), params, x)
    with pytest.raises(ValueError, match=r"expected a layer that multiplies by a matrix or a filter; .* gradient_flow"):
        signal_propagation(lambda p, x: (x * p["s"][None]).sum(-1), {"s": jnp.ones(6)}, x)
    with pytest.raises(ValueError, match=r"losses: expected one value per example, shape \(batch,\); got shape \(\)"):
        signal_propagation(lambda p, x: (x @ p["w"]).sum(), params, x)
