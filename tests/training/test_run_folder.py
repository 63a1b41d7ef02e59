"""The folder of a run: what is saved when, what is kept, and what a run that goes on is asked for."""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl import training
from jaxdl.training import Checkpoints, run_folder
from jaxdl.training.callbacks import Callback
from tests.conftest import CHECKOUT
from tests.training.conftest import make_task

STEPS = 12  # an epoch


def saved_steps(folder) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


class Saves(Callback):
    """The steps at which checkpoints were told to be complete."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_checkpoint(self, saved) -> None:
        assert (saved.path / "SHA256SUMS").is_file(), "told before it was complete"
        self.steps.append(saved.step)


@pytest.mark.parametrize("engine", ["loop", "chunk", "epoch"])
@pytest.mark.parametrize("stop", [0, 5, 12, 17])
def test_a_run_goes_on_mid_epoch_to_the_same_bytes(digits_like, tmp_path, same_bytes, engine, stop):
    measure = lambda moment: {"norm": optax.tree.norm(moment.grads)}  # noqa: E731
    task = make_task(digits_like, optax.adam(0.1), measure=measure, measure_every=4, average=training.polyak(start=3))
    state = training.make_state(task.state.params, task.step.tx, key=task.state.key, average=True)
    options = dict(batch_size=10, validation=digits_like, engine=engine, chunk_size=5)
    whole = training.fit(task.step, state, digits_like, epochs=2, **options)
    training.fit(task.step, state, digits_like, steps=stop, folder=tmp_path, **options)
    assert saved_steps(tmp_path) == [stop]
    result, history = training.fit(task.step, state, digits_like, epochs=2, folder=tmp_path, **options)
    same_bytes(result, whole.state)
    for name, values in whole.history.train.items():
        np.testing.assert_array_equal(history.train[name], values)
    np.testing.assert_array_equal(history.measures["norm"], whole.history.measures["norm"])
    np.testing.assert_array_equal(history.measure_steps, whole.history.measure_steps)
    ends = np.isin(
        history.validation_steps, whole.history.validation_steps
    )  # a run that ends mid-epoch evaluates there
    np.testing.assert_array_equal(history.validation_steps[ends], whole.history.validation_steps)
    np.testing.assert_array_equal(history.validation["loss"][ends], whole.history.validation["loss"])


def test_saving_changes_nothing_and_keeps_the_last_ones(task, tmp_path, same_bytes):
    saves = Saves()
    result, history = training.fit(
        task.step, task.state, task.data, epochs=3, batch_size=10, folder=tmp_path, callbacks=[saves],
        checkpoints=Checkpoints(every_steps=5, keep_last=3),
    )  # fmt: skip
    plain = training.fit(task.step, task.state, task.data, epochs=3, batch_size=10)
    same_bytes(result, plain.state)
    np.testing.assert_array_equal(history.train["loss"], plain.history.train["loss"])
    # Segments of five steps that end with their epoch: 5, 10, 12, 17, ...; saved at the first end five steps later.
    assert saved_steps(tmp_path) == [29, 34, 36]
    assert saves.steps[-1] == 36
    assert set(saves.steps) <= {5, 10, 17, 22, 29, 34, 36}


def test_asynchronous_and_synchronous_saves_hold_the_same(task, tmp_path, same_bytes):
    restored = []
    for asynchronous in (True, False):
        folder = tmp_path / str(asynchronous)
        training.fit(
            task.step, task.state, task.data, steps=7, batch_size=10, folder=folder,
            checkpoints=Checkpoints(asynchronous=asynchronous),
        )  # fmt: skip
        restored.append(training.restore_checkpoint(folder / "checkpoints", task.state))
    same_bytes(*restored)


def test_the_clock_saves(task, tmp_path, monkeypatch):
    now = iter(range(0, 10**6, 45))  # every look at the clock is 45 s later
    monkeypatch.setattr(run_folder, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    saves = Saves()
    training.fit(
        task.step, task.state, task.data, epochs=6, batch_size=10, folder=tmp_path, callbacks=[saves],
        checkpoints=Checkpoints(every_minutes=2, keep_last=9, asynchronous=False),
    )  # fmt: skip
    # Looks: one at the start, one an epoch, one a save. 135 s are the first that are 2 minutes.
    assert saves.steps == [36, 72]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_are_kept_beside_the_last(task, tmp_path, mode):
    step = training.make_train_step(task.objective, optax.sgd(30.0))
    _, history = training.fit(
        step, task.state, task.data, epochs=9, batch_size=10, validation=task.data, folder=tmp_path,
        checkpoints=Checkpoints(keep_best=2, keep_last=1, mode=mode, asynchronous=False),
    )  # fmt: skip
    losses = history.validation["loss"]
    assert len(set(losses)) == 9, "a tie: other data"
    order = np.argsort(losses)
    best = {STEPS * (int(i) + 1) for i in (order[:2] if mode == "min" else order[-2:])}
    assert set(saved_steps(tmp_path)) == best | {9 * STEPS}


@pytest.mark.parametrize("event", ["Steps", "Evaluation", "Saved", "RunStart", "RunEnd"])
def test_a_callback_that_raises_loses_nothing(task, tmp_path, same_bytes, event):
    def broken(told) -> None:
        if type(told).__name__ == event and told.step >= 12 * (event not in ("RunStart", "RunEnd")):
            raise ZeroDivisionError("mine")

    options = dict(batch_size=10, validation=task.data, engine="chunk", chunk_size=4, folder=tmp_path)
    whole = training.fit(task.step, task.state, task.data, epochs=3, batch_size=10, validation=task.data)
    saving = dict(checkpoints=Checkpoints(every_steps=4, asynchronous=False))
    with pytest.raises(
        training.CallbackError, match=r"callbacks: expected broken\.\w+ to return; it raised Zero"
    ) as caught:
        training.fit(task.step, task.state, task.data, epochs=3, callbacks=[broken], **options, **saving)
    error = caught.value
    assert isinstance(error.__cause__, ZeroDivisionError)
    reached = int(error.state.step)
    assert error.history.train.get("loss", np.zeros(0)).shape == (reached,)
    assert saved_steps(tmp_path)[-1] == reached
    # From the error's state, without the folder, and from the folder.
    again = training.fit(task.step, error.state, task.data, epochs=3, batch_size=10)
    same_bytes(again.state, whole.state)
    result, history = training.fit(task.step, task.state, task.data, epochs=3, **options)
    same_bytes(result, whole.state)
    np.testing.assert_array_equal(history.validation["loss"], whole.history.validation["loss"])


FULL = """
import resource, signal, sys
import numpy as np
import jax, optax
from jaxdl import training
import jaxdl

