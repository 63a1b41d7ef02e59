import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.diagnostics import measure_gradient_flow
from jaxdl.training.engines import ENGINES

from .conftest import make_task


def test_an_epoch_sees_every_example_once():
    seen = []

    def objective(params, batch, *, model_state, key, train):
        jax.debug.callback(lambda rows: seen.extend(rows.tolist()), batch)
        return batch * 0.0 + params, training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.0))
    state = training.make_state(jnp.zeros(()), optax.sgd(0.0), key=jax.random.key(0))
    training.fit(step, state, np.arange(20.0, dtype=np.float32), epochs=1, batch_size=5)
    jax.effects_barrier()
    assert sorted(set(seen)) == list(range(20))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", [1, 10, 24, 33])
def test_a_run_cut_anywhere_goes_on_to_the_same_bytes(task, same_bytes, engine, cut):
    whole = training.fit(task.step, task.state, task.data, steps=40, batch_size=10, engine="epoch")
    first = training.fit(task.step, task.state, task.data, steps=cut, batch_size=10, engine=engine, chunk_size=4)
    second = training.fit(task.step, first.state, task.data, steps=40, batch_size=10, engine=engine, chunk_size=4)
    same_bytes(whole.state, second.state)
    joined = np.concatenate([first.history.train["loss"], second.history.train["loss"]])
    np.testing.assert_array_equal(joined, whole.history.train["loss"])


def test_learns_what_can_be_learned(task):
    x = task.data[0]
    labels = (x.mean((1, 2, 3)) > 0.5).astype(np.int32)
    state, history = training.fit(
        task.step, task.state, (x, labels), epochs=120, batch_size=10, validation=(x, labels), evaluate_every=50
    )
    assert history.validation["accuracy"][-1] > 0.95
    assert history.train["loss"].shape == (1440,)
    np.testing.assert_array_equal(history.validation_steps, [600, 1200, 1440])
    exact = training.evaluate(task.objective, state, (x, labels))
    assert exact["loss"] == history.validation["loss"][-1]


def test_regression_finds_the_line():
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    model = (lambda key, x: {"w": jnp.zeros((1, 1)), "b": jnp.zeros((1, 1))}, lambda p, x: x @ p["w"] + p["b"])
    import jaxdl

    objective = training.supervised(model, jaxdl.losses.squared_error)
    tx = optax.sgd(0.1)
    state = training.init_state(model, tx, x, key=jax.random.key(0))
    step = training.make_train_step(objective, tx)
    result = training.fit(step, state, (x, 3 * x + 1), epochs=100, batch_size=16)
    assert float(result.state.params["w"][0, 0]) == pytest.approx(3, abs=1e-3)
    assert float(result.state.params["b"][0, 0]) == pytest.approx(1, abs=1e-3)


def test_the_callers_state_stays_valid_and_unchanged(task):
    before = jax.device_get(task.state.params)
    for engine in ENGINES:
        training.fit(task.step, task.state, task.data, steps=3, batch_size=10, engine=engine)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(task.state.params))


def count_compilations(action):
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **kwargs: events.append(event) if "backend_compile" in event else None
    )
    action()
    before = len(events)
    assert before > 0
    action()
    return len(events) - before


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_call_compiles_nothing(digits_like, engine):
    task = make_task(digits_like)
    run = lambda: training.fit(  # noqa: E731
        task.step, task.state, task.data, epochs=2, batch_size=10, validation=task.data, engine=engine
    )
    assert count_compilations(run) == 0


