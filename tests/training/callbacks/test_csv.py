import csv
import math

import numpy as np
import pytest

from jaxdl.training import callbacks as cb


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_row_an_evaluation(told, tmp_path):
    path = tmp_path / "deep" / "v.csv"
    told([cb.CSVLog(path)])
    assert rows(path) == [["step", "loss"], ["10", "9.5"], ["20", "19.5"], ["30", "29.5"]]


def test_numbers_survive_to_the_last_bit(told, tmp_path):
    path = tmp_path / "v.csv"
    callbacks = cb.Callbacks([cb.CSVLog(path)])
    values = {"a": 0.1 + 0.2, "b": math.inf, "c": math.nan, "d": np.float64(1 / 3)}
    callbacks.tell(cb.RunStart(None, 0, 1, 1, 1, "loop"))
    callbacks.tell(cb.Evaluation(0, values))
    read = dict(zip(*rows(path), strict=True))
    assert float(read["a"]) == 0.1 + 0.2
    assert float(read["b"]) == math.inf
    assert math.isnan(float(read["c"]))
    assert float(read["d"]) == 1 / 3


def test_a_row_a_member(told, tmp_path):
    path = tmp_path / "v.csv"
    told([cb.CSVLog(path)], last=20, members=2)
    assert rows(path) == [
        ["step", "member", "loss"],
        ["10", "0", "9.5"],
        ["10", "1", "10.5"],
        ["20", "0", "19.5"],
        ["20", "1", "20.5"],
    ]


def test_a_metric_that_appears_or_goes(tmp_path):
    path = tmp_path / "v.csv"
    callbacks = cb.Callbacks([cb.CSVLog(path)])
    callbacks.tell(cb.RunStart(None, 0, 30, 10, 1, "loop"))
    for step, values in ((10, {"loss": 1.0}), (20, {"loss": 2.0, "a, b": 3.0}), (30, {"a, b": 4.0})):
        callbacks.tell(cb.Steps(step - 10, {"loss": np.zeros(10, np.float32)}))
        callbacks.tell(cb.Evaluation(step, values))
    assert rows(path) == [["step", "loss", "a, b"], ["10", "1.0", ""], ["20", "2.0", "3.0"], ["30", "", "4.0"]]


@pytest.mark.parametrize("torn", ["", "50,4"])
def test_going_on_is_as_if_never_stopped(told, tmp_path, torn):
    whole, path = tmp_path / "whole.csv", tmp_path / "v.csv"
    told([cb.CSVLog(whole)], last=60)
    told([cb.CSVLog(path)], last=40)
    with path.open("a") as file:
        file.write(torn)
    told([cb.CSVLog(path)], first=20, last=60, resumed=True)
    assert path.read_bytes() == whole.read_bytes()


def test_a_new_run_starts_a_new_file(told, tmp_path):
    log = cb.CSVLog(tmp_path / "v.csv")
    told([log], last=30)
    told([log], last=10)
    assert rows(log.path) == [["step", "loss"], ["10", "9.5"]]


def test_going_on_without_a_file(told, tmp_path):
    path = tmp_path / "v.csv"
    told([cb.CSVLog(path)], first=10, last=20, resumed=True)
    assert rows(path) == [["step", "loss"], ["20", "19.5"]]


@pytest.mark.parametrize("content", ["name,age\nAnn,3\n", "step,loss\nten,3\n", "\n"])
def test_somebody_elses_table_is_left_alone(told, tmp_path, content):
    path = tmp_path / "v.csv"
    path.write_text(content)
    with pytest.raises(cb.CallbackError, match="path: expected a table with a whole number in its first column, 'st"):
        told([cb.CSVLog(path)], first=10, last=20, resumed=True)
    assert path.read_text() == content
