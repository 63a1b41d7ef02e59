from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import models
from jaxdl.models.recurrent.sequences import at_end
from tests.reference import recurrent as reference

LENGTHS = np.array([6, 3, 0, 1], np.int32)
COUNTS = np.arange(6)[None, :] < LENGTHS[:, None]


@pytest.fixture
def x():
    return np.random.RandomState(0).randn(4, 6, 3).astype(np.float32)


def made(x, *args, **options):
    """A network with all leaves from N(0, 0.5^2): with biases of zero a state would not move over blank steps."""
    network = models.RecurrentNetwork(*args, **options)
    leaves, tree = jax.tree.flatten(jax.eval_shape(network.init, jax.random.key(0), x))
    draws = np.random.RandomState(1)
    return network, jax.tree.unflatten(
        tree, [jnp.asarray(0.5 * draws.randn(*leaf.shape), jnp.float32) for leaf in leaves]
    )


def exact(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def test_a_bidirectional_stack_against_the_transcription(x):
    """Two layers of GRUs in both directions, every sequence cut to its length, one at a time."""
    network, variables = made(x, (4, 4), "gru", bidirectional="all", residual_from=2, num_outputs=2)
    outputs = network.apply(variables, (x, LENGTHS))
    last = network.clone(returns="last").apply(variables, (x, LENGTHS))
    params = exact(variables["params"])
    for example, length in enumerate(LENGTHS):
        y = x[example, :length].astype(np.float64)
        for layer in ("layer_1", "layer_2"):
            there, back = (partial(reference.gru, params[name]["cell"]) for name in (layer, f"{layer}_backward"))
            forward, _ = reference.sequence(there, (np.zeros(4),), y)
            backward, _ = reference.sequence(back, (np.zeros(4),), y[::-1])
            after = np.concatenate([forward, backward[::-1]], 1) if length else np.zeros((0, 8))
            y = y + after if layer == "layer_2" else after
        head = params["head"]
        expected = y @ head["kernel"] + head["bias"]
        np.testing.assert_allclose(outputs[example, :length], expected, atol=1e-5)
        np.testing.assert_array_equal(outputs[example, length:], 0)
        top = np.concatenate([y[-1, :4], y[0, 4:]]) if length else np.zeros(8)
        np.testing.assert_allclose(last[example], top @ head["kernel"] + head["bias"], atol=1e-5)


@pytest.mark.parametrize("returns", ["steps", "last"])
def test_what_stands_in_the_padding_changes_nothing(x, returns):
    network, variables = made(
        x, (4, 4), "lstm", num_outputs=2, bidirectional="first", residual_from=None, returns=returns
    )

    @jax.jit
    def both(params, x):
        def total(params):
            return jnp.sum(network.apply({"params": params}, {"x": x, "lengths": LENGTHS}) ** 2)

        return jax.value_and_grad(total)(params)

    expected = jax.tree.leaves(both(variables["params"], x))
    assert all(np.isfinite(leaf).all() for leaf in expected)
    for padding in (1e30, np.nan, np.inf):
        padded = np.where(COUNTS[..., None], x, np.float32(padding))
        for a, b in zip(jax.tree.leaves(both(variables["params"], padded)), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_lengths_are_those_of_sequences_cut_to_them(x):
    network, variables = made(x, (4, 4), "layer_norm_lstm", bidirectional="all", returns="last")
    together = network.apply(variables, (x, LENGTHS))
    for example, length in enumerate(LENGTHS):
        if length:
            alone = network.apply(variables, x[example : example + 1, :length])
            np.testing.assert_allclose(together[example], alone[0], rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(together[example], 0)


def test_a_mask_may_leave_out_steps_anywhere(x):
    network, variables = made(x, (4,), "lstm", bidirectional="all", returns="last")
    mask = np.array([[0, 0, 1, 1, 0, 1], [1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]], bool)
    together = network.apply(variables, (x, mask))
    for example, counts in enumerate(mask):
        alone = network.apply(variables, x[example : example + 1, counts])
        np.testing.assert_allclose(together[example], alone[0], rtol=1e-5, atol=1e-6)


def test_the_three_ways_to_say_lengths_are_one(x):
    network, variables = made(x, (4,), "tanh")
    pair = network.apply(variables, (x, LENGTHS))
    np.testing.assert_array_equal(pair, network.apply(variables, {"x": x, "lengths": LENGTHS}))
    np.testing.assert_array_equal(pair, network.apply(variables, (x, COUNTS)))
    full = network.apply(variables, x)
    np.testing.assert_array_equal(full, network.apply(variables, {"x": x}))
    np.testing.assert_allclose(full, network.apply(variables, (x, np.full(4, 6))), rtol=1e-6)


@pytest.mark.parametrize("cell", ["gru", nn.OptimizedLSTMCell, "weight_norm_tanh"])
def test_a_layer_is_flaxs_rnn(x, cell):
    network, variables = made(x, (4,), cell)
    rnn = nn.RNN(models.make_cell(cell, 4), return_carry=True)
    carry, outputs = rnn.apply({"params": variables["params"]["layer_1"]}, x, seq_lengths=np.array([6, 3, 2, 1]))
    ours, carries = network.apply(variables, (x, np.array([6, 3, 2, 1])), return_carries=True)
    np.testing.assert_allclose(ours[0], outputs[0], rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), carries[0], carry)


def test_a_sequence_in_two_halves_is_the_whole(x):
    network, variables = made(x, (4, 4), "lstm", residual_from=2)
    whole = network.apply(variables, x)
    first, carries = network.apply(variables, x[:, :4], return_carries=True)
    second = network.apply(variables, x[:, 4:], carries=carries)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), whole, rtol=1e-5, atol=1e-6)