folder = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
data = np.ones((20, 300), np.float32), np.arange(20, dtype=np.int32) % 10
model = jaxdl.models.MLP((300, 200, 10))
step = training.make_train_step(training.supervised(model, jaxdl.losses.softmax_cross_entropy), optax.sgd(0.1))
state = training.init_state(model, step.tx, data[0][:1], key=jax.random.key(0))
first = training.fit(step, state, data, epochs=1, batch_size=10, folder=folder, progress=False)
# From now on no file can grow beyond 20 kB, as on a disk that is full; parameters take 250.
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    training.fit(step, state, data, epochs=2, batch_size=10, folder=folder, progress=False)
except training.CheckpointWriteError as error:
    print(error)
    assert isinstance(error, OSError)
    assert int(error.state.step) == 4 and error.history.train["loss"].shape == (4,)
else:
    raise SystemExit("no error")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
restored = training.restore_checkpoint(folder + "/checkpoints", state)
assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(restored.params), jax.tree.leaves(first.state.params)))
whole = training.fit(step, state, data, epochs=2, batch_size=10)
again = training.fit(step, state, data, epochs=2, batch_size=10, folder=folder, progress=False)
same = jax.tree.map(np.array_equal, again.state.params, whole.state.params)
assert all(jax.tree.leaves(same))
"""


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path):
    command = [sys.executable, "-W", "error", "-c", FULL, str(tmp_path)]
    # Without the cache of compiled programs, which cannot write either, and says so.
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    assert "folder: the checkpoint of step 4 could not be written to" in done.stdout
    assert "Intact are those of the steps [2]. Free space or mend the permissions" in done.stdout


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_write_that_fails(task, tmp_path, monkeypatch, asynchronous):
    """The checksums cannot be written: the checkpoint never gets its name."""
    from jaxdl.training.checkpoints import integrity

    options = dict(batch_size=10, folder=tmp_path)
    training.fit(task.step, task.state, task.data, epochs=1, **options)
    sums = integrity.write_sums

    def fails(folder) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(integrity, "write_sums", fails)
    with pytest.raises(
        training.CheckpointWriteError, match=r"step 24 .*No space left on device.*steps \[12\]\."
    ) as caught:
        training.fit(
            task.step, task.state, task.data, epochs=2, checkpoints=Checkpoints(asynchronous=asynchronous), **options
        )
    assert int(caught.value.state.step) == 24
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["12"]
    monkeypatch.setattr(integrity, "write_sums", sums)
    assert int(training.fit(task.step, task.state, task.data, epochs=2, **options).state.step) == 24
    assert saved_steps(tmp_path) == [12, 24]


def test_a_folder_that_cannot_be_written(task, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        training.CheckpointWriteError, match=r"folder: expected one that can be made and written to; got .*Not"
    ):
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10, folder=tmp_path / "file")


def changed(task, **changes):
    arguments = dict(step=task.step, state=task.state, data=task.data) | changes
    return arguments.pop("step"), arguments.pop("state"), arguments.pop("data"), arguments


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: dict(batch_size=12), r"batch_size: 10 in the checkpoint, 12 now"),
        (lambda t: dict(shuffle=False), r"shuffle: True in the checkpoint, False now"),
        (lambda t: dict(config={"rate": 0.1}), r"user/rate: 0\.5 in the checkpoint, 0\.1 now"),
        (lambda t: dict(config={}), r"user/rate: 0\.5 in the checkpoint, nothing now"),
        (lambda t: dict(order_key=jax.random.key(1)), r"order_key: None in the checkpoint, \[0, 1\] now"),
        (lambda t: dict(state=replace(t.state, key=jax.random.key(4))), r"key: \[.*\] in the checkpoint, \[0, 4\] now"),
        (lambda t: dict(data=(t.data[0] + 1, t.data[1])), r"data/0: \[120, 4, 4, 1\] float32 \w{8} in the "),
        (lambda t: dict(data=(t.data[0][:110], t.data[1][:110])), r"data/0: \[120, .* checkpoint, \[110"),
        (
            lambda t: dict(step=training.make_train_step(t.objective, optax.sgd(0.25))),
            r"(?s)traced training step: .*\n- .* mul -0\.5.*\n\+ .* mul -0\.25",
        ),
        (
            lambda t: dict(early_stopping=training.EarlyStopping(3), validation=t.data),
            r"early_stopping: None in the checkpoint, \{.*'evaluate_every': 1",
        ),
    ],
)  # fmt: skip
def test_another_run_is_refused_with_the_difference(task, tmp_path, change, message):
    options = dict(epochs=2, batch_size=10, config={"rate": 0.5}, folder=tmp_path)
    training.fit(task.step, task.state, task.data, **(options | dict(epochs=1)))
    step, state, data, changes = changed(task, **change(task))
    with pytest.raises(ValueError, match=message) as caught:
        training.fit(step, state, data, **(options | changes))
    assert str(caught.value).startswith("config: expected the run that was saved at step 12 in ")
    assert "Make the run as it was, pass another folder, or" in str(caught.value)
    assert saved_steps(tmp_path) == [12]


def test_another_model_is_refused(task, tmp_path):
    options = dict(epochs=1, batch_size=10, folder=tmp_path)
    training.fit(task.step, task.state, task.data, **options)
    model = jaxdl.models.MLP((8, 7, 10), activation=jax.nn.sigmoid)
    step = training.make_train_step(training.supervised(model, jaxdl.losses.sigmoid_cross_entropy), optax.sgd(0.5))
    state = replace(training.init_state(model, step.tx, task.data[0][:1], key=jax.random.key(3)), key=task.state.key)
    with pytest.raises(ValueError, match="traced training step"):
        training.fit(step, state, task.data, **options)


def test_the_same_run_of_another_process_is_the_same(tmp_path):
    """The traced program has no address, no order of a set and no name in it that differs from process to process."""
    texts = []
    for seed in ("1", "2"):
        code = (
            "import tests.training.survivor as s; from jaxdl.training.checkpoints.configuration import program_text;"
            "step, state = s.parts(s.data()); print(program_text(step, state, tuple(leaf[:10] for leaf in s.data())))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": seed}, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10_000


def test_how_to_resume(task, tmp_path):
    options = dict(epochs=1, batch_size=10)
    with pytest.raises(
        FileNotFoundError, match=r"resume: expected a folder with a checkpoint for 'must'; got .* without"
    ):
        training.fit(task.step, task.state, task.data, folder=tmp_path, resume="must", **options)
    training.fit(task.step, task.state, task.data, folder=tmp_path, resume="never", **options)
    message = r"resume: expected a folder without checkpoints for 'never'; got .* with those of the steps \[12\]"
    with pytest.raises(ValueError, match=message):
        training.fit(task.step, task.state, task.data, folder=tmp_path, resume="never", **options)
    with pytest.raises(ValueError, match=r"resume: expected one of 'auto', 'never', 'must'; got 'yes'"):
        training.fit(task.step, task.state, task.data, folder=tmp_path, resume="yes", **options)
    for given in (dict(resume="must"), dict(checkpoints=Checkpoints())):
        with pytest.raises(
            ValueError, match=r"folder: expected the folder of the run, since checkpoints or resume are"
        ):
            training.fit(task.step, task.state, task.data, **given, **options)
    ahead = training.fit(task.step, task.state, task.data, epochs=2, batch_size=10).state
    with pytest.raises(
        ValueError, match=r"state: expected one at step 12 at most, the newest checkpoint in .* at step 24"
    ):
        training.fit(task.step, ahead, task.data, folder=tmp_path, epochs=2, batch_size=10)
    with pytest.raises(
        ValueError, match=r"steps: expected a total of at least the 12 steps this state has done; got 3"
    ):
        training.fit(task.step, task.state, task.data, folder=tmp_path, steps=3, batch_size=10)


@pytest.mark.parametrize("config", [3, {1: 2}, {"a": object()}])
def test_a_config_that_is_none(task, tmp_path, config):
    with pytest.raises(TypeError, match=r"config: expected "):
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10, folder=tmp_path, config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_numpy_numbers(task, tmp_path):
    config = {"rate": np.float32(0.5), "sizes": (8, 6), "grid": jnp.arange(3), "name": "a", "none": None}
    options = dict(batch_size=10, folder=tmp_path, config=config)
    training.fit(task.step, task.state, task.data, epochs=1, **options)
    assert int(training.fit(task.step, task.state, task.data, epochs=2, **options).state.step) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(every_steps=0), r"every_steps: expected a whole number >= 1; got 0"),
        (dict(every_minutes=0.0), r"every_minutes: expected one finite number > 0; got 0\.0"),
        (dict(keep_last=0), r"keep_last: expected a whole number >= 1; got 0"),
        (dict(keep_best=-1), r"keep_best: expected a whole number >= 0; got -1"),
        (dict(mode="best"), r"mode: expected one of 'min', 'max'; got 'best'"),
    ],
)
def test_a_policy_that_is_none(options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(**options)


def test_the_best_by_what(task, tmp_path):
    options = dict(epochs=1, batch_size=10, folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"validation: expected data, since checkpoints follows a metric of them; got None"
    ):
        training.fit(task.step, task.state, task.data, checkpoints=Checkpoints(keep_best=1), **options)
    with pytest.raises(ValueError, match=r"checkpoints: expected a metric among \['accuracy', 'loss'\]; got 'f1'"):
        training.fit(
            task.step, task.state, task.data, validation=task.data,
            checkpoints=Checkpoints(keep_best=1, metric="f1"), **options,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
