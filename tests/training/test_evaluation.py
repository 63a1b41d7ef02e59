import jax
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.training.programs import evaluation_program


@pytest.mark.parametrize("count", [1, 2, 7, 40, 119, 120])
@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_exact_for_every_number_of_examples(task, count, batch_size):
    x, y = task.data[0][:count], task.data[1][:count]
    logits = jaxdl.models.MLP((8, 6, 10), activation=jax.nn.sigmoid).apply({"params": task.state.params}, x)
    z = np.asarray(logits, np.float64)
    s = 1 / (1 + np.exp(-z))
    t = np.eye(10)[y]
    expected = -(t * np.log(s) + (1 - t) * np.log(1 - s)).sum(1).mean()
    found = training.evaluate(task.objective, task.state, (x, y), batch_size=batch_size)
    assert found["loss"] == pytest.approx(expected, rel=2e-6)
    assert found["accuracy"] == pytest.approx(np.mean(z.argmax(1) == y), abs=1e-12)


def test_padding_never_reaches_the_sums(task):
    """The example that fills the last batch up would count twice, or spoil everything where it is NaN."""

    def objective(params, batch, *, model_state, key, train):
        return batch, training.Aux(model_state, {})

    data = np.arange(1, 6, dtype=np.float32)
    assert training.evaluate(objective, task.state, data, batch_size=4) == {"loss": 3.0}


def test_one_compilation(task):
    evaluation_program.clear_cache()
    for _ in range(2):
        training.evaluate(task.objective, task.state, task.data, batch_size=50)
    assert evaluation_program._cache_size() == 1


def test_empty_and_unequal_data(task):
    x, y = task.data
    with pytest.raises(ValueError, match="data: expected arrays that share one leading example axis of length >= 1"):
        training.evaluate(task.objective, task.state, (x[:0], y[:0]))
    with pytest.raises(ValueError, match="0: 120, 1: 3"):
        training.evaluate(task.objective, task.state, (x, y[:3]))
    with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1; got -5"):
        training.evaluate(task.objective, task.state, (x, y), batch_size=-5)


def test_the_model_is_in_evaluation_mode():
    seen = []

    def objective(params, batch, *, model_state, key, train):
        seen.append((train, key))
        return batch, training.Aux(model_state, {})

    state = training.make_state({}, optax.sgd(0.1), key=jax.random.key(0))
    training.evaluate(objective, state, np.ones(3, np.float32))
    assert set(seen) == {(False, None)}


def test_sums_are_not_taken_in_half_precision(task):
    def objective(params, batch, *, model_state, key, train):
        return batch, training.Aux({}, {})

    data = np.full(3000, 33.0, np.float16)
    assert training.evaluate(objective, task.state, data, batch_size=3000) == {"loss": 33.0}


def test_a_step_in_place_of_its_objective(task):
    with pytest.raises(TypeError, match="objective: expected an objective; got a TrainStep"):
        training.evaluate(task.step, task.state, task.data)  # type: ignore[arg-type]
