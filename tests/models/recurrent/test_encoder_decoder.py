import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import models
from tests.reference import recurrent as reference

LENGTHS = np.array([5, 2, 3], np.int32)


@pytest.fixture
def x():
    draws = np.random.RandomState(0)
    return {
        "source": draws.randint(0, 7, (3, 5)).astype(np.int32),
        "lengths": LENGTHS,
        "target": draws.randint(0, 6, (3, 4)).astype(np.int32),
    }


def made(x, **options):
    settings = {"encoder_sizes": (4, 4), "decoder_sizes": (4, 4), **options}
    model = models.EncoderDecoder(7, 6, **settings)
    return model, drawn(model, x)


def drawn(model, x):
    """All leaves from N(0, 0.7^2), so that zero biases hide nothing, and no orthogonal start has to be compiled."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(model.init, jax.random.key(0), x))
    draws = np.random.RandomState(1)
    return jax.tree.unflatten(tree, [jnp.asarray(0.7 * draws.randn(*leaf.shape), leaf.dtype) for leaf in leaves])


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_a_decoder_against_the_transcription(x, attention):
    """One layer of tanh on either side, every source cut to its length, token by token."""
    model, variables = made(x, encoder_sizes=(4,), decoder_sizes=(4,), cell="tanh", attention=attention)
    logits = jax.jit(model.apply)(variables, x)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    decoder = params["decoder"]
    for i, length in enumerate(LENGTHS):
        embedded = params["source_embedding"]["embedding"][x["source"][i, :length]]
        cell = params["encoder"]["layer_1"]["cell"]
        memory, _ = reference.sequence(lambda h, e, cell=cell: reference.simple(cell, h, e), (np.zeros(4),), embedded)
        h = np.tanh(memory[-1] @ params["starts_0"]["kernel"] + params["starts_0"]["bias"])
        asks = np.zeros(4)
        for t, token in enumerate([0, *x["target"][i, :-1]]):
            inputs = decoder["embed"]["embedding"][token]
            if attention == "additive":
                context, _ = reference.additive_attention(decoder["attend"], asks, memory)
                h = asks = reference.simple(decoder["cells_0"], h, np.concatenate([inputs, context]))
                features = h
            else:
                h = reference.simple(decoder["cells_0"], h, inputs)
                context, _ = reference.dot_attention(h, memory)
                features = np.tanh(np.concatenate([context, h]) @ decoder["combine"]["kernel"])
            expected = features @ decoder["head"]["kernel"] + decoder["head"]["bias"]
            np.testing.assert_allclose(logits[i, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", [None, "additive", "general"])
def test_the_decoder_does_not_look_ahead(x, attention):
    """The gradient of a step's logits with respect to the embeddings of what stands there and later is zero."""
    model, variables = made(x, attention=attention, residual_from=2)
    params = variables["params"]
    distinct = {**x, "target": np.tile(np.arange(1, 5, dtype=np.int32), (3, 1))}  # token t + 1 at step t

    def logits(embedding):
        decoder = {**params["decoder"], "embed": {"embedding": embedding}}
        return model.apply({"params": {**params, "decoder": decoder}}, distinct).sum((0, 2))

    jacobian = jax.jit(jax.jacobian(logits))(params["decoder"]["embed"]["embedding"])
    felt = np.abs(jacobian).max(-1)  # (steps, tokens)
    for step in range(4):
        np.testing.assert_array_equal(felt[step, step + 1 :], 0)
        assert felt[step, : step + 1].min() > 0


