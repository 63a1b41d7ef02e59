"""Greedy pretraining against its algorithm written out, and the stack against the network it becomes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.models import MLP, RBM, Autoencoder
from jaxdl.procedures import LayerLearner, dense_encoding, fine_tune, greedy_pretraining, greedy_supervised, with_layers
from jaxdl.training import contrastive_divergence, fit, init_state, make_train_step, reconstruction, supervised

DRAWS = np.random.RandomState(0)
X, Y = DRAWS.rand(24, 6).astype(np.float32), DRAWS.randint(0, 3, 24).astype(np.int32)
KEY, OPTIONS = jax.random.key(0), {"epochs": 2, "batch_size": 8, "progress": False}


def autoencoder(size, **options):
    model = Autoencoder((size,), **options)
    objective = reconstruction(model, jaxdl.losses.sigmoid_cross_entropy)
    return LayerLearner(model, make_train_step(objective, optax.sgd(0.5)), "encoder_0")


def machine(size):
    model = RBM(size)
    return LayerLearner(model, make_train_step(contrastive_divergence(model), optax.sgd(0.5)), "hidden")


def classifier(size):
    model = MLP((size, 3), activation=jnp.tanh)
    step = make_train_step(supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.5))
    return LayerLearner(model, step, "Dense_0", dense_encoding("Dense_0", jnp.tanh))


LEARNERS = [autoencoder(5, tied=True), machine(4), autoencoder(4)]


def hidden_activations(model, params, x):
    """The activations of the last hidden layer of an MLP, from what its layers put out."""
    _, state = model.apply({"params": params}, x, capture_intermediates=True, mutable=["intermediates"])
    last = len(model.sizes) - 2
    return model.activation(state["intermediates"][f"Dense_{last}"]["__call__"][0])


def test_the_algorithm_written_out(same_bytes):
    found = greedy_pretraining(LEARNERS, X, key=KEY, **OPTIONS)
    x = X  # f <- identity
    for k, learner in enumerate(LEARNERS):
        state = init_state(learner.model, learner.step.tx, x, key=jax.random.fold_in(KEY, k))
        state, _ = fit(learner.step, state, x, **OPTIONS)  # f_k = L(X)
        same_bytes(found.states[k], state)
        part = state.params[learner.layer]
        same_bytes(found.layers[k], part)
        x = np.asarray(nn.sigmoid(x @ part["kernel"] + part["bias"][None, :]))  # X <- f_k(X)
    np.testing.assert_allclose(found.x, x, rtol=1e-5)
    assert [history.train["loss"].shape for history in found.histories] == [(6,)] * 3


def test_the_encoder_of_the_stack_is_the_hidden_part_of_the_network():
    found = greedy_pretraining(LEARNERS, X, key=KEY, **OPTIONS)
    model = MLP((5, 4, 4, 3), activation=nn.sigmoid)
    params = with_layers(model.init(jax.random.key(1), X)["params"], found.layers)
    np.testing.assert_allclose(hidden_activations(model, params, X), found.x, rtol=1e-5)
    assert set(params) == {"Dense_0", "Dense_1", "Dense_2", "Dense_3"}


def test_supervised_stages_end_in_the_network_they_make_up():
    """With the last output layer put on top, the stack says what the last stage said."""
    learners = [classifier(5), classifier(4)]
    found = greedy_supervised(learners, (X, Y), key=KEY, **OPTIONS)
    model = MLP((5, 4, 3), activation=jnp.tanh)
    params = model.init(jax.random.key(1), X)["params"]
    params = with_layers(params, [*found.layers, found.states[1].params["Dense_1"]])
    below = jnp.tanh(X @ found.layers[0]["kernel"] + found.layers[0]["bias"][None, :])
    last = learners[1].model.apply({"params": found.states[1].params}, below)
    np.testing.assert_allclose(model.apply({"params": params}, X), last, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(hidden_activations(model, params, X), found.x, rtol=1e-4, atol=1e-6)


def test_a_kept_layer_is_not_trained_again(same_bytes):
    one = greedy_supervised([classifier(5)], (X, Y), key=KEY, **OPTIONS)
    first = classifier(5)
    two = greedy_supervised([first, classifier(4)], (X, Y), key=KEY, **OPTIONS)
    same_bytes(one.layers[0], two.layers[0])


def test_fine_tuning_starts_from_the_layers_and_moves_them(same_bytes):
    found = greedy_pretraining(LEARNERS[:2], X, key=KEY, **OPTIONS)
    model = MLP((5, 4, 3), activation=nn.sigmoid)
    still, moving = (
        make_train_step(supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(rate)) for rate in (0.0, 0.1)
    )
    state, history = fine_tune(model, still, (X, Y), layers=found.layers, key=KEY, **OPTIONS)
    same_bytes([state.params["Dense_0"], state.params["Dense_1"]], list(found.layers))
    start = init_state(model, still.tx, X, key=KEY)
    same_bytes(state.params["Dense_2"], start.params["Dense_2"])
    assert history.train["loss"].shape == (6,)
    tuned, _ = fine_tune(model, moving, (X, Y), layers=found.layers, key=KEY, **OPTIONS)
    assert not np.array_equal(tuned.params["Dense_0"]["kernel"], found.layers[0]["kernel"])


def test_validation_data_are_represented_along_and_not_learned_from(same_bytes):
    plain = greedy_pretraining(LEARNERS[:2], X, key=KEY, **OPTIONS)
    found = greedy_pretraining(LEARNERS[:2], X, key=KEY, validation=X[:7], **OPTIONS)
    same_bytes(plain.layers, found.layers)
    inner = jaxdl.training.evaluate(LEARNERS[0].step.objective, found.states[0], X[:7])
    assert found.histories[0].validation["loss"][-1] == pytest.approx(inner["loss"], rel=1e-6)
    below = nn.sigmoid(X[:7] @ found.layers[0]["kernel"] + found.layers[0]["bias"][None, :])
    second = jaxdl.training.evaluate(LEARNERS[1].step.objective, found.states[1], below)
    assert found.histories[1].validation["loss"][-1] == pytest.approx(second["loss"], rel=1e-5)
    labelled = greedy_supervised([classifier(4)], (X, Y), key=KEY, validation=(X[:5], Y[:5]), **OPTIONS)
    assert labelled.histories[0].validation["loss"].shape == (2,)


def test_a_folder_has_one_for_each_layer_from_which_a_run_goes_on(tmp_path, same_bytes):
    first = greedy_pretraining(LEARNERS[:2], X, key=KEY, folder=tmp_path, **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer_0", "layer_1"]
    again = greedy_pretraining(LEARNERS[:2], X, key=KEY, folder=tmp_path, **OPTIONS)
    same_bytes(first.layers, again.layers)
    longer = greedy_pretraining(LEARNERS[:1], X, key=KEY, folder=tmp_path, **{**OPTIONS, "epochs": 3})
    same_bytes(longer.layers, greedy_pretraining(LEARNERS[:1], X, key=KEY, **{**OPTIONS, "epochs": 3}).layers)


def test_a_model_of_plain_functions():
    """Two linear maps, the first of which is kept; x -> 2 x by hand where nothing is learned."""

    def apply(params, x):
        return x @ params["there"]["kernel"] @ params["back"]

    model = (lambda key, x: {"there": {"kernel": 2 * jnp.eye(6)}, "back": jnp.eye(6)}, apply)
    step = make_train_step(reconstruction(model, jaxdl.losses.squared_error), optax.sgd(0.0))
    learner = LayerLearner(model, step, "there", lambda variables, x: x @ variables["params"]["there"]["kernel"])
    found = greedy_pretraining([learner, learner], X, key=KEY, **OPTIONS)
    np.testing.assert_allclose(found.x, 4 * X, rtol=1e-6)


def test_the_layers_go_by_the_name_given():
    params = {"front/a_0": {"kernel": jnp.zeros((2, 2))}, "top": jnp.zeros(1)}
    found = with_layers(params, [{"kernel": jnp.ones((2, 2))}], name="front/a_{}")
    np.testing.assert_array_equal(found["front/a_0"]["kernel"], np.ones((2, 2)))
    with pytest.raises(ValueError, match="matches no leaf"):
        with_layers(params, [{"kernel": jnp.ones((2, 2))}])


def test_an_encoding_of_a_layer_without_bias_and_of_images():
    encode = dense_encoding("a/b", jnp.tanh)
    kernel = DRAWS.randn(6, 2).astype(np.float32)
    np.testing.assert_allclose(
        encode({"params": {"a": {"b": {"kernel": kernel}}}}, X.reshape(24, 2, 3)), np.tanh(X @ kernel), rtol=1e-5
    )


def test_learners_that_are_none():
    step, model = LEARNERS[0].step, LEARNERS[0].model
    for learners, got in (([], "an empty one"), (LEARNERS[0], "LayerLearner")):
        with pytest.raises(ValueError, match=f"learners: expected a sequence of one LayerLearner a layer; got {got}"):
            greedy_pretraining(learners, X, key=KEY, **OPTIONS)
    with pytest.raises(TypeError, match=r"learners\[0\]: expected a LayerLearner; got Autoencoder"):
        greedy_pretraining([model], X, key=KEY, **OPTIONS)
    with pytest.raises(
        TypeError, match=r"learners\[0\].step: expected what make_train_step\(objective, tx\) returns; got"
    ):
        greedy_pretraining([LayerLearner(model, step.objective, "encoder_0")], X, key=KEY, **OPTIONS)
    with pytest.raises(TypeError, match=r"step: expected what make_train_step\(objective, tx\) returns; got S"):
        fine_tune(model, step.objective.inner, X, layers=[], key=KEY, **OPTIONS)
    with pytest.raises(TypeError, match=r"learners\[0\].encode: expected a function .* got None for MLP"):
        greedy_pretraining([LayerLearner(MLP((3,)), step, "Dense_0")], X, key=KEY, **OPTIONS)
    with pytest.raises(ValueError, match="layer: expected the path of a layer of the model; got 'Dense_0'"):
        greedy_pretraining([LayerLearner(model, step, "Dense_0")], X, key=KEY, **OPTIONS)
    with pytest.raises(TypeError, match="key: expected one typed key"):
        greedy_pretraining(LEARNERS, X, key=0, **OPTIONS)


def test_data_without_labels():
    with pytest.raises(
        ValueError, match=r"data: expected a pair \(x, y\); got ndarray. Without labels, use greedy_pre"
    ):
        greedy_supervised([classifier(3)], X, key=KEY, **OPTIONS)
    with pytest.raises(ValueError, match=r"validation: expected a pair \(x, y\); got ndarray"):
        greedy_supervised([classifier(3)], (X, Y), key=KEY, validation=X, **OPTIONS)