def test_the_first_layer_alone_in_both_directions(x):
    network, variables = made(x, (4, 4), "gru", bidirectional="first", returns="last")
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert set(shapes) == {"layer_1", "layer_1_backward", "layer_2"}
    assert shapes["layer_2"]["cell"]["ir"]["kernel"] == (8, 4)
    assert network.apply(variables, x).shape == (4, 4)
    outputs, carries = network.apply(variables, x, return_carries=True)
    again = network.apply(variables, x, carries=carries)
    assert again.shape == outputs.shape
    assert not np.allclose(again, outputs)


@pytest.mark.parametrize(("cell", "gates", "recurrent_biases"), [("tanh", 1, 0), ("lstm", 4, 0), ("gru", 3, 1)])
def test_parameter_counts(cell, gates, recurrent_biases):
    """gates (in + units + 1) units; Flax's GRU has one bias more, inside the reset gate."""
    _, variables = made(np.ones((1, 2, 28)), (100, 50), cell, num_outputs=10)
    expected = sum(gates * (i + h + 1) * h + recurrent_biases * h for i, h in ((28, 100), (100, 50))) + 51 * 10
    assert jaxdl.tree.num_entries(variables) == expected


def test_outputs_depend_on_the_past_alone(x):
    network, variables = made(x, (4, 4), "lstm", residual_from=2, num_outputs=2)
    jacobian = jax.jacobian(lambda x: network.apply(variables, x)[0])(x)[:, :, 0]
    for step in range(6):
        np.testing.assert_array_equal(jacobian[step, :, step + 1 :], 0)
        assert np.abs(jacobian[step, :, : step + 1]).min() > 0


def test_dropout_between_layers(x):
    network, variables = made(x, (64, 64), "tanh", dropout_rate=0.5)
    quiet = network.apply(variables, x)
    np.testing.assert_array_equal(quiet, models.RecurrentNetwork((64, 64), "tanh").apply(variables, x))
    seen = {}

    def look(call, args, kwargs, context):
        outputs = call(*args, **kwargs)
        if context.module.name == "dropout_2":
            seen["in"], seen["out"] = args[0], outputs
        return outputs

    with nn.intercept_methods(look):
        network.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})
    dropped = np.asarray(seen["out"] == 0)
    # 1,536 entries: a share outside of 0.5 +- 0.064 comes once in two million draws (5 deviations).
    assert 0.436 < dropped.mean() < 0.564
    assert (dropped[:, 0] != dropped[:, 1]).any(), "a mask of its own at every step"
    np.testing.assert_allclose(seen["out"][~dropped], 2 * seen["in"][~dropped], rtol=1e-6)


