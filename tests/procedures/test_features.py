"""Models cut at a layer against Flax's own record of intermediates and the formula; new heads on the cut."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxdl
from jaxdl import losses, tree
from jaxdl.layers import freeze_statistics
from jaxdl.models import MLP
from jaxdl.optimizers import freeze
from jaxdl.procedures import features, with_head
from jaxdl.training import fit, init_state, make_train_step, supervised
from tests.procedures.networks import Block, Nested, Net, X, Y

KEY = jax.random.key(0)


def paths(variables):
    return sorted(tree.leaf_paths(variables))


def moved(variables):
    """Variables away from zeros and ones, so that no layer is the identity."""
    return jax.tree.map(
        lambda leaf: leaf + 0.1 + 0.1 * jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape), variables
    )


@pytest.mark.parametrize("layer", ["conv", "norm", "hidden", "upper", "head"])
def test_after_a_layer_is_what_flax_records_there(layer):
    whole = moved(Net().init(KEY, X))
    _, recorded = Net().apply(whole, X, capture_intermediates=True)
    (expected,) = recorded["intermediates"][layer]["__call__"]
    model = features(Net(), after=layer)
    kept = {path: leaf for path, leaf in tree.leaf_paths(whole).items() if path in paths(model.init(KEY, X))}
    found, _ = model.apply(jaxdl.procedures.transfer(model.init(KEY, X), whole), X)
    np.testing.assert_array_equal(found, expected)
    assert len(kept) == {"conv": 2, "norm": 6, "hidden": 8, "upper": 12, "head": 14}[layer]


def test_before_a_layer_is_what_goes_into_it():
    whole = MLP((5, 4, 3)).init(KEY, X)
    model = features(MLP((5, 4, 3)), before="Dense_2")
    variables = jaxdl.procedures.transfer(model.init(KEY, X), whole)
    assert paths(variables) == [f"params/Dense_{i}/{leaf}" for i in (0, 1) for leaf in ("bias", "kernel")]
    hidden = X.reshape(24, -1).astype(np.float64)
    for i in (0, 1):
        layer = whole["params"][f"Dense_{i}"]
        hidden = np.maximum(hidden @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"]), 0)
    np.testing.assert_allclose(model.apply(variables, X)[0], hidden, rtol=1e-5, atol=1e-6)
    assert 0 < np.mean(hidden == 0) < 1


def test_the_variables_are_those_below_the_cut():
    assert paths(features(Nested(), before="block/second").init(KEY, X[:, 0, :, 0])) == [
        "params/block/first/bias", "params/block/first/kernel", "params/scale",
    ]  # fmt: skip
    assert paths(features(Nested(), before="head").init(KEY, X[:, 0, :, 0])) == [
        "params/block/first/bias", "params/block/first/kernel", "params/block/second/bias",
        "params/block/second/kernel", "params/scale",
    ]  # fmt: skip
    assert features(Net(), before="conv").init(KEY, X) == {"params": {}}


def test_what_a_layer_below_shares_with_one_above_is_kept():
    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4, name="dense")
            x = nn.Dense(4, name="middle")(dense(x))
            return nn.Dense(2, name="top")(dense(x))

    model = features(Shared(), before="middle")
    assert {path.split("/")[1] for path in paths(model.init(KEY, X[:, 0, :, 0]))} == {"dense"}


def test_in_training_mode_state_and_dropout_are_those_of_the_whole_model():
    whole = moved(Net().init(KEY, X))
    model = features(Net(), before="hidden")
    variables = jaxdl.procedures.transfer(model.init(KEY, X), whole)
    found, state = jax.jit(partial(model.apply, train=True))(variables, X, key=jax.random.key(3))
    _, expected = Net().apply(whole, X, train=True, rngs={"dropout": jax.random.key(3)}, mutable=["batch_stats"])
    np.testing.assert_allclose(state["batch_stats"]["norm"]["mean"], expected["batch_stats"]["norm"]["mean"], rtol=1e-6)
    assert paths(state) == ["batch_stats/norm/mean", "batch_stats/norm/var"]
    assert 0.3 < np.mean(np.asarray(found) == 0) < 1  # half are dropped, more are negative
    assert model.apply(variables, X)[1]["batch_stats"]["norm"] is variables["batch_stats"]["norm"]


def test_nothing_above_the_cut_is_computed():
    model = features(MLP((5, 400, 3)), before="Dense_1")
    variables = model.init(KEY, X)
    text = jax.jit(lambda variables, x: model.apply(variables, x)[0]).lower(variables, X).compile().as_text()
    assert "400" not in text
    grads = jax.grad(lambda params: jnp.sum(model.apply({"params": params}, X)[0]))(variables["params"])
    assert set(grads) == {"Dense_0"}


def test_dtypes_vmap_and_models_of_models():
    half = features(MLP((5, 3), dtype="bfloat16"), before="Dense_1")
    variables = half.init(KEY, X)
    assert half.apply(variables, X)[0].dtype == jnp.bfloat16
    many = jax.vmap(lambda key: half.init(key, X))(jax.random.split(KEY, 3))
    assert jax.vmap(lambda variables: half.apply(variables, X)[0])(many).shape == (3, 24, 5)
    frozen = features(freeze_statistics(Net(), where=None), before="hidden")
    variables = frozen.init(KEY, X)
    _, state = frozen.apply(variables, X, train=True, key=KEY)
    np.testing.assert_array_equal(state["batch_stats"]["norm"]["mean"], variables["batch_stats"]["norm"]["mean"])


def test_faults_are_named():
    with pytest.raises(
        ValueError, match=r"before, after: expected the path of one layer .* got before=None, after=None"
    ):
        features(Net())
    with pytest.raises(ValueError, match=r"before, after: .* before='conv', after='norm'"):
        features(Net(), before="conv", after="norm")
    with pytest.raises(ValueError, match=r"after: expected the path of a module .* got 'convs'.*Dropout_0, conv, head"):
        features(Net(), after="convs").init(KEY, X)
    with pytest.raises(ValueError, match=r"before: .* The paths are: \(none: this is no Linen module\)"):
        features(lambda rngs: nnx.Linear(4, 2, rngs=rngs), before="head").init(KEY, X[:, 0, :, 0])

    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4, name="dense")
            return dense(dense(x))

    with pytest.raises(ValueError, match=r"after: expected a module that is called once.*'dense' is called 2 times"):
        features(Twice(), after="dense").init(KEY, X[:, 0, :, 0])

    class Named(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, name="dense")(inputs=x)

    with pytest.raises(ValueError, match=r"before: expected a module that is given its input by position; 'dense'"):
        features(Named(), before="dense").init(KEY, X[:, 0, :, 0])
    assert features(Named(), after="dense").init(KEY, X[:, 0, :, 0])["params"]["dense"]


def test_inside_of_a_transform_is_refused_and_around_it_is_taken():
    class Rematerialized(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="head")(nn.remat(Block)(name="block")(x))

    x = X[:, 0, :, 0]
    with pytest.raises(
        ValueError, match=r"after: expected a module outside of scans, nn.remat and nn.jit.*'block/first'"
    ):
        features(Rematerialized(), after="block/first").init(KEY, x)
    model = features(Rematerialized(), before="head")
    variables = model.init(KEY, x)
    assert set(variables["params"]) == {"block"}
    expected = Block().apply({"params": variables["params"]["block"]}, x)
    np.testing.assert_allclose(model.apply(variables, x)[0], expected, rtol=1e-6)


def test_ascent_on_the_input_raises_what_a_layer_answers():
    """M09: of a linear layer the steepest way for 1/2 |x W|^2 is x W W^T, and ascent turns x to its first axis."""
    model = MLP((5, 3))
    trunk = features(model, after="Dense_0")
    x = jax.random.normal(KEY, (1, 4))
    variables = trunk.init(KEY, x)
    kernel = variables["params"]["Dense_0"]["kernel"]

    def answer(x):
        return jnp.square(trunk.apply(variables, x)[0]).sum() / 2

    uphill = jax.jit(jax.grad(answer))
    np.testing.assert_allclose(uphill(x), x @ kernel @ kernel.T, rtol=1e-5)
    for _ in range(100):
        x = x + uphill(x)
        x = x / jnp.linalg.norm(x)
    axis = np.linalg.svd(kernel)[0][:, 0]
    assert abs(float(jnp.dot(x[0], axis))) == pytest.approx(1, abs=1e-4)


def test_a_head_on_a_trunk_is_one_function_after_the_other():
    trunk, head = features(Net(), before="hidden"), MLP((6, 2))
    model = with_head(trunk, head)
    variables = moved(model.init(KEY, X))
    assert set(variables["params"]) == {"trunk", "head"}
    assert set(variables["batch_stats"]) == {"trunk"}
    below = {name: value["trunk"] for name, value in variables.items()}
    expected = head.apply({"params": variables["params"]["head"]}, trunk.apply(below, X)[0])
    found, state = model.apply(variables, X)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert state == {"batch_stats": variables["batch_stats"]}
    _, state = model.apply(variables, X, train=True, key=KEY)
    assert np.any(state["batch_stats"]["trunk"]["norm"]["mean"] != variables["batch_stats"]["trunk"]["norm"]["mean"])


def test_adaptation_layers_train_and_a_frozen_trunk_keeps_every_bit(same_bytes):
    model = with_head(features(Net(), before="head"), MLP((6, 3)), frozen=True)
    tx = freeze(optax.adamw(0.01, weight_decay=0.1), where="trunk/**")
    state = init_state(model, tx, X, key=KEY)
    step = make_train_step(supervised(model, losses.softmax_cross_entropy), tx)
    after, history = fit(step, state, (X, Y), epochs=20, batch_size=8)
    same_bytes(after.params["trunk"], state.params["trunk"])
    same_bytes(after.model_state, state.model_state)
    assert history.train["loss"][-3:].mean() < history.train["loss"][:3].mean()
    # Without dropout and on running averages the trunk is the same function of x at every step.
    trunk = {"params": state.params["trunk"], "batch_stats": state.model_state["batch_stats"]["trunk"]}
    variables = {"params": state.params, **state.model_state}
    found, _ = model.apply(variables, X, train=True, key=KEY)
    expected = MLP((6, 3)).apply({"params": state.params["head"]}, features(Net(), before="head").apply(trunk, X)[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    grads = jax.grad(lambda params: jnp.sum(model.apply({**variables, "params": params}, X)[0]))(state.params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads["trunk"]))
    assert np.any(grads["head"]["Dense_0"]["bias"])


def test_any_models_can_be_put_together():
    pair = (lambda key, x: {"w": jnp.ones((4, 2))}, lambda params, x: x @ params["w"])
    model = with_head(pair, lambda rngs: nnx.Linear(2, 3, rngs=rngs))
    x = X[:, 0, :, 0]
    variables = model.init(KEY, x)
    linear = variables["params"]["head"]
    expected = x @ np.ones((4, 2)) @ linear["kernel"] + np.broadcast_to(linear["bias"], (24, 3))
    np.testing.assert_allclose(model.apply(variables, x, train=True)[0], expected, rtol=1e-5)
    with pytest.raises(TypeError, match="model: expected"):
        with_head(3, MLP((2,)))
