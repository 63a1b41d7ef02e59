"""Regressors against NumPy, stage 1 against the same training by hand, and what it hands to stage 2."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxdl import losses, training, tree
from jaxdl.models import MLP
from jaxdl.procedures import (
    HintRegressor,
    distilled,
    features,
    student_variables,
    teacher_outputs,
    train_on_hints,
    train_with_hints,
    with_head,
)
from jaxdl.training import fit, init_state, make_state, make_train_step, member
from tests.procedures.networks import Net, X, Y

KEY = jax.random.key(0)
TX = optax.adam(0.01)


class Thin(nn.Module):
    """A student with one channel, whose guided layer is followed by two others."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits of images."""
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(nn.Conv(1, (3, 3), name="guided")(x))
        return nn.Dense(3, name="head")(nn.relu(x).reshape(x.shape[0], -1))


def hints():
    teacher = features(Net(), after="conv")
    return teacher_outputs(teacher, teacher.init(jax.random.key(5), X), X)


def test_a_convolutional_regressor_against_numpy():
    guided = np.random.RandomState(0).randn(2, 5, 4, 3).astype(np.float32)
    regressor = HintRegressor((3, 3, 2))
    variables = regressor.init(KEY, guided)
    kernel = np.asarray(variables["params"]["regressor"]["kernel"], np.float64)
    assert kernel.shape == (3, 2, 3, 2)  # H_g - H_h + 1 = 3, W_g - W_h + 1 = 2
    expected = np.zeros((2, 3, 3, 2))
    for i in range(3):
        for j in range(3):
            expected[:, i, j] = np.einsum("bhwc,hwcd->bd", guided[:, i : i + 3, j : j + 2], kernel)
    np.testing.assert_allclose(regressor.apply(variables, guided), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("guided", "shape", "kind"), [
    ((5, 4, 3), (3, 3, 2), "dense"), ((6,), (7,), "auto"), ((6,), (2, 2, 3), "auto"), ((2, 2, 3), (3, 3, 1), "auto"),
])  # fmt: skip
def test_a_dense_regressor_against_numpy(guided, shape, kind):
    x = np.random.RandomState(0).randn(4, *guided).astype(np.float32)
    regressor = HintRegressor(shape, kind)
    variables = regressor.init(KEY, x)
    kernel = np.asarray(variables["params"]["regressor"]["kernel"], np.float64)
    expected = (x.reshape(4, -1) @ kernel).reshape(4, *shape)
    np.testing.assert_allclose(regressor.apply(variables, x), expected, rtol=1e-4, atol=1e-5)
    assert HintRegressor(shape, kind, "bfloat16").apply(variables, x).dtype == jnp.bfloat16


def test_maps_that_do_not_fit_and_unknown_kinds():
    x = np.ones((1, 2, 2, 3), np.float32)
    with pytest.raises(ValueError, match=r"kind: expected maps .* got \(2, 2, 3\) for a hint of \(3, 3, 1\)"):
        HintRegressor((3, 3, 1), "convolutional").init(KEY, x)
    with pytest.raises(ValueError, match="kind: expected one of 'auto', 'dense', 'convolutional'; got 'conv'"):
        HintRegressor((3, 3, 1), "conv").init(KEY, x)  # pyright: ignore


def test_stage_one_is_the_squared_distance_to_the_hint():
    """By hand: a module of guided layer and regressor under the same parameters, trained by `fit`."""
    found = train_on_hints(
        Thin(), TX, (X, hints()), guided="guided", seeds=[0], epochs=2, batch_size=8, mode="map"
    )  # fmt: skip
    state = member(found.states, 0)
    assert sorted(tree.leaf_paths(state.params)) == [
        "head/regressor/bias", "head/regressor/kernel", "trunk/guided/bias", "trunk/guided/kernel",
    ]  # fmt: skip

    def apply(params, x):
        below = nn.Conv(1, (3, 3)).apply({"params": params["trunk"]["guided"]}, x)
        return nn.Conv(2, (1, 1)).apply({"params": params["head"]["regressor"]}, below)

    def objective(params, batch, *, model_state, key, train):
        x, h = batch
        return 0.5 * jnp.sum((apply(params, x) - h) ** 2, (1, 2, 3)), training.Aux(model_state, {})

    model = with_head(features(Thin(), after="guided"), HintRegressor((4, 4, 2)))
    start = init_state(model, TX, X[:1], key=jax.random.key(0))
    alone = fit(make_train_step(objective, TX), start, (X, hints()), epochs=2, batch_size=8).state
    for ours, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    before, after = (np.mean(objective(params, (X, hints()), model_state={}, key=KEY, train=False)[0]) for params in (
        start.params, state.params))  # fmt: skip
    assert after < before


