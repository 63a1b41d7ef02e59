"""Loading by path into every collection, and the curve of reuse against runs done one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import losses, training, tree
from jaxdl.models import MLP
from jaxdl.optimizers import freeze
from jaxdl.procedures import ReuseCurve, features, reuse_curve, transfer, with_head
from jaxdl.training import init_state, make_train_step, member, supervised
from tests.procedures.networks import Net, X, Y

KEY = jax.random.key(0)
LAYERS = [["conv/*", "norm/*"], "hidden/*"]


def objective(model):
    return supervised(model, losses.softmax_cross_entropy, metrics={"accuracy": losses.correct})


def source_of(seed):
    variables = Net().init(jax.random.key(seed), X)
    return jax.tree.map(lambda leaf: leaf + 0.5, variables)


def test_a_layer_comes_with_its_statistics():
    new, old = Net(5).init(KEY, X), source_of(1)
    found = tree.leaf_paths(transfer(new, old, where=["conv/*", "norm/*"]))
    for path, leaf in found.items():
        taken = path.split("/")[1] in ("conv", "norm")
        np.testing.assert_array_equal(leaf, (tree.leaf_paths(old) if taken else tree.leaf_paths(new))[path])
    assert sum(path.split("/")[1] == "norm" for path in found) == 4


def test_from_a_state_and_into_a_trunk_and_from_a_checkpoint(tmp_path):
    state = init_state(Net(), optax.adam(0.1), X, key=jax.random.key(4))
    model = with_head(features(Net(), before="head"), MLP((2,)))
    found = transfer(model.init(KEY, X), state, where="trunk/**", rename=lambda path: path.removeprefix("trunk/"))
    np.testing.assert_array_equal(found["params"]["trunk"]["hidden"]["kernel"], state.params["hidden"]["kernel"])
    assert found["batch_stats"]["trunk"]["upper"]["mean"].shape == (5,)
    training.save_checkpoint(tmp_path, state)
    restored = transfer(Net().init(KEY, X), training.restore_checkpoint(tmp_path, state))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, restored["params"], state.params)))


def test_renamed_paths_and_dtypes():
    new = {"params": {"a": {"w": jnp.zeros(2, jnp.bfloat16)}}, "stats": {"a": {"m": jnp.zeros(2)}}}
    old = {"params": {"b": {"w": jnp.ones(2)}}, "stats": {"a": {"m": jnp.full(2, 3.0)}}}
    found = transfer(new, old, rename={"a/w": "b/w"})
    assert found["params"]["a"]["w"].dtype == jnp.bfloat16
    assert found["params"]["a"]["w"].tolist() == [1.0, 1.0]
    assert found["stats"]["a"]["m"].tolist() == [3.0, 3.0]


def test_what_does_not_fit_is_listed():
    new, old = Net(5).init(KEY, X), source_of(1)
    with pytest.raises(
        ValueError, match=r"source: .*params/head/bias of shape \(5,\) from params/head/bias: shape \(3,\)"
    ):
        transfer(new, old)
    with pytest.raises(ValueError, match=r"where='tail/\*' matches no leaf.*conv/kernel"):
        transfer(new, old, where="tail/*")
    with pytest.raises(ValueError, match=r"rename: expected paths in variables.*got \['params/head/bias'\]"):
        transfer(new, old, rename={"params/head/bias": "head/bias"})


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_curve_is_that_of_single_runs(frozen, same_bytes):
    tx, sources = optax.adam(0.02), {seed: source_of(seed + 10) for seed in (0, 1)}
    bytes_of = lambda key: jax.random.key_data(key).tobytes()  # noqa: E731
    by_key = {bytes_of(jax.random.key(seed)): source for seed, source in sources.items()}
    curve = reuse_curve(
        Net(), objective, tx, lambda key: by_key[bytes_of(key)], (X, Y), layers=LAYERS, seeds=[0, 1], epochs=3,
        batch_size=8, validation=(X, Y), frozen=frozen, mode="map",
    )  # fmt: skip
    assert curve.values("validation_loss").shape == (3, 2)
    model = training.fit(
        make_train_step(objective(Net()), tx), init_state(Net(), tx, X[:1], key=jax.random.key(1)), (X, Y), epochs=3,
        batch_size=8,
    ).state  # fmt: skip
    same_bytes(member(curve.runs[0].states, 1).params, model.params)
    for k, reused in ((1, ("conv", "norm")), (2, ("conv", "norm", "hidden"))):
        for seed in (0, 1):
            state = member(curve.runs[k].states, seed)
            for name, leaf in tree.leaf_paths({"params": state.params, **state.model_state}).items():
                start = tree.leaf_paths(sources[seed])[name]
                stays = np.array_equal(leaf, start)
                assert stays == (frozen and name.split("/")[1] in reused), name
    losses_ = [training.evaluate(objective(Net()), member(curve.runs[2].states, i), (X, Y))["loss"] for i in (0, 1)]
    np.testing.assert_allclose(curve.values("validation_loss")[2], losses_, rtol=1e-6)


def test_a_curve_says_how_much_reuse_is_best():
    class Runs:
        def __init__(self, values):
            self.numbers = np.array(values)

        def values(self, metric):
            return self.numbers

    curve = ReuseCurve((Runs([0.5, 0.7]), Runs([0.9, 0.7]), Runs([0.8, 0.8]), Runs([0.1, np.nan])))  # pyright: ignore
    assert curve.best("validation_accuracy", mode="max") == 1
    assert curve.best("validation_loss", mode="min") == 0
    lines = curve.table("validation_accuracy").splitlines()
    assert lines[0].split()[:2] == ["reused", "layers"]
    assert next(line for line in lines if line.split()[0] == "1").split()[1] == "0.8"
    with pytest.raises(ValueError, match="mode: expected one of 'min', 'max'; got 'most'"):
        curve.best("validation_accuracy", mode="most")  # pyright: ignore
    with pytest.raises(ValueError, match="metric: expected numbers of 'validation_loss'; got NaN for every k"):
        ReuseCurve((Runs([np.nan]),)).best("validation_loss", mode="min")  # pyright: ignore


def test_a_curve_without_layers():
    options = {"seeds": [0], "validation": (X, Y), "batch_size": 8, "epochs": 1}
    with pytest.raises(TypeError, match="layers: expected a sequence of patterns, the lowest layer first; got str"):
        reuse_curve(Net(), objective, optax.sgd(0.1), source_of(1), (X, Y), layers="conv/*", **options)
    with pytest.raises(ValueError, match="layers: expected at least one; got none"):
        reuse_curve(Net(), objective, optax.sgd(0.1), source_of(1), (X, Y), layers=[], **options)
    with pytest.raises(TypeError, match="tx: expected an optax"):
        reuse_curve(Net(), objective, 3, source_of(1), (X, Y), layers=LAYERS, **options)  # pyright: ignore


def test_freezing_is_that_of_the_optimizer():
    """The second layer is frozen as `freeze` freezes it: weight decay leaves it alone."""
    curve = reuse_curve(
        Net(), objective, optax.adamw(0.02, weight_decay=0.5), source_of(3), (X, Y), layers=LAYERS, seeds=[0],
        epochs=1, batch_size=8, validation=(X, Y), mode="map",
    )  # fmt: skip
    opt_state = member(curve.runs[2].states, 0).opt_state
    expected = freeze(optax.adamw(0.02), where=["conv/*", "norm/*", "hidden/*"]).init(Net().init(KEY, X)["params"])
    assert len(jax.tree.leaves(opt_state)) == len(jax.tree.leaves(expected))
