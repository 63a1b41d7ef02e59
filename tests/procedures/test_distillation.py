"""The objective of a student against the formula, a teacher inside of the step, and a strength that falls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import losses
from jaxdl.models import MLP
from jaxdl.procedures import distilled, features, teacher_outputs
from jaxdl.training import evaluate, fit, init_state, make_train_step, member, run_many, supervised
from tests.procedures.networks import Net, X, Y

KEY = jax.random.key(0)
STUDENT = MLP((4, 3))
METRICS = {"accuracy": losses.correct}


def softmax(logits):
    exponentials = np.exp(np.asarray(logits, np.float64))
    return exponentials / exponentials.sum(-1, keepdims=True)


def teacher():
    variables = Net().init(jax.random.key(7), X)
    return jax.tree.map(lambda leaf: leaf + 0.2, variables)


def outputs_of(variables, x=X):
    return Net().apply(variables, x)


def begun(objective, *variables, tx=None):
    return objective.start(init_state(STUDENT, tx or optax.sgd(0.1), X[:1], key=KEY), *variables)


@pytest.mark.parametrize(("squared", "factor"), [(False, 1.0), (True, 16.0)])
def test_losses_are_those_of_the_formula(squared, factor):
    objective = distilled(STUDENT, temperature=4.0, strength=0.7, temperature_squared=squared, metrics=METRICS)
    params, z = STUDENT.init(KEY, X)["params"], np.random.RandomState(0).randn(24, 3).astype(np.float32)
    outputs = np.asarray(STUDENT.apply({"params": params}, X), np.float64)
    hard = -np.log(softmax(outputs))[np.arange(24), Y]
    soft = -np.sum(softmax(z / 4) * np.log(softmax(outputs / 4)), -1)
    found, aux = objective(params, (X, Y, z), model_state={}, key=KEY, train=True)
    np.testing.assert_allclose(found, hard + 0.7 * factor * soft, rtol=1e-5)
    np.testing.assert_array_equal(aux.metrics["accuracy"], outputs.argmax(1) == Y)
    for batch in ((X, Y), (X, Y, z)):
        found, _ = objective(params, batch, model_state={}, key=None, train=False)
        np.testing.assert_allclose(found, hard, rtol=1e-5)


def test_a_teacher_in_the_step_trains_the_same_student(same_bytes):
    """To rounding the run on logits made in advance; and the teacher keeps every bit."""
    variables, tx = teacher(), optax.sgd(0.1)
    ahead, inside = distilled(STUDENT, strength=2.0), distilled(STUDENT, teacher=Net(), strength=2.0)
    logits = jax.jit(outputs_of)(variables)
    options = {"epochs": 3, "batch_size": 8}
    first = fit(make_train_step(ahead, tx), begun(ahead), (X, Y, logits), **options).state
    second = fit(make_train_step(inside, tx), begun(inside, variables), (X, Y), **options).state
    for ours, theirs in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    same_bytes(second.model_state["teacher"], variables)
    assert inside.finish(second).model_state == {} == first.model_state
    assert evaluate(inside, second, (X, Y)) == evaluate(inside, inside.finish(second), (X, Y))


def test_the_teacher_is_an_argument_of_the_program_and_no_constant():
    objective = distilled(STUDENT, teacher=Net())
    state = begun(objective, teacher())
    step = make_train_step(objective, optax.sgd(0.1))
    program = jax.make_jaxpr(step)(state, (X, Y))
    assert sum(np.size(constant) for constant in program.consts) < 20
    other = jax.tree.map(lambda leaf: leaf * 2, teacher())
    compiled = jax.jit(step).lower(state, (X, Y)).compile()
    assert float(compiled(state, (X, Y))[1]["loss"]) != float(compiled(begun(objective, other), (X, Y))[1]["loss"])


def test_the_teacher_sees_what_the_student_sees():
    """With augmentation the logits are those of the augmented images."""
    objective = distilled(STUDENT, teacher=Net(), augment=lambda key, x: -x)
    variables, state = teacher(), begun(distilled(STUDENT))
    found, _ = objective(state.params, (X, Y), model_state={"teacher": variables}, key=KEY, train=True)
    ahead = distilled(STUDENT)
    expected, _ = ahead(state.params, (-X, Y, outputs_of(variables, -X)), model_state={}, key=KEY, train=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="key: expected a key in training mode"):
        objective(state.params, (X, Y), model_state={"teacher": variables}, key=None, train=True)


def test_a_strength_that_falls_counts_the_updates():
    objective = distilled(STUDENT, strength=optax.linear_schedule(4.0, 0.0, 4))
    z, tx = np.random.RandomState(0).randn(24, 3).astype(np.float32), optax.sgd(0.0)
    state = begun(objective, tx=tx)
    after, history = fit(make_train_step(objective, tx), state, (X, Y, z), epochs=6, batch_size=24)
    assert int(after.model_state["distillation"]["count"]) == 6
    values = [
        distilled(STUDENT, strength=s)(state.params, (X, Y, z), model_state={}, key=KEY, train=True)[0].mean()
        for s in (4.0, 3.0, 2.0, 1.0, 0.0, 0.0)
    ]
    np.testing.assert_allclose(history.train["loss"], values, rtol=1e-5)


def test_a_student_with_running_statistics_moves_them():
    objective = distilled(Net(), strength=lambda count: 1.0 / (1.0 + count))
    tx, z = optax.sgd(0.1), np.zeros((24, 3), np.float32)
    state = objective.start(init_state(Net(), tx, X[:1], key=KEY))
    after = fit(make_train_step(objective, tx), state, (X, Y, z), epochs=1, batch_size=8).state
    moved = after.model_state["batch_stats"]["norm"]["mean"] != state.model_state["batch_stats"]["norm"]["mean"]
    assert np.any(moved)
    assert set(objective.finish(after).model_state) == {"batch_stats"}


def test_temperature_and_strength_are_hyperparameters_of_one_program():
    z, tx = np.random.RandomState(0).randn(24, 3).astype(np.float32), optax.sgd(0.1)
    cells = [{"temperature": 2.0, "strength": 0.5}, {"temperature": 5.0, "strength": 3.0}]
    runs = run_many(
        lambda **cell: make_train_step(distilled(STUDENT, **cell), tx),
        lambda key, **cell: init_state(STUDENT, tx, X[:1], key=key),
        (X, Y, z), seeds=[0], hyperparameters=cells, epochs=2, batch_size=8, mode="map",
    )  # fmt: skip
    for i, cell in enumerate(cells):
        alone = fit(make_train_step(distilled(STUDENT, **cell), tx), begun(distilled(STUDENT)), (X, Y, z), epochs=2,
                    batch_size=8).state  # fmt: skip
        for ours, theirs in zip(
            jax.tree.leaves(member(runs.states, i).params), jax.tree.leaves(alone.params), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 24, 1000])
def test_outputs_of_a_teacher_are_exact_for_every_batch_size(batch_size):
    variables = teacher()
    found = teacher_outputs(Net(), variables, X, batch_size=batch_size)
    np.testing.assert_allclose(found, outputs_of(variables), rtol=1e-5, atol=1e-6)
    state = init_state(Net(), optax.sgd(0.1), X, key=KEY)
    hidden = features(Net(), before="head")
    np.testing.assert_allclose(
        teacher_outputs(Net(), state, X, batch_size=batch_size),
        Net().apply({"params": state.params, **state.model_state}, X), rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    assert teacher_outputs(hidden, hidden.init(KEY, X), X, batch_size=batch_size).shape == (24, 5)


def test_faults_are_named():
    plain, inside = distilled(STUDENT), distilled(STUDENT, teacher=Net())
    falling, params = distilled(STUDENT, strength=lambda count: 1.0), STUDENT.init(KEY, X)["params"]
    with pytest.raises(ValueError, match=r"batch: expected \(x, y, teacher_logits\); got 2 parts"):
        plain(params, (X, Y), model_state={}, key=KEY, train=True)
    with pytest.raises(ValueError, match=r"batch: expected \(x, y\), since the teacher runs in the step; got 3 parts"):
        inside(params, (X, Y, Y), model_state={}, key=KEY, train=True)
    with pytest.raises(ValueError, match="batch: expected a pair"):
        plain(params, X, model_state={}, key=KEY, train=False)
    with pytest.raises(ValueError, match="model_state: expected the teacher's variables in it; got none"):
        inside(params, (X, Y), model_state={}, key=KEY, train=True)
    with pytest.raises(ValueError, match="model_state: expected the count that a schedule of the strength needs"):
        falling(params, (X, Y, np.zeros((24, 3), np.float32)), model_state={}, key=KEY, train=True)
    with pytest.raises(ValueError, match=r"teacher_variables: expected them exactly where .*; got none"):
        begun(inside)
    with pytest.raises(ValueError, match=r"teacher_variables: expected them exactly where .*; got some"):
        begun(plain, teacher())
    with pytest.raises(ValueError, match=r"state: expected one of the student, .* got \['teacher'\]"):
        inside.start(begun(inside, teacher()), teacher())
    with pytest.raises(ValueError, match="temperature: expected one finite number > 0; got 0"):
        distilled(STUDENT, temperature=0)
    with pytest.raises(ValueError, match="strength: expected one finite number >= 0; got -1"):
        distilled(STUDENT, strength=-1)
    with pytest.raises(TypeError, match="model: expected"):
        distilled(3)
    with pytest.raises(TypeError, match="model: expected"):
        distilled(STUDENT, teacher=3)
    with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1; got 0"):
        teacher_outputs(Net(), teacher(), X, batch_size=0)
    with pytest.raises(ValueError, match="x: expected arrays that share one leading example axis"):
        teacher_outputs(Net(), teacher(), X[:0])


def test_the_plain_objective_is_that_without_a_soft_term():
    params = STUDENT.init(KEY, X)["params"]
    plain = supervised(STUDENT, losses.softmax_cross_entropy)(params, (X, Y), model_state={}, key=KEY, train=True)[0]
    z = jnp.zeros((24, 3))
    np.testing.assert_array_equal(
        distilled(STUDENT, strength=0.0)(params, (X, Y, z), model_state={}, key=KEY, train=True)[0], plain
    )
