import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import models

CAPTIONS = np.array([[1, 2, 0], [1, 3, 0], [4, 2, 0], [4, 3, 5]], np.int32)


def pictures(num, key=0):
    """A bright quarter of a noisy picture; the quarter is what it is called by."""
    draws = np.random.RandomState(key)
    labels = np.arange(num) % 4
    images = 0.1 * draws.rand(num, 6, 6, 1)
    for i, label in enumerate(labels):
        row, column = divmod(label, 2)
        images[i, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 1
    return images.astype(np.float32), CAPTIONS[labels]


def captioner(**options):
    features = nn.Sequential([nn.Conv(4, (3, 3), (2, 2)), nn.relu])
    return models.Captioner(features, 6, (16,), **options)


def test_a_few_pictures_are_learned_to_be_named():
    images, captions = pictures(64)
    model = captioner()
    objective = jaxdl.training.supervised(model, jaxdl.losses.step_mean(jaxdl.losses.softmax_cross_entropy))
    data = ({"image": images, "target": captions}, captions)
    tx = optax.adam(0.02)
    state = jaxdl.training.init_state(model, tx, jax.tree.map(lambda a: a[:1], data[0]), key=jax.random.key(0))
    state, _ = jaxdl.training.fit(
        jaxdl.training.make_train_step(objective, tx), state, data, epochs=25, batch_size=16, progress=False
    )
    unseen, expected = pictures(16, key=1)
    found = model.apply({"params": state.params}, {"image": unseen}, 3, method="greedy")
    np.testing.assert_array_equal(found, expected)


def test_the_picture_is_the_first_input():
    """Equations 10 to 12: a sequence of the picture's projection, the start, and the words, through one RNN."""
    images, captions = pictures(4)
    model = captioner(start_token=5)
    x = {"image": images, "target": captions}
    variables = jax.jit(model.init)(jax.random.key(0), x)
    params = variables["params"]
    features = model.features.apply({"params": params["features"]}, images).reshape(4, -1)
    image = features @ params["project"]["kernel"] + params["project"]["bias"][None, :]
    words = params["decoder"]["embed"]["embedding"][np.concatenate([np.full((4, 1), 5), captions[:, :-1]], 1)]
    rnn = nn.RNN(models.make_cell("lstm", 16))
    outputs = rnn.apply({"params": {"cell": params["decoder"]["cells_0"]}}, np.concatenate([image[:, None], words], 1))
    head = params["decoder"]["head"]
    np.testing.assert_allclose(
        model.apply(variables, x), outputs[:, 1:] @ head["kernel"] + head["bias"][None, None], rtol=1e-4, atol=1e-5
    )


def test_steps_are_those_of_greedy_decoding():
    images, captions = pictures(4)
    model = captioner(end_token=0)
    variables = jax.jit(model.init)(jax.random.key(3), {"image": images, "target": captions})
    found = model.apply(variables, {"image": images}, 3, method="greedy")
    state = model.apply(variables, {"image": images}, method="encode")
    _, logits = model.apply(variables, state, np.zeros(4, np.int32), method="decode_step")
    np.testing.assert_array_equal(found[:, 0], np.argmax(logits, -1))


def test_features_are_told_the_mode():
    class Features(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.BatchNorm(use_running_average=not train)(x)

    images, captions = pictures(8)
    model = jaxdl.as_model(models.Captioner(Features(), 6, (4,)))
    x = {"image": images, "target": captions}
    variables = model.init(jax.random.key(0), x)
    _, state = model.apply(variables, x, train=True, key=jax.random.key(0))
    mean = state["batch_stats"]["features"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.01 * images.mean(), rtol=1e-4)


def test_what_is_refused():
    images, captions = pictures(2)
    with pytest.raises(TypeError, match=r"features: expected a flax.linen module .*; got str. Pass for example"):
        models.Captioner("resnet", 6, (4,)).init(jax.random.key(0), {"image": images, "target": captions})
    model = captioner()
    variables = jax.jit(model.init)(jax.random.key(0), {"image": images, "target": captions})
    with pytest.raises(ValueError, match=r"x: expected a dictionary of image and target; got image. Without a target"):
        model.apply(variables, {"image": images})
    with pytest.raises(ValueError, match=r"num_steps: expected a whole number >= 1; got 0. Give the most tokens that"):
        model.apply(variables, {"image": images}, 0, method="greedy")