def test_the_trained_trunk_is_put_into_the_student():
    found = train_on_hints(
        Thin(), TX, (X, hints()), guided="norm", regressor=HintRegressor((4, 4, 2), "dense"), seeds=[0], epochs=1,
        batch_size=8, mode="map",
    )  # fmt: skip
    hinted, fresh = member(found.states, 0), Thin().init(KEY, X)
    variables = student_variables(fresh, hinted)
    for name in ("guided", "norm"):
        for leaf, value in hinted.params["trunk"][name].items():
            np.testing.assert_array_equal(variables["params"][name][leaf], value)
    np.testing.assert_array_equal(
        variables["batch_stats"]["norm"]["mean"], hinted.model_state["batch_stats"]["trunk"]["norm"]["mean"]
    )
    np.testing.assert_array_equal(variables["params"]["head"]["kernel"], fresh["params"]["head"]["kernel"])
    assert np.any(variables["batch_stats"]["norm"]["mean"] != 0)


@pytest.mark.parametrize("inside", [False, True])
def test_two_stages_are_those_by_hand(inside, same_bytes):
    teacher = Net().init(jax.random.key(5), X)
    objective = distilled(Thin(), teacher=Net() if inside else None, strength=optax.linear_schedule(4.0, 0.0, 6))
    extra = (teacher,) if inside else ()
    data = (X, Y) if inside else (X, Y, teacher_outputs(Net(), teacher, X))
    found = train_with_hints(
        objective, TX, data, hints(), guided="guided", hint_tx=optax.sgd(0.001), hint_epochs=1, epochs=2, batch_size=8,
        seeds=[0, 3], validation=(X, Y), teacher_variables=teacher if inside else None, mode="map",
    )  # fmt: skip
    assert found.runs.values("validation_loss").shape == (2,)
    first = train_on_hints(
        Thin(), optax.sgd(0.001), (X, hints()), guided="guided", seeds=[0, 3], epochs=1, batch_size=8, mode="map"
    )
    same_bytes(first.states.params, found.hints.states.params)
    fresh = init_state(Thin(), TX, X[:1], key=jax.random.key(3))
    variables = student_variables({"params": fresh.params, **fresh.model_state}, member(first.states, 1))
    state = make_state(variables["params"], TX, key=fresh.key, model_state={"batch_stats": variables["batch_stats"]})
    alone = fit(make_train_step(objective, TX), objective.start(state, *extra), data, epochs=2, batch_size=8).state
    same_bytes(member(found.runs.states, 1).params, alone.params)


def test_faults_are_named():
    data = (X, Y, np.zeros((24, 3), np.float32))
    plain = training.supervised(MLP((3,)), losses.softmax_cross_entropy)
    options = {"guided": "guided", "hint_epochs": 1, "epochs": 1, "batch_size": 8, "seeds": [0]}
    with pytest.raises(TypeError, match=r"objective: expected what distilled\(student, ...\) returns; got Supervised"):
        train_with_hints(plain, TX, data, hints(), **options)  # pyright: ignore
    with pytest.raises(ValueError, match="after: expected the path of a module that the model calls; got 'guide'"):
        train_with_hints(distilled(Thin()), TX, data, hints(), **{**options, "guided": "guide"})
    with pytest.raises(ValueError, match="outputs"):
        train_on_hints(
            Thin(),
            TX,
            (X, hints()),
            guided="guided",
            regressor=HintRegressor((4, 4, 3)),
            seeds=[0],
            epochs=1,
            batch_size=8,
        )
