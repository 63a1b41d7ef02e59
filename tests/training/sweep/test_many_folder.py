"""Members that are interrupted go on to the same bytes, and a folder of other runs is noticed."""

import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import training
from jaxdl.training import Checkpoints, EarlyStopping
from jaxdl.training.sweep import strategies
from tests.training.conftest import make_task
from tests.training.sweep.test_hyperparameters import PLAIN_OBJECTIVE, plain_recipe

STEPS = 12  # an epoch
MEASURE = lambda moment: {"norm": optax.tree.norm(moment.grads)}  # noqa: E731
EVERY = Checkpoints(every_steps=5, every_minutes=None)


def averaged(digits_like):
    task = make_task(
        digits_like, optax.adam(0.1), measure=MEASURE, measure_every=4, average=training.ema(0.9)
    )  # fmt: skip
    return task.step, lambda key: training.make_state(task.init(key).params, task.step.tx, key=key, average=True)


def same_runs(same_bytes, ours, theirs):
    same_bytes(ours.states, theirs.states)
    for name in ("train", "validation", "measures"):
        pair = getattr(ours.history, name), getattr(theirs.history, name)
        assert bool(pair[0]) == bool(pair[1])
        if pair[0]:
            same_bytes(*pair)
    np.testing.assert_array_equal(ours.history.validation_steps, theirs.history.validation_steps)
    np.testing.assert_array_equal(ours.history.measure_steps, theirs.history.measure_steps)
    assert ours.members == theirs.members


class Crash(Exception):
    pass


@pytest.fixture
def at_call(monkeypatch):
    """Does something at some call that advances members, and counts the calls."""

    def install(mode, number, action):
        strategy, calls = strategies.STRATEGIES[mode], []
        advance = strategy.advance

        def counted(self, group, length):
            calls.append(length)
            if len(calls) == number:
                action()
            return advance(self, group, length)

        monkeypatch.setattr(strategy, "advance", counted)
        return calls

    return install


def crash():
    raise Crash


CRASHES = [
    ("vmap", 8),
    ("map", 1),
    *(pytest.param(*where, marks=pytest.mark.slow) for where in (("vmap", 3), ("map", 10))),
]


@pytest.mark.parametrize(("mode", "number"), CRASHES)
def test_runs_that_crash_anywhere_go_on_to_the_same_bytes(digits_like, tmp_path, same_bytes, at_call, mode, number):
    """Five members in groups of three and two; an epoch is stretches of 5, 5 and 2 steps."""
    step, init = averaged(digits_like)
    options = dict(
        seeds=range(5), epochs=2, batch_size=10, validation=digits_like, members_at_once=3, mode=mode, evaluate_every=1
    )
    whole = training.run_many(step, init, digits_like, folder=tmp_path / "whole", checkpoints=EVERY, **options)
    calls = at_call(mode, number, crash)
    folder = dict(folder=tmp_path / "cut", checkpoints=EVERY)
    with pytest.raises(Crash):
        training.run_many(step, init, digits_like, **folder, **options)
    done = len(calls)
    again = training.run_many(step, init, digits_like, **folder, **options)
    same_runs(same_bytes, again, whole)
    assert len(calls) - done <= 12 - (number - 1) + 1, "at most the stretch before the crash is done once more"
    text = (tmp_path / "cut" / "rows.csv").read_text()
    assert text == again.to_csv() == whole.to_csv()


def test_runs_that_are_done_are_read_and_may_grow(digits_like, tmp_path, same_bytes, at_call):
    step, init = averaged(digits_like)
    options = dict(seeds=range(3), batch_size=10, mode="vmap", members_at_once=2)
    first = training.run_many(step, init, digits_like, epochs=1, folder=tmp_path, **options)
    calls = at_call("vmap", 0, crash)
    same_runs(same_bytes, training.run_many(step, init, digits_like, epochs=1, folder=tmp_path, **options), first)
    assert not calls
    longer = training.run_many(step, init, digits_like, epochs=2, folder=tmp_path, **options)
    assert calls == [STEPS, STEPS]
    same_runs(same_bytes, longer, training.run_many(step, init, digits_like, epochs=2, **options))


def test_a_signal_saves_what_is_under_way(digits_like, tmp_path, same_bytes, at_call):
    step, init = averaged(digits_like)
    options = dict(seeds=range(3), epochs=2, batch_size=10, mode="map", members_at_once=2)
    whole = training.run_many(step, init, digits_like, **options)
    at_call("map", 3, lambda: signal.raise_signal(signal.SIGTERM))  # the first epoch of the second group
    message = "SIGTERM: the members under way were saved at step 12 in .*members_2_to_2. Call run_many as before"
    with pytest.raises(training.Interrupted, match=message) as caught:
        training.run_many(step, init, digits_like, folder=tmp_path, **options)
    assert caught.value.history.train["loss"].shape == (1, STEPS)
    same_runs(same_bytes, training.run_many(step, init, digits_like, folder=tmp_path, **options), whole)