def test_the_last_and_the_first_step_that_counts():
    array = np.arange(24.0).reshape(4, 3, 2)
    mask = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(at_end(array, mask), [[2, 3], [10, 11], [0, 0], [20, 21]])
    np.testing.assert_array_equal(at_end(array, mask, first=True), [[0, 1], [8, 9], [0, 0], [20, 21]])
    np.testing.assert_array_equal(at_end(array, None), array[:, -1])


def test_a_classifier_of_sequences_learns_through_fit():
    """Whether the first step is positive, which has to be remembered over the others and over padding."""
    draws = np.random.RandomState(0)
    x, lengths = draws.randn(256, 6, 1).astype(np.float32), draws.randint(2, 7, 256).astype(np.int32)
    y = (x[:, 0, 0] > 0).astype(np.int32)
    model = models.RecurrentNetwork((12,), "lstm", num_outputs=2, returns="last")
    objective = jaxdl.training.supervised(
        model, jaxdl.losses.softmax_cross_entropy, metrics={"accuracy": jaxdl.losses.correct}
    )
    tx = optax.adam(0.02)
    data = ({"x": x, "lengths": lengths}, y)
    state = jaxdl.training.init_state(model, tx, jax.tree.map(lambda a: a[:1], data[0]), key=jax.random.key(0))
    state, _ = jaxdl.training.fit(
        jaxdl.training.make_train_step(objective, tx), state, data, epochs=15, batch_size=32, progress=False
    )
    assert jaxdl.training.evaluate(objective, state, data)["accuracy"] > 0.95  # chance: 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": ()}, "sizes: expected the units of at least one layer; got none. Give for example"),
        ({"sizes": (0,)}, "features: expected a whole number >= 1; got 0"),
        ({"returns": "state"}, "returns: expected one of 'steps', 'last'; got 'state'. 'last' for one output"),
        ({"bidirectional": True}, "bidirectional: expected one of 'none', 'first', 'all'; got True. 'none' runs"),
        ({"num_outputs": 0}, "num_outputs: expected a whole number >= 1; got 0. None leaves the linear layer out"),
        ({"residual_from": 0}, "residual_from: expected a whole number >= 1; got 0. Wu et al. begin with layer 3"),
        (
            {"residual_from": 1},
            r"residual_from: expected layer 1 to give as many units as it takes, since they .*; got 4 for 3. Begin",
        ),
    ],
)
def test_options_that_make_no_network(x, options, message):
    with pytest.raises(ValueError, match=message):
        made(x, **{"sizes": (4,), **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], r"x: expected an array \(batch, steps, features\); got shape \(6, 3\). Reshape it"),
        (lambda x: {"inputs": x}, r"x: expected an array, a pair .*; got dict of inputs. Pass for example"),
        (lambda x: "abc", r"x: expected an array, a pair .*; got str. Pass"),
        (lambda x: (x, LENGTHS[:3]), "lengths: expected one for each of the 4 examples; got 3. Cut both"),
        (
            lambda x: (x, LENGTHS.astype(np.float32)),
            r"lengths: expected whole numbers \(batch,\), or a mask \(batch, 6\); got shape \(4,\) of float32. Give",
        ),
        (lambda x: (x, COUNTS[:, :5]), r"lengths: expected whole numbers .*; got shape \(4, 5\) of bool"),
    ],
)
def test_inputs_that_are_no_sequences(x, change, message):
    network, variables = made(x, (4,))
    with pytest.raises(ValueError, match=message):
        network.apply(variables, change(x))


def test_carries_of_another_number_of_layers(x):
    network, variables = made(x, (4, 4), "gru")
    with pytest.raises(ValueError, match=r"carries: expected one for each of 2 layers; got 1. Pass those that"):
        network.apply(variables, x, carries=(jnp.zeros((4, 4)),))
