import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
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


@pytest.mark.parametrize("every", [1, 5, *(pytest.param(every, marks=pytest.mark.slow) for every in (3, 100))])
def test_measuring_changes_no_byte_and_no_engine(digits_like, same_bytes, every):
    plain = make_task(digits_like)
    reference = training.fit(plain.step, plain.state, plain.data, steps=31, batch_size=10)
    measured = make_task(digits_like, measure=measure_gradient_flow, measure_every=every)
    flows = []
    for engine in ENGINES:
        result = training.fit(
            measured.step, plain.state, plain.data, steps=31, batch_size=10, engine=engine, chunk_size=7
        )
        same_bytes(result.state, reference.state)
        np.testing.assert_array_equal(result.history.train["loss"], reference.history.train["loss"])
        np.testing.assert_array_equal(result.history.measure_steps, np.arange(0, 31, every))
        flows.append(result.history.measures.error_signal)
        assert flows[-1].shape == (len(range(0, 31, every)), 3)
        np.testing.assert_allclose(flows[-1], flows[0], rtol=1e-5)


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
        (dict(epochs=-1, batch_size=10), "epochs: expected a whole number >= 0; got -1"),
        (dict(epochs=1, batch_size=10, evaluate_every=0), "evaluate_every: expected a whole number >= 1; got 0"),
        (
            dict(epochs=1, batch_size=10, engine="turbo"),
            "engine: expected one of 'loop', 'chunk', 'epoch', 'auto'; got 'turbo'",
        ),
        (dict(epochs=1, batch_size=10, chunk_size=0), "chunk_size: expected a whole number >= 1; got 0"),
    ],
)
def test_sizes_that_make_no_run(task, options, message):
    with pytest.raises(ValueError, match=message):
        training.fit(task.step, task.state, task.data, **options)


def test_validation_of_unequal_lengths_is_noticed_before_any_training(task, monkeypatch):
    x, y = task.data
    monkeypatch.setattr(sys.modules["jaxdl.training.driver"], "epoch_segment", None)
    with pytest.raises(ValueError, match="validation: expected arrays that share one leading example axis"):
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10, validation=(x, y[:-1]))


def test_a_number_that_is_not_finite_names_the_layer_where_it_began(digits_like):
    model = jaxdl.models.MLP((8, 6, 1), activation=lambda z: z)
    objective = training.supervised(model, jaxdl.losses.squared_error)
    x, y = digits_like[0], digits_like[1][:, None].astype(np.float32)
    step = training.make_train_step(objective, optax.sgd(10.0))
    state = training.init_state(model, step.tx, x[:1], key=jax.random.key(0))
    messages = set()
    for engine in ENGINES:
        message = r"at step \d+ .*(The first layer whose|gradient is not)"
        with pytest.raises(FloatingPointError, match=message) as caught:
            training.fit(step, state, (x, y), epochs=5, batch_size=10, engine=engine, chunk_size=5)
        messages.add(str(caught.value))
    assert len(messages) == 1, "the engines go through the same numbers"
    task = make_task(digits_like)
    poisoned = jax.tree.map(jnp.copy, task.state.params)
    poisoned["Dense_1"]["kernel"] = poisoned["Dense_1"]["kernel"].at[0, 0].set(jnp.nan)
    state = training.make_state(poisoned, task.step.tx, key=jax.random.key(0))
    with pytest.raises(FloatingPointError, match=r"at step 0 .*parameters are not finite by then is Dense_1\."):
        training.fit(task.step, state, task.data, epochs=1, batch_size=10)


def test_data_that_are_not_finite_are_named():
    x = np.ones((8, 2), np.float32)
    x[5] = np.inf
    model = (lambda key, x: {"w": jnp.ones((2, 1))}, lambda p, x: x @ p["w"])
    objective = training.supervised(model, jaxdl.losses.squared_error)
    state = training.init_state(model, optax.sgd(0.1), x, key=jax.random.key(0))
    step = training.make_train_step(objective, optax.sgd(0.1))
    with pytest.raises(FloatingPointError, match=r"at step 2 .*The batch of that step holds .* leaf '0'"):
        training.fit(step, state, (x, np.ones((8, 1), np.float32)), epochs=1, batch_size=2, shuffle=False)


def test_a_label_that_is_no_class_is_not_passed_over(task):
    x, y = task.data
    with pytest.raises(FloatingPointError, match="loss: expected finite numbers"):
        training.fit(task.step, task.state, (x, y + 5), epochs=1, batch_size=10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t: training.fit(t.objective, t.state, t.data, epochs=1, batch_size=10),
            "step: expected what make_train",
        ),
        (
            lambda t: training.fit(t.step, t.state.params, t.data, epochs=1, batch_size=10),
            "state: expected a TrainState",
        ),
        (lambda t: training.evaluate(t.objective, t.state.params, t.data), "state: expected a TrainState; got dict"),
        (
            lambda t: training.make_train_step(jaxdl.models.MLP((3,)), optax.sgd(0.1)),
            r"got the model MLP\. Make an objective",
        ),
    ],
)
def test_arguments_in_each_others_place(task, call, message):
    with pytest.raises(TypeError, match=message):
        call(task)


@pytest.mark.parametrize(
    "options",
    [dict(epochs=1.5), dict(epochs="3"), dict(steps=2.7), dict(epochs=True), dict(epochs=1, chunk_size=2.5)],
)
def test_counts_that_are_not_whole(task, options):
    with pytest.raises(ValueError, match=r"(epochs|steps|chunk_size): expected a whole number >= \d; got"):
        training.fit(task.step, task.state, task.data, batch_size=10, **options)


def test_data_that_are_no_pair(task):
    with pytest.raises(ValueError, match=r"batch: expected a pair \(x, y\) .* got an array of shape \(10, 4, 4, 1\)"):
        training.fit(task.step, task.state, task.data[0], epochs=1, batch_size=10)


@pytest.mark.parametrize(("faster", "chosen"), [(0, "loop"), (1, "epoch")])
def test_auto_takes_the_faster(task, monkeypatch, faster, chosen):
    seconds = iter([1.0 + faster, 2.0 - faster])
    monkeypatch.setattr(sys.modules["jaxdl.training.driver"], "shortest_seconds", lambda run, state: next(seconds))
    result = training.fit(task.step, task.state, task.data, steps=3, batch_size=10, engine="auto")
    assert result.history.engine == chosen


def test_the_history_of_a_half_precision_run_is_float32(digits_like):
    model = jaxdl.models.MLP((8, 10), dtype=jnp.bfloat16)
    objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
    state = training.init_state(model, optax.sgd(0.1), digits_like[0][:1], key=jax.random.key(0))
    step = training.make_train_step(objective, optax.sgd(0.1))
    history = training.fit(step, state, digits_like, epochs=1, batch_size=10).history
    assert history.train["loss"].dtype == np.float32