@pytest.mark.parametrize(("attention", "start"), [("additive", "dense"), ("dot", "copy"), (None, "zeros")])
def test_padding_of_the_source_changes_nothing(x, attention, start):
    model, variables = made(x, attention=attention, start=start)
    other = {**x, "source": np.where(np.arange(5)[None, :] < LENGTHS[:, None], x["source"], 10**6)}

    @jax.jit
    def both(variables, x):
        return jax.value_and_grad(lambda v: jnp.sum(model.apply(v, x) ** 2))(variables)

    for a, b in zip(*(jax.tree.leaves(both(variables, each)) for each in (x, other)), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = {"source": x["source"][1:2, :2], "target": x["target"][1:2]}
    np.testing.assert_allclose(model.apply(variables, alone)[0], model.apply(variables, x)[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_greedy_decoding_is_a_loop_of_steps(x, attention):
    model, variables = made(x, attention=attention, end_token=5)
    source = {"source": x["source"], "lengths": LENGTHS}
    found = np.asarray(jax.jit(lambda v: model.apply(v, source, 6, method="greedy"))(variables))
    state, memory = model.apply(variables, source, method="encode")
    tokens, ended = np.zeros(3, np.int32), np.zeros(3, bool)
    for step in range(6):
        state, logits = model.apply(variables, state, tokens, memory, method="decode_step")
        tokens = np.where(ended, 5, np.argmax(logits, -1)).astype(np.int32)
        ended |= tokens == 5
        np.testing.assert_array_equal(found[:, step], tokens)
    # What greedy decoding chose is also what teacher forcing on it would choose.
    open_ended = model.clone(end_token=None)
    found = open_ended.apply(variables, source, 6, method="greedy")
    forced = open_ended.apply(variables, {**source, "target": found})
    np.testing.assert_array_equal(np.argmax(forced, -1), found)


def test_nothing_follows_an_end(x):
    model, variables = made(x, end_token=2)
    variables["params"]["decoder"]["head"]["kernel"] *= 0
    variables["params"]["decoder"]["head"]["bias"] = jnp.array([0, 0, 9.0, 0, 0, 0])
    assert model.apply(variables, x, 3, method="greedy").tolist() == [[2, 2, 2]] * 3


def test_copied_states_are_the_encoders(x):
    model, variables = made(x, start="copy", attention=None)
    state, memory = model.apply(variables, x, method="encode")
    assert memory is None
    embedded = variables["params"]["source_embedding"]["embedding"][x["source"]]
    encoder = models.RecurrentNetwork((4, 4))
    _, carries = encoder.apply({"params": variables["params"]["encoder"]}, (embedded, LENGTHS), return_carries=True)
    jax.tree.map(np.testing.assert_array_equal, state.carries, carries)


def test_parameters_of_the_eight_layer_shape():
    """By hand: an LSTM of n units and i inputs has 4 n (i + n + 1)."""
    n, words = 1024, 32_000
    x = {"source": np.zeros((1, 3), np.int32), "target": np.zeros((1, 3), np.int32)}
    shapes = jax.eval_shape(models.gnmt(words, words).init, jax.random.key(0), x)["params"]
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    lstm = lambda inputs: 4 * n * (inputs + n + 1)  # noqa: E731
    encoder = shapes["encoder"]
    assert {name: count(leaves) for name, leaves in encoder.items()} == {
        "layer_1": lstm(n), "layer_1_backward": lstm(n), "layer_2": lstm(2 * n),
        **{f"layer_{i}": lstm(n) for i in range(3, 9)},
    }  # fmt: skip
    decoder = shapes["decoder"]
    assert [count(decoder[f"cells_{i}"]) for i in range(8)] == [lstm(2 * n)] * 8, "previous output and context"
    assert count(decoder["attend"]) == 2 * n * n + n
    assert count(decoder["head"]) == (n + 1) * words
    assert count(decoder["embed"]) == count(shapes["source_embedding"]) == n * words
    assert count(shapes) == 8 * lstm(n) + 9 * lstm(2 * n) + 2 * n * n + n + (3 * n + 1) * words


def test_residuals_of_the_eight_layer_shape_begin_at_the_third():
    model = models.gnmt(7, 6, units=4, num_layers=4)
    x = {"source": np.ones((2, 3), np.int32), "target": np.ones((2, 2), np.int32)}
    variables = drawn(model, x)
    decoder = variables["params"]["decoder"]
    silent = {
        name: jax.tree.map(jnp.zeros_like, leaves) if name.startswith("cells") and name > "cells_1" else leaves
        for name, leaves in decoder.items()
    }
    # Layers 3 and 4 that give 0 hand on what comes from layer 2.
    silenced = model.apply({"params": {**variables["params"], "decoder": silent}}, x)
    two = models.EncoderDecoder(
        7, 6, (4,) * 4, (4, 4), bidirectional="first", residual_from=3, start="zeros"
    )  # fmt: skip
    expected = two.apply({"params": {**variables["params"], "decoder": decoder}}, x)
    np.testing.assert_allclose(silenced, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_short_sequences_are_learned_to_be_reversed():
    draws = np.random.RandomState(0)
    source = draws.randint(1, 5, (512, 4)).astype(np.int32)
    lengths = draws.randint(2, 5, 512).astype(np.int32)
    at = np.arange(4)[None, :]
    source = np.where(at < lengths[:, None], source, 0)
    target = np.take_along_axis(source, np.where(at < lengths[:, None], lengths[:, None] - 1 - at, at), 1)
    model = models.EncoderDecoder(5, 5, (24,), (24,), 12, "gru", bidirectional="all")
    objective = jaxdl.training.supervised(
        model, jaxdl.losses.step_mean(jaxdl.losses.softmax_cross_entropy),
        metrics={"whole": jaxdl.losses.sequence_correct},
    )  # fmt: skip
    data = ({"source": source, "lengths": lengths, "target": target}, (target, lengths))
    train, held_out = (jax.tree.map(lambda a, part=part: a[part], data) for part in (slice(448), slice(448, 512)))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
    state = jaxdl.training.init_state(model, tx, jax.tree.map(lambda a: a[:2], train[0]), key=jax.random.key(0))
    state, _ = jaxdl.training.fit(
        jaxdl.training.make_train_step(objective, tx), state, train, epochs=60, batch_size=64, progress=False
    )
    assert jaxdl.training.evaluate(objective, state, held_out)["whole"] > 0.9  # chance: below 0.01
    unseen = {name: held_out[0][name] for name in ("source", "lengths")}
    found = model.apply({"params": state.params}, unseen, 4, method="greedy")
    right = np.all((found == held_out[1][0]) | (at >= held_out[1][1][:, None]), 1)
    assert right.mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "ones"}, "start: expected one of 'copy', 'dense', 'zeros'; got 'ones'. 'dense' fits networks"),
        ({"attention": "cosine"}, "attention: expected one of None, 'additive', 'dot', 'general'; got 'cosine'. None"),
        ({"decoder_sizes": ()}, "sizes: expected the units of at least one layer; got none"),
        ({"embedding": -1}, "embedding: expected a whole number >= 1; got -1. Take as many as the first layer has"),
        (
            {"start": "copy", "decoder_sizes": (4,)},
            r"start: expected an encoder with the layers of the decoder, .*; got \(4, 4\), in both directions: none, "
            r"and \(4,\). Use 'dense'",
        ),
        ({"start": "copy", "bidirectional": "all"}, "start: expected an encoder .*: all, and .*. Use 'dense'"),
    ],
)
def test_options_that_make_no_translator(x, options, message):
    with pytest.raises(ValueError, match=message):
        models.EncoderDecoder(7, 6, **{"encoder_sizes": (4, 4), "decoder_sizes": (4, 4), **options}).init(
            jax.random.key(0), x
        )


def test_calls_that_make_no_sense(x):
    with pytest.raises(ValueError, match=r"source_vocabulary: expected a whole number >= 1; got 0. Count the tokens"):
        models.EncoderDecoder(0, 6, (4,), (4,)).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"vocabulary: expected a whole number >= 1; got 0. Count the tokens, start"):
        models.EncoderDecoder(7, 0, (4,), (4,)).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"num_layers: expected a whole number >= 1; got 0. The paper has 8"):
        models.gnmt(7, 6, num_layers=0)
    model, variables = made(x)
    with pytest.raises(ValueError, match=r"x: expected a dictionary of source, target .*; got source. Without a tar"):
        model.apply(variables, {"source": x["source"]})
    with pytest.raises(ValueError, match=r"num_steps: expected a whole number >= 1; got 0. Give the most tokens"):
        model.apply(variables, x, 0, method="greedy")
    with pytest.raises(ValueError, match=r"x: expected an array \(batch, steps\); got shape \(5,\). Reshape"):
        model.apply(variables, {**x, "source": x["source"][0], "lengths": None})
