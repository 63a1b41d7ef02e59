import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jaxdl.training import callbacks as cb


def test_the_base_class_hears_everything_and_does_nothing(told):
    class Partly(cb.Callback):
        def __init__(self):
            self.heard = []

        def on_evaluation(self, evaluation):
            self.heard.append((evaluation.step, float(evaluation.values["loss"])))

    partly = Partly()
    told([cb.Callback(), partly])
    assert partly.heard == [(10, 9.5), (20, 19.5), (30, 29.5)]


def test_steps_know_their_end():
    assert cb.Steps(7, {"loss": np.zeros(5, np.float32)}).step == 12
    assert cb.Steps(7, {"loss": np.zeros((3, 5), np.float32)}).length == 5
    assert cb.RunStart(None, 4, 9, 3, 2, "loop").step == 4


@pytest.mark.parametrize(
    "event",
    [
        cb.RunStart(None, 0, 1, 1, 1, "loop"), cb.Steps(0, {}), cb.Evaluation(1, {}), cb.Saved(1, Path("a")),
        cb.RunEnd(1, "done"),
    ],
)  # fmt: skip
def test_events_are_frozen(event):
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.anything = 3


def test_an_unknown_reason():
    message = "reason: expected one of done, stopped early, not finite, interrupted, error; got 'bored'"
    with pytest.raises(ValueError, match=message):
        cb.RunEnd(3, "bored")
