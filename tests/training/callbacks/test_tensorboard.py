import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest

from jaxdl.training import callbacks as cb


def scalars(folder):
    """`{tag: [(step, value)]}` as TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_tensorboard_reads_what_was_written(told, tmp_path):
    told([cb.TensorBoardLog(tmp_path, every=4)], last=20)
    assert scalars(tmp_path) == {
        "train/loss": [(4, 3.0), (8, 7.0), (12, 11.0), (16, 15.0), (20, 19.0)],
        "validation/loss": [(10, 9.5), (20, 19.5)],
    }


def test_members_have_scalars_of_their_own(told, tmp_path):
    told([cb.TensorBoardLog(tmp_path)], last=20, members=2)
    assert scalars(tmp_path) == {
        "train/loss/0": [(10, 9.0), (20, 19.0)],
        "train/loss/1": [(10, 10.0), (20, 20.0)],
        "validation/loss/0": [(10, 9.5), (20, 19.5)],
        "validation/loss/1": [(10, 10.5), (20, 20.5)],
    }


def test_going_on_is_as_if_never_stopped(told, tmp_path):
    told([cb.TensorBoardLog(tmp_path / "whole", every=1)], last=60)
    told([cb.TensorBoardLog(tmp_path / "cut", every=1)], last=40, losses=np.arange(100) + 7 * (np.arange(100) >= 20))
    told([cb.TensorBoardLog(tmp_path / "cut", every=1)], first=20, last=60, resumed=True)
    assert scalars(tmp_path / "cut") == scalars(tmp_path / "whole")


def test_numbers_that_are_not_finite(told, tmp_path):
    told([cb.TensorBoardLog(tmp_path, every=1)], last=2, segment=1, losses=[np.nan, np.inf])
    (_, first), (_, second) = scalars(tmp_path)["train/loss"]
    assert math.isnan(first)
    assert second == math.inf


def test_it_needs_neither_tensorflow_nor_torch(tmp_path):
    code = f"""
import sys
import numpy as np
from jaxdl.training import callbacks as cb
log = cb.TensorBoardLog({str(tmp_path)!r})
print("tensorboard" in sys.modules)
log.on_start(cb.RunStart(None, 0, 10, 10, 1, "loop"))
log.on_steps(cb.Steps(0, {{"loss": np.zeros(10, np.float32)}}))
log.on_end(cb.RunEnd(10, "done"))
print("tensorboard" in sys.modules, sorted({{"tensorflow", "torch"}} & set(sys.modules)))
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "True []"]
    assert scalars(tmp_path) == {"train/loss": [(10, 0.0)]}


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tensorboard: expected the package .* pip install '\.\[tensorboard\]'"):
        cb.TensorBoardLog(tmp_path)


def test_every_counts(tmp_path):
    with pytest.raises(ValueError, match="every: expected a whole number >= 1; got 0"):
        cb.TensorBoardLog(tmp_path, every=0)


def test_a_folder_that_cannot_be_made_says_so_once(tmp_path):
    (tmp_path / "file").write_text("")
    callbacks = cb.Callbacks([cb.TensorBoardLog(tmp_path / "file" / "log")])
    with pytest.raises(cb.CallbackError, match=r"TensorBoardLog\.on_start to return; it raised NotADirectoryError"):
        callbacks.tell(cb.RunStart(None, 0, 1, 1, 1, "loop"))
    callbacks.tell(cb.RunEnd(0, "error"))
