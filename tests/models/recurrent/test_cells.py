from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import models
from tests.reference import recurrent as reference

STEPS, INPUTS, UNITS = 4, 3, 5


def relu(z):
    return np.maximum(z, 0)


# Of each name: the transcription `step(params, *states, x)`, and the number of states.
TRANSCRIBED = {
    "tanh": (reference.simple, 1),
    "relu": (partial(reference.simple, f=relu), 1),
    "irnn": (partial(reference.simple, f=relu), 1),
    "lstm": (reference.lstm, 2),
    "gru": (reference.gru, 1),
    "layer_norm_tanh": (reference.layer_norm_simple, 1),
    "layer_norm_lstm": (reference.layer_norm_lstm, 2),
    "layer_norm_gru": (reference.layer_norm_gru, 1),
    "weight_norm_tanh": (reference.simple, 1),
    "weight_norm_lstm": (reference.lstm, 2),
    "weight_norm_gru": (reference.gru, 1),
}


@pytest.fixture
def xs():
    return np.random.RandomState(0).randn(2, STEPS, INPUTS).astype(np.float32)


def drawn(params, key=1):
    """All leaves from N(0, 1), so that zero biases and unit gains hide nothing; in float64 for the transcription."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(key), len(leaves))
    leaves = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, leaves)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_every_cell_against_its_transcription(name, xs):
    rnn = nn.RNN(models.make_cell(name, UNITS))
    params = drawn(rnn.init(jax.random.key(0), xs)["params"])
    outputs = rnn.apply({"params": params}, xs)
    cell = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["cell"])
    if name.startswith("weight_norm"):
        cell = reference.weight_norm(cell["cell"], cell["weight_norm"])
    step, states = TRANSCRIBED[name]
    for x, y in zip(xs.astype(np.float64), outputs, strict=True):
        expected, _ = reference.sequence(partial(step, cell), (np.zeros(UNITS),) * states, x)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["weight_norm_tanh", "weight_norm_lstm", "weight_norm_gru"])
def test_only_the_direction_of_a_normalized_weight_matters(name, xs):
    rnn = nn.RNN(models.make_cell(name, UNITS))
    params = drawn(rnn.init(jax.random.key(0), xs)["params"])
    cell = params["cell"]
    longer = jax.tree_util.tree_map_with_path(lambda path, v: 7.0 * v if path[-1].key == "kernel" else v, cell["cell"])
    stretched = {"cell": {**cell, "cell": longer}}
    np.testing.assert_allclose(
        rnn.apply({"params": stretched}, xs), rnn.apply({"params": params}, xs), rtol=1e-4, atol=1e-6
    )
    louder = {"cell": {**cell, "weight_norm": jax.tree.map(lambda g: 2.0 * g, cell["weight_norm"])}}
    assert np.abs(rnn.apply({"params": louder}, xs) - rnn.apply({"params": params}, xs)).max() > 0.01

    def total(params):
        return jnp.sum(rnn.apply({"params": params}, xs) ** 2)

    # The gradient of a direction is orthogonal to it.
    for name, leaves in jax.grad(total)(params)["cell"]["cell"].items():
        v = cell["cell"][name]["kernel"]
        products = jnp.sum(leaves["kernel"] * v, 0)
        np.testing.assert_allclose(products, 0, atol=1e-5 * float(jnp.abs(leaves["kernel"]).max() * jnp.abs(v).max()))


def test_the_identity_start():
    params = nn.RNN(models.irnn(6, scale=0.5)).init(jax.random.key(0), np.ones((1, 2, 500)))["params"]["cell"]
    np.testing.assert_array_equal(params["h"]["kernel"], 0.5 * np.eye(6))
    np.testing.assert_array_equal(params["i"]["bias"], 0)
    # 3,000 draws: the deviation is off by more than 10 % once in 10^14.
    assert float(params["i"]["kernel"].std()) == pytest.approx(0.001, rel=0.1)


def test_a_fresh_irnn_adds_up_what_is_positive():
    rnn = nn.RNN(models.irnn(2, stddev=1.0))
    x = np.ones((1, 30, 1), np.float32)
    params = rnn.init(jax.random.key(0), x)["params"]
    params["cell"]["i"]["kernel"] = jnp.array([[0.1, -0.1]])
    expected = np.stack([0.1 * np.arange(1, 31), np.zeros(30)], -1)
    np.testing.assert_allclose(rnn.apply({"params": params}, x)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("cell", "gate", "place"),
    [
        (models.LSTMCell(4, forget_bias=1.0), "hf", slice(None)),
        (models.LayerNormLSTMCell(4, forget_bias=1.0), "norm_i", slice(0, 4)),
        (models.make_cell("lstm", 4), "hf", slice(None)),
        (models.make_cell("layer_norm_lstm", 4), "norm_i", slice(0, 4)),
    ],
)
def test_the_forget_gate_starts_open(cell, gate, place):
    params = nn.RNN(cell).init(jax.random.key(0), np.ones((1, 2, 3)))["params"]["cell"]
    biases = {name: leaves["bias"] for name, leaves in params.items() if "bias" in leaves}
    np.testing.assert_array_equal(biases[gate][place], 1)
    assert sum(float(jnp.sum(b)) for b in biases.values()) == 4


def test_without_a_forget_bias_the_lstm_is_flaxs_to_the_byte(xs):
    ours, theirs = (nn.RNN(cell(UNITS)) for cell in (models.LSTMCell, nn.OptimizedLSTMCell))
    params = ours.init(jax.random.key(0), xs)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, theirs.init(jax.random.key(0), xs)))
    np.testing.assert_array_equal(ours.apply(params, xs), theirs.apply(params, xs))


def test_each_gate_of_a_layer_normalized_cell_starts_orthogonal():
    params = nn.RNN(models.LayerNormLSTMCell(4)).init(jax.random.key(0), np.ones((1, 2, 3)))["params"]["cell"]
    for kernel in np.split(np.asarray(params["h"]["kernel"]), 4, 1):
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


def test_layer_normalized_gates_do_not_feel_the_scale_of_the_inputs():
    cell = models.LayerNormLSTMCell(UNITS)
    x = np.random.RandomState(0).randn(2, 3, INPUTS).astype(np.float32)
    params = drawn(nn.RNN(cell).init(jax.random.key(0), x)["params"])
    small, large = (nn.RNN(cell).apply({"params": params}, factor * x) for factor in (10.0, 1000.0))
    np.testing.assert_allclose(small, large, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_a_cell_in_bfloat16(name, xs):
    network = models.RecurrentNetwork((UNITS,), name, dtype="bfloat16")
    variables = network.init(jax.random.key(0), xs)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    outputs, carries = network.apply(variables, xs, return_carries=True)
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, carries))} == {jnp.dtype("bfloat16")}
    exact = models.RecurrentNetwork((UNITS,), name).apply(variables, xs)
    np.testing.assert_allclose(outputs.astype(np.float32), exact, atol=0.06)


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        ("elman", ValueError, r"cell: expected one of 'tanh', 'relu', 'irnn', 'lstm', 'gru'.*; got 'elman'. Or pass"),
        (nn.GRUCell(3), TypeError, r"cell: expected a name, or a function .*; got GRUCell. Pass for example 'lstm'"),
        (lambda n, dtype: nn.Dense(n), TypeError, r"cell: expected a name, or a function .*; got Dense"),
        (3, TypeError, r"cell: expected a name, or a function .*; got int"),
    ],
)
def test_what_is_no_cell(cell, error, message):
    with pytest.raises(error, match=message):
        models.make_cell(cell, 4)


def test_numbers_that_make_no_cell():
    with pytest.raises(ValueError, match=r"features: expected a whole number >= 1; got 0. 100 are usual"):
        models.make_cell("lstm", 0)
    with pytest.raises(ValueError, match=r"scale: expected one finite number > 0; got 0. 1 is the identity"):
        models.irnn(3, scale=0)
    with pytest.raises(ValueError, match=r"stddev: expected one finite number > 0; got -1. The paper takes 0.001"):
        models.irnn(3, stddev=-1)


def test_kernels_of_every_cell_are_found_by_their_kind():
    for name in TRANSCRIBED:
        params = nn.RNN(models.make_cell(name, UNITS)).init(jax.random.key(0), np.ones((1, 2, 3)))["params"]
        leaves = jaxdl.tree.leaf_paths(params)
        for path, leaf in leaves.items():
            assert jaxdl.tree.is_kernel(path, leaf) == path.endswith("kernel")