def test_seconds_are_reported_apart(digits_like):
    task = make_task(digits_like)
    history = training.fit(task.step, task.state, task.data, epochs=1, batch_size=10).history
    assert history.compile_seconds > 0
    assert history.run_seconds > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_measurements_ride_along(digits_like, engine):
    task = make_task(digits_like, measure=measure_gradient_flow, measure_every=5)
    history = training.fit(
        task.step, task.state, task.data, steps=31, batch_size=10, engine=engine, chunk_size=4
    ).history
    np.testing.assert_array_equal(history.measure_steps, [0, 5, 10, 15, 20, 25, 30])
    assert history.measures.error_signal.shape == (7, 3)
    assert np.all(np.asarray(history.measures.error_signal) > 0)
    assert history.measures.layers == ("Dense_0", "Dense_1", "Dense_2")


def test_measurements_of_a_resumed_run_keep_their_steps(digits_like):
    task = make_task(digits_like, measure=measure_gradient_flow, measure_every=5)
    first = training.fit(task.step, task.state, task.data, steps=7, batch_size=10)
    second = training.fit(task.step, first.state, task.data, steps=16, batch_size=10)
    np.testing.assert_array_equal(second.history.measure_steps, [10, 15])
    whole = training.fit(task.step, task.state, task.data, steps=16, batch_size=10).history
    np.testing.assert_array_equal(whole.measures.error_signal[2:], second.history.measures.error_signal)


def test_auto_names_the_engine_it_measured(task):
    result = training.fit(task.step, task.state, task.data, steps=5, batch_size=10, engine="auto")
    assert result.history.engine in ("loop", "epoch")


def test_nothing_left_to_do_is_no_error(task, same_bytes):
    result = training.fit(task.step, task.state, task.data, steps=0, batch_size=10)
    same_bytes(result.state, task.state)
    assert result.history.train == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_names_its_step(engine):
    def objective(params, batch, *, model_state, key, train):
        return jnp.where(batch == 6, jnp.nan, batch) + params, training.Aux(model_state, {})

    step = training.make_train_step(objective, optax.sgd(0.0))
    state = training.make_state(jnp.zeros(()), optax.sgd(0.0), key=jax.random.key(0))
    data = np.arange(10, dtype=np.float32)
    with pytest.raises(FloatingPointError, match=r"loss: expected finite numbers; it is not finite at step 3 \("):
        training.fit(step, state, data, steps=5, batch_size=2, shuffle=False, engine=engine, chunk_size=2)


def test_the_progress_bar(task, capsys):
    training.fit(task.step, task.state, task.data, epochs=40, batch_size=10, progress=True)
    shown = capsys.readouterr().err
    assert "/480 [" in shown
    assert "nan" not in shown
    training.fit(task.step, task.state, task.data, epochs=2, batch_size=10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(epochs=1, batch_size=121), "batch_size: expected at most the number of examples, 120; got 121"),
        (dict(epochs=1, batch_size=0), "batch_size: expected a whole number >= 1; got 0"),
        (dict(epochs=1, batch_size=2.5), r"batch_size: expected a whole number >= 1; got 2\.5"),
        (dict(batch_size=10), "epochs, steps: expected exactly one of them; got epochs=None, steps=None"),
        (dict(epochs=1, steps=1, batch_size=10), "epochs, steps: expected exactly one of them; got epochs=1, steps=1"),
        (dict(epochs=-1, batch_size=10), "epochs: expected a total of at least the 0 steps this state has done"),
        (dict(epochs=1, batch_size=10, evaluate_every=0), "evaluate_every: expected a number of epochs >= 1; got 0"),
        (
            dict(epochs=1, batch_size=10, engine="turbo"),
            "engine: expected one of loop, chunk, epoch or auto; got 'turbo'",
        ),
        (dict(epochs=1, batch_size=10, chunk_size=0), "chunk_size: expected a number of steps >= 1; got 0"),
    ],
)
def test_sizes_that_make_no_run(task, options, message):
    with pytest.raises(ValueError, match=message):
        training.fit(task.step, task.state, task.data, **options)


def test_validation_of_unequal_lengths(task):
    x, y = task.data
    with pytest.raises(ValueError, match="validation: expected arrays that share one leading example axis"):
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10, validation=(x, y[:-1]))
