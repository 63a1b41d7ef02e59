from pathlib import Path

import numpy as np
import pytest

from jaxdl.training import callbacks as cb

START, END = cb.RunStart(None, 0, 30, 10, 5, "epoch"), cb.RunEnd(20, "error", "why")


def steps(start, length):
    return cb.Steps(start, {"loss": np.zeros(length, np.float32)})


class Recording(cb.Callback):
    """Notes what it hears, and raises at one of its methods."""

    def __init__(self, log, name, raises=None, error=None):
        self.log, self.name, self.raises, self.error = log, name, raises, error

    def note(self, method, event):
        self.log.append((self.name, method, event.step))
        if method == self.raises:
            raise self.error

    def on_start(self, run):
        self.note("start", run)

    def on_steps(self, steps):
        self.note("steps", steps)

    def on_evaluation(self, evaluation):
        self.note("evaluation", evaluation)

    def on_checkpoint(self, saved):
        self.note("checkpoint", saved)

    def on_end(self, end):
        self.note("end", end)


def test_every_event_goes_to_all_in_the_order_of_the_list():
    log = []
    told = cb.Callbacks([Recording(log, "a"), Recording(log, "b")])
    for event in (START, steps(0, 10), cb.Evaluation(10, {}), cb.Saved(10, Path("x")), END):
        told.tell(event)
    methods = [("start", 0), ("steps", 10), ("evaluation", 10), ("checkpoint", 10), ("end", 20)]
    assert log == [(name, *told) for told in methods for name in "ab"]


def test_a_function_hears_every_event():
    heard = []
    told = cb.Callbacks([heard.append])
    told.tell(START)
    told.tell(END)
    assert heard == [START, END]


@pytest.mark.parametrize("method", ["start", "steps", "evaluation", "checkpoint", "end"])
def test_one_that_raises_is_named_and_the_others_still_hear(method):
    log, error = [], ValueError("no")
    told = cb.Callbacks([Recording(log, "a", method, error), Recording(log, "b", method, KeyError("k"))])
    events = {
        "start": START,
        "steps": steps(0, 10),
        "evaluation": cb.Evaluation(10, {}),
        "checkpoint": cb.Saved(10, Path("x")),
    }
    step = {"start": 0, "end": 20}.get(method, 10)
    message = rf"callbacks: expected Recording\.on_{method} to return; it raised ValueError: no \(at step {step}\)"

    def tell_all():
        for event in (*events.values(), END):
            told.tell(event)

    with pytest.raises(cb.CallbackError, match=message) as caught:
        tell_all()
    assert caught.value.__cause__ is error
    assert caught.value.callback.name == "a"
    assert caught.value.event is events.get(method, END)
    assert caught.value.__notes__ == ["And Recording raised KeyError: 'k'"]
    assert log[-1] == ("b", method, step)
    if method != "end":
        told.tell(END)
        assert log[-2:] == [("a", "end", 20), ("b", "end", 20)]


def test_a_function_that_raises_is_called_by_its_name():
    def broken(event):
        raise OSError("disk")

    with pytest.raises(cb.CallbackError, match=r"expected broken\.on_start to return; it raised OSError: disk"):
        cb.Callbacks([broken]).tell(START)


def test_an_interruption_stays_one_and_reaches_nobody_early():
    log = []
    told = cb.Callbacks([Recording(log, "a", "end", KeyboardInterrupt()), Recording(log, "b", "end", ValueError())])
    told.tell(START)
    with pytest.raises(KeyboardInterrupt):
        told.tell(END)
    assert log[-1] == ("b", "end", 20)


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        ([], steps(0, 1), "the start of the run first; got Steps at step 1"),
        ([], END, "the start of the run first; got RunEnd at step 20"),
        ([START], START, "one start of a run; got RunStart at step 0"),
        ([START], steps(1, 1), "steps that go on from step 0; got Steps at step 2"),
        ([START, steps(0, 5)], steps(4, 5), "steps that go on from step 5; got Steps at step 9"),
        ([START, steps(0, 5)], cb.Evaluation(10, {}), "an evaluation at step 5, up to which steps were told; got Eval"),
        ([START, steps(0, 5), cb.Evaluation(5, {})], cb.Evaluation(5, {}), "one evaluation at step 5; got Evaluation"),
        ([START, steps(0, 5)], cb.Saved(6, Path("x")), "a checkpoint after step -1 and up to step 5, up to which"),
        ([START, steps(0, 5), cb.Saved(5, Path("x"))], cb.Saved(5, Path("x")), "a checkpoint after step 5 and up to"),
        ([START, END], steps(0, 1), "nothing after the end of the run; got Steps at step 1"),
        ([START, END], END, "nothing after the end of the run; got RunEnd at step 20"),
    ],
)
def test_events_out_of_order_are_refused(before, event, expected):
    heard = []
    told = cb.Callbacks([heard.append])
    for earlier in before:
        told.tell(earlier)
    with pytest.raises(RuntimeError, match=f"event: expected {expected}"):
        told.tell(event)
    assert heard == before


def test_a_checkpoint_may_be_told_late():
    heard = []
    told = cb.Callbacks([heard.append])
    for event in (START, steps(0, 5), steps(5, 5), cb.Saved(5, Path("x")), cb.Saved(10, Path("y")), END):
        told.tell(event)
    assert len(heard) == 6


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (cb.Callback(), r"expected a list of them; got Callback\. Put it into a list"),
        (print, "expected a list of them; got builtin_function_or_method"),
        ([cb.JSONLLog], r"expected objects; got the class JSONLLog\. Call it"),
        ([3], r"expected a jaxdl\.training\.callbacks\.Callback or a function of one event; got int"),
    ],
)
def test_what_is_no_callback(callbacks, message):
    with pytest.raises(TypeError, match=f"callbacks: {message}"):
        cb.Callbacks(callbacks)