def test_the_mode_that_was_taken_is_taken_again(task, tmp_path, monkeypatch):
    options = dict(seeds=[0, 1], batch_size=10, folder=tmp_path)
    first = training.run_many(task.step, task.init, task.data, epochs=1, **options)
    monkeypatch.setattr(strategies, "_Timer", None)
    again = training.run_many(task.step, task.init, task.data, epochs=2, **options)
    assert again.history.engine == first.history.engine
    assert again.timings == first.timings
    assert set(again.timings) == {"vmap", "map"}
    other = {"vmap": "map", "map": "vmap"}[first.history.engine]
    assert training.run_many(task.step, task.init, task.data, epochs=3, mode=other, **options).history.engine == other


def test_hyperparameters_go_on_too(digits_like, tmp_path, same_bytes):
    make_step, init = plain_recipe(lambda rate: optax.adam(rate))
    options = dict(seeds=[4, 1], hyperparameters={"rate": [0.1, 0.02]}, batch_size=10, mode="map", members_at_once=3)
    whole = training.run_many(make_step, init, digits_like, epochs=2, **options)
    training.run_many(make_step, init, digits_like, steps=5, folder=tmp_path, **options)
    same_runs(same_bytes, training.run_many(make_step, init, digits_like, epochs=2, folder=tmp_path, **options), whole)
    with pytest.raises(ValueError, match=r"runs in (.|\n)*member 2/rate: 0\.02 in the checkpoint, 0\.03 now"):
        training.run_many(
            make_step, init, digits_like, epochs=2, folder=tmp_path,
            **options | {"hyperparameters": {"rate": [0.1, 0.03]}},
        )  # fmt: skip


@pytest.mark.parametrize("mode", ["vmap", "map"])
def test_members_that_stop_early_do_so_in_groups_and_after_a_pause(task, tmp_path, same_bytes, mode):
    step = training.make_train_step(task.objective, optax.sgd(20.0))
    rule = EarlyStopping(2)
    options = dict(
        seeds=range(6), batch_size=10, validation=task.data, early_stopping=rule, mode=mode, members_at_once=2
    )
    whole = training.run_many(step, task.init, task.data, epochs=6, **options)
    together = training.run_many(step, task.init, task.data, epochs=6, **options | dict(members_at_once=None))
    np.testing.assert_allclose(whole.history.train["loss"], together.history.train["loss"], rtol=1e-3)
    np.testing.assert_allclose(whole.values("validation_loss"), together.values("validation_loss"), rtol=1e-3)
    ends = np.asarray(whole.states.stopping.stopped_at).reshape(3, 2)
    assert len({tuple(pair) for pair in ends}) > 1, "the test needs groups that end at different steps"
    assert (ends >= 0).any()
    for epochs in (2, 3, 6):
        runs = training.run_many(step, task.init, task.data, epochs=epochs, folder=tmp_path, **options)
    same_runs(same_bytes, runs, whole)


