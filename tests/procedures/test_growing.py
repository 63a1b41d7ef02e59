"""Growing depth: where every layer comes from, and that the function is kept where it can be."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl.models import MLP
from jaxdl.procedures import GrowthStage, grow_depth, train_growing
from jaxdl.training import make_train_step, supervised

DRAWS = np.random.RandomState(0)
X, Y = DRAWS.randn(24, 5).astype(np.float32), DRAWS.randint(0, 3, 24).astype(np.int32)
KEY, OTHER = jax.random.key(0), jax.random.key(1)
LAYERS = {"Dense_0": "Dense_0", "Dense_2": "Dense_1"}
OPTIONS = {"epochs": 2, "batch_size": 8, "progress": False}


def pair(**options):
    return MLP((4, 3), **options), MLP((4, 4, 3), **options)


def test_old_layers_by_path_and_new_ones_as_drawn(same_bytes):
    shallow, deep = pair()
    trained = shallow.init(KEY, X)
    grown = grow_depth(trained, deep, X[:1], layers=LAYERS, key=OTHER)
    same_bytes(grown["params"]["Dense_0"], trained["params"]["Dense_0"])
    same_bytes(grown["params"]["Dense_2"], trained["params"]["Dense_1"])
    same_bytes(grown["params"]["Dense_1"], deep.init(jax.random.split(OTHER)[0], X[:1])["params"]["Dense_1"])


@pytest.mark.parametrize("activation", [nn.relu, lambda z: z], ids=["relu", "linear"])
def test_identity_layers_keep_the_function_exactly(activation):
    shallow, deep = pair(activation=activation, bias_init=nn.initializers.normal(1.0))
    trained = shallow.init(KEY, X)
    grown = grow_depth(trained, deep, X, layers=LAYERS, key=OTHER, new="identity", model=shallow)
    np.testing.assert_allclose(deep.apply(grown, X), shallow.apply(trained, X), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(grown["params"]["Dense_1"]["kernel"], np.eye(4))


def test_empty_residual_branches_keep_the_function_of_tanh_networks():
    shallow, deep = pair(activation=jnp.tanh, residual=True)
    trained = shallow.init(KEY, X)
    grown = grow_depth(trained, deep, X, layers=LAYERS, key=OTHER, new="zeros", model=shallow)
    np.testing.assert_allclose(deep.apply(grown, X), shallow.apply(trained, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("new", ["identity", "zeros"])
def test_a_function_that_is_not_kept_is_noticed(new):
    shallow, deep = pair(activation=jnp.tanh)
    with pytest.raises(ValueError, match=rf"new: expected new layers that leave the outputs .* new='{new}' changes by"):
        grow_depth(shallow.init(KEY, X), deep, X, layers=LAYERS, key=OTHER, new=new, model=shallow)


def test_convolutions_grow_by_the_identity_at_the_middle():
    class Net(nn.Module):
        depth: int

        @nn.compact
        def __call__(self, x):
            for i in range(self.depth):
                x = nn.relu(nn.Conv(4, (3, 3), name=f"conv_{i}")(x))
            return nn.Dense(3, name="top")(x.mean((1, 2)))

    images = DRAWS.randn(3, 6, 6, 2).astype(np.float32)
    trained = Net(1).init(KEY, images)
    layers = {"conv_0": "conv_0", "top": "top"}
    grown = grow_depth(trained, Net(3), images, layers=layers, key=OTHER, new="identity", model=Net(1))
    np.testing.assert_allclose(Net(3).apply(grown, images), Net(1).apply(trained, images), rtol=1e-5, atol=1e-6)


def test_running_statistics_go_with_their_layer(same_bytes):
    shallow, deep = (MLP(sizes, normalization="batch") for sizes in ((4, 3), (4, 4, 3)))
    trained = shallow.init(KEY, X)
    trained["batch_stats"]["BatchNorm_0"]["mean"] = jnp.arange(4.0)
    layers = {**LAYERS, "BatchNorm_0": "BatchNorm_0"}
    grown = grow_depth(trained, deep, X, layers=layers, key=OTHER)
    same_bytes(grown["batch_stats"]["BatchNorm_0"], trained["batch_stats"]["BatchNorm_0"])
    np.testing.assert_array_equal(grown["batch_stats"]["BatchNorm_1"]["mean"], np.zeros(4))


def stage(model, **options):
    step = make_train_step(supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.3))
    return GrowthStage(model, step, **options)


def test_training_between_goes_on_from_the_function_reached(same_bytes):
    """The deeper network starts where the shallow one ended, so its first loss over all data is the last one's."""
    shallow, deep = pair()
    stages = [stage(shallow), stage(deep, layers=LAYERS, new="identity")]
    whole = {"epochs": 3, "batch_size": 24, "progress": False}
    states, histories = train_growing(stages, (X, Y), key=KEY, **whole)
    reached = jaxdl.training.evaluate(stages[0].step.objective, states[0], (X, Y))["loss"]
    assert histories[1].train["loss"][0] == pytest.approx(reached, rel=1e-5)
    assert len(states) == 2
    assert set(states[1].params) == {"Dense_0", "Dense_1", "Dense_2"}
    assert histories[1].train["loss"][-1] < histories[0].train["loss"][0]
    start = jaxdl.training.init_state(shallow, optax.sgd(0.3), X[:8], key=jax.random.fold_in(KEY, 0))
    same_bytes(jaxdl.training.fit(stages[0].step, start, (X, Y), **whole).state.params, states[0].params)


def test_inputs_alone_and_a_folder_for_each_stage(tmp_path):
    make = partial(jaxdl.models.Autoencoder, activation=nn.relu)
    models = make((4,)), make((4, 4))
    stages = [
        GrowthStage(
            model,
            make_train_step(jaxdl.training.reconstruction(model, jaxdl.losses.squared_error), optax.sgd(0.01)),
            layers=layers,
        )
        for model, layers in zip(models, (None, {"encoder_0": "encoder_0", "decoder_1": "decoder_0"}), strict=True)
    ]
    train_growing(stages, X, key=KEY, folder=tmp_path, **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage_0", "stage_1"]


def test_errors():
    shallow, deep = pair()
    trained = shallow.init(KEY, X)
    grow = partial(grow_depth, trained, deep, X, key=OTHER)
    with pytest.raises(ValueError, match=r"layers: expected layers of the deeper network as keys; got \['Dense_7'\]"):
        grow(layers={"Dense_7": "Dense_0"})
    with pytest.raises(
        ValueError, match="source: expected a leaf of the same shape for every one chosen; got Dense_1/"
    ):
        grow(layers={"Dense_1": "Dense_1"})
    with pytest.raises(ValueError, match="new: expected one of 'fresh', 'identity', 'zeros'; got 'copy'"):
        grow(layers=LAYERS, new="copy")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="model: expected the trained model, since new='identity' promises"):
        grow(layers=LAYERS, new="identity")
    with pytest.raises(TypeError, match="stages: expected a sequence of GrowthStage; got something else"):
        train_growing([shallow], (X, Y), key=KEY, **OPTIONS)
    for stages in ([], [stage(shallow), stage(deep)], [stage(shallow, layers=LAYERS)]):
        with pytest.raises(ValueError, match="stages: expected at least one, and layers="):
            train_growing(stages, (X, Y), key=KEY, **OPTIONS)
