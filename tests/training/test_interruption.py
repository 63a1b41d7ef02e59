"""Signals: a run with a folder is saved and ends, one without is left alone."""

import os
import signal
import threading

import pytest

from jaxdl import training
from jaxdl.training.callbacks import read_log

STEPS = 12  # an epoch


def interrupting(which: signal.Signals, at: int):
    def callback(event) -> None:
        if type(event).__name__ == "Steps" and event.step == at:
            os.kill(os.getpid(), which)

    return callback


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_the_run(task, tmp_path, same_bytes, which):
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    options = dict(batch_size=10, engine="chunk", chunk_size=4, folder=tmp_path)
    with pytest.raises(
        training.Interrupted, match=rf"{which.name}: the run was saved at step 12 in .*12\. Call"
    ) as caught:
        training.fit(task.step, task.state, task.data, epochs=5, callbacks=[interrupting(which, 8)], **options)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert (caught.value.signal, int(caught.value.state.step)) == (which, 12)
    assert caught.value.history.train["loss"].shape == (12,)
    assert {name: signal.getsignal(name) for name in before} == before
    assert read_log(tmp_path / "log.jsonl")[-1]["reason"] == "interrupted"
    result = training.fit(task.step, task.state, task.data, epochs=5, **options)
    same_bytes(result.state, training.fit(task.step, task.state, task.data, epochs=5, batch_size=10).state)


def test_a_second_ctrl_c_interrupts_at_once(task, tmp_path):
    def twice(event) -> None:
        if type(event).__name__ == "Steps":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        training.fit(task.step, task.state, task.data, epochs=5, batch_size=10, folder=tmp_path, callbacks=[twice])
    assert not isinstance(caught.value, training.Interrupted)


@pytest.fixture
def interruptible():
    """SIGINT raises, as it does but in a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_without_a_folder_signals_are_left_alone(task):
    with pytest.raises(KeyboardInterrupt) as caught:
        training.fit(
            task.step, task.state, task.data, epochs=5, batch_size=10, callbacks=[interrupting(signal.SIGINT, 12)]
        )
    assert not isinstance(caught.value, training.Interrupted)


def test_in_another_thread(task, tmp_path):
    found = []
    run = lambda: found.append(  # noqa: E731
        training.fit(task.step, task.state, task.data, epochs=1, batch_size=10, folder=tmp_path)
    )
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert int(found[0].state.step) == STEPS