def test_shapes_have_folders_of_their_own(digits_like, tmp_path, same_bytes):
    def build(width):
        import jaxdl

        model = jaxdl.models.MLP((width, 10))
        objective = training.supervised(model, jaxdl.losses.softmax_cross_entropy)
        init = lambda key: training.init_state(model, optax.sgd(0.1), jnp.zeros((1, 16)), key=key)  # noqa: E731
        return training.make_train_step(objective, optax.sgd(0.1)), init

    options = dict(shapes={"width": [3, 4]}, seeds=[0, 1], batch_size=10, mode="map", config={"note": "a"})
    whole = training.run_shapes(build, digits_like, epochs=2, **options)
    training.run_shapes(build, digits_like, steps=5, folder=tmp_path, **options)
    again = training.run_shapes(build, digits_like, epochs=2, folder=tmp_path, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shape_0", "shape_1"]
    for ours, theirs in zip(again.runs, whole.runs, strict=True):
        same_runs(same_bytes, ours, theirs)
    with pytest.raises(ValueError, match=r"config: expected the run that was saved .*\n.*user/shape: {'width': 3}"):
        training.run_shapes(build, digits_like, epochs=2, folder=tmp_path, **options | {"shapes": {"width": [5, 4]}})
    with pytest.raises(TypeError, match="folder: expected None or what looks like 'runs/a'; got int"):
        training.run_shapes(build, digits_like, epochs=2, folder=3, **options)  # type: ignore[arg-type]


OPTIONS = dict(seeds=[0, 1, 2], epochs=1, batch_size=10, mode="map", members_at_once=2)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (dict(seeds=[0, 1]), ValueError, r"seeds, hyperparameters: expected those (.|\n)*member 2: {'seed': 2} in the"),
        (dict(seeds=range(20)), ValueError, r"seeds, hyperparameters: expected those (.|\n)* \(and 9 more\)"),
        (dict(members_at_once=3), ValueError, "members_at_once: expected 2, as the runs in .* were begun with; got 3"),
        (dict(batch_size=20), ValueError, r"config: expected the run that was saved(.|\n)*batch_size: 10 in the check"),
        (dict(order_key=jax.random.PRNGKey), ValueError, r"config: expected the run(.|\n)*order_key: None in the"),
        (dict(config={"a": 1}), ValueError, r"config: expected the run(.|\n)*user/a: nothing in the checkpoint, 1 now"),
        (dict(resume="never"), ValueError, "resume: expected a folder without checkpoints for 'never'; got .* with"),
        (dict(resume="perhaps"), ValueError, "resume: expected one of .*never.*; got 'perhaps'"),
        (dict(checkpoints=Checkpoints(keep_best=1)), ValueError, "checkpoints: expected keep_best=0 for many runs"),
    ],
)
def test_a_folder_of_other_runs(task, tmp_path, changed, error, message):
    training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS)
    if "order_key" in changed:
        changed = dict(order_key=jax.random.key(1))
    with pytest.raises(error, match=message):
        training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS | changed)


def test_another_step_in_the_same_folder(task, tmp_path):
    training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS)
    other = training.make_train_step(task.objective, optax.sgd(0.25))
    with pytest.raises(ValueError, match=r"config: expected the run(.|\n)*the traced training step: its first lines"):
        training.run_many(other, task.init, task.data, folder=tmp_path, **OPTIONS)


def test_folders_that_are_not_there(task, tmp_path):
    run = lambda **options: training.run_many(task.step, task.init, task.data, **OPTIONS | options)  # noqa: E731
    with pytest.raises(ValueError, match="folder: expected the folder of the run, since checkpoints or resume are giv"):
        run(resume="must")
    with pytest.raises(FileNotFoundError, match=r"resume: expected a folder with a checkpoint for 'must'; got .* with"):
        run(resume="must", folder=tmp_path)
    with pytest.raises(TypeError, match="folder: expected None or what looks like 'runs/a'; got int"):
        run(folder=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(training.CheckpointWriteError, match="folder: expected one that can be made and written to"):
        run(folder=tmp_path / "file" / "runs")


@pytest.mark.parametrize("damage", ["missing", "truncated", "another number", "no mapping"])
def test_a_damaged_plan_is_named(task, tmp_path, damage):
    training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS)
    path = tmp_path / "many.json"
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        changed = json.loads(text)
        changed["plan"]["members_at_once"] = 3
        written = {"truncated": text[:30], "another number": json.dumps(changed), "no mapping": "3"}
        path.write_text(written[damage])
    with pytest.raises(training.DamagedCheckpointError, match=r"many\.json: the file is missing or damaged; it says"):
        training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS)


def test_states_of_a_group_are_an_ordinary_checkpoint(task, tmp_path, same_bytes):
    runs = training.run_many(task.step, task.init, task.data, folder=tmp_path, **OPTIONS)
    like = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[:2] if leaf.ndim else leaf, runs.states))
    saved = training.restore_checkpoint(tmp_path / "members_0_to_1" / "checkpoints", like)
    same_bytes(training.member(saved, 1), training.member(runs.states, 1))


def test_data_of_another_shape_are_named(task, tmp_path):
    x, y = task.data
    for options in (dict(mode="auto"), dict(mode="map", members_at_once=2), dict(folder=tmp_path)):
        with pytest.raises(
            ValueError, match=r"data: expected inputs of the shape for which the state was made; got a b"
        ):
            training.run_many(task.step, task.init, (x[:, :3], y), **OPTIONS | options)
    with pytest.raises(ValueError, match="validation: expected inputs of the shape for which the state was made"):
        training.run_many(task.step, task.init, task.data, validation=(x[:, :3], y), **OPTIONS)


def test_an_init_that_makes_no_state():
    with pytest.raises(TypeError, match="what init returns: expected a TrainState; got int"):
        training.run_many(
            training.make_train_step(PLAIN_OBJECTIVE, optax.sgd(0.1)), lambda key: 3, np.zeros((20, 1)), **OPTIONS
        )
