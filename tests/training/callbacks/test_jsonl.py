import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.training import callbacks as cb


def test_the_lines_of_a_run(told, tmp_path):
    path = tmp_path / "log.jsonl"
    told([cb.JSONLLog(path)], last=20, config={"tx": "adam", "rates": (0.1, np.float32(0.5))})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    times = [line.pop("time") for line in lines]
    assert times == sorted(times)
    assert lines == [
        {
            "event": "start", "step": 0, "first_step": 0, "last_step": 20, "steps_per_epoch": 10, "batch_size": 5,
            "engine": "epoch", "resumed": False, "config": {"tx": "adam", "rates": [0.1, 0.5]},
        },
        {"event": "steps", "step": 10, "start": 0, "mean": {"loss": 4.5}, "last": {"loss": 9.0}},
        {"event": "evaluation", "step": 10, "values": {"loss": 9.5}},
        {"event": "steps", "step": 20, "start": 10, "mean": {"loss": 14.5}, "last": {"loss": 19.0}},
        {"event": "evaluation", "step": 20, "values": {"loss": 19.5}},
        {"event": "end", "step": 20, "reason": "done", "message": ""},
    ]  # fmt: skip


def test_checkpoints_and_the_reason_of_an_end(tmp_path):
    path = tmp_path / "log.jsonl"
    callbacks = cb.Callbacks([cb.JSONLLog(path)])
    callbacks.tell(cb.RunStart(tmp_path, 3, 9, 3, 5, "loop", resumed=True))
    callbacks.tell(cb.Saved(3, Path("a") / "3"))
    callbacks.tell(cb.RunEnd(3, "error", 'he said "no"\nand left'))
    start, saved, end = cb.read_log(path)
    assert (start["folder"], start["resumed"], start["step"]) == (str(tmp_path), True, 3)
    assert (saved["event"], saved["path"]) == ("checkpoint", str(Path("a") / "3"))
    assert (end["reason"], end["message"]) == ("error", 'he said "no"\nand left')


def test_members_have_an_entry_each(told, tmp_path):
    path = tmp_path / "log.jsonl"
    told([cb.JSONLLog(path)], last=10, members=3)
    start, steps, evaluation, _ = cb.read_log(path)
    assert start["members"] == 3
    assert steps["mean"] == {"loss": [4.5, 5.5, 6.5]}
    assert steps["last"] == {"loss": [9.0, 10.0, 11.0]}
    assert evaluation["values"] == {"loss": [9.5, 10.5, 11.5]}


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_numbers_that_are_not_finite_are_strict_json_and_come_back(told, tmp_path):
    path = tmp_path / "log.jsonl"
    losses = np.array([1, np.nan, 3, np.inf, 5, -np.inf], np.float32)
    told([cb.JSONLLog(path)], last=6, segment=2, losses=losses, config={"clip": math.inf, "name": "NaN"})
    strict = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert [line["last"]["loss"] for line in strict if line["event"] == "steps"] == ["NaN", "Infinity", "-Infinity"]
    read = cb.read_log(path)
    last = [line["last"]["loss"] for line in read if line["event"] == "steps"]
    assert math.isnan(last[0])
    assert last[1:] == [math.inf, -math.inf]
    assert read[0]["config"] == {"clip": "Infinity", "name": "NaN"}


def test_a_configuration_of_anything(tmp_path):
    path = tmp_path / "log.jsonl"
    config = {
        "array": jnp.arange(3.0), "half": jnp.asarray(0.5, jnp.bfloat16), "flag": np.bool_(True), 4: None,
        "key": jax.random.key(0), "path": Path("x"), "words": np.array(["a"]), "function": len,
    }  # fmt: skip
    cb.Callbacks([cb.JSONLLog(path)]).tell(cb.RunStart(None, 0, 1, 1, 1, "loop", config=config))
    read = cb.read_log(path)[0]["config"]
    plain = {name: read[name] for name in ("array", "half", "flag", "4", "path", "function")}
    assert plain == {
        "array": [0.0, 1.0, 2.0], "half": 0.5, "flag": True, "4": None, "path": "x",
        "function": "<built-in function len>",
    }  # fmt: skip
    assert isinstance(read["key"], str)
    assert read["words"] == "['a']"


def of_steps(path):
    """The log without its starts, ends and times."""
    kept = [line for line in cb.read_log(path) if line["event"] not in ("start", "end")]
    return [{name: value for name, value in line.items() if name != "time"} for line in kept]


@pytest.mark.parametrize("torn", [b"", b'{"event": "st'])
def test_going_on_tells_no_step_twice(told, tmp_path, torn):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "log.jsonl"
    told([cb.JSONLLog(whole)], last=60)
    told([cb.JSONLLog(path)], last=40)
    with path.open("ab") as file:
        file.write(torn)
    told([cb.JSONLLog(path)], first=20, last=60, resumed=True)
    assert of_steps(path) == of_steps(whole)
    events = [(line["event"], line["step"]) for line in cb.read_log(path) if line["event"] in ("start", "end")]
    assert events == [("start", 0), ("start", 20), ("end", 60)]


def test_steps_that_reach_beyond_are_dropped_as_a_whole(told, tmp_path):
    path = tmp_path / "log.jsonl"
    told([cb.JSONLLog(path)], last=30)
    told([cb.JSONLLog(path)], first=15, last=25, resumed=True)
    assert [line["start"] for line in cb.read_log(path) if line["event"] == "steps"] == [0, 15]


def test_a_new_run_starts_a_new_log_and_one_object_serves_two(told, tmp_path):
    log = cb.JSONLLog(tmp_path / "log.jsonl")
    told([log], last=30)
    told([log], last=10)
    assert [line["step"] for line in cb.read_log(log.path)] == [0, 10, 10, 10]
    told([log], first=10, last=20)
    assert [line["step"] for line in cb.read_log(log.path)] == [0, 10, 10, 10, 10, 20, 20, 20]


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"event": "steps"}', '{"step": "3"}'])
def test_a_line_that_is_none_of_ours(told, tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"event": "start", "step": 0}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match=r"path: expected a log of one JSON object with a step a line; got .* line 2"):
        cb.read_log(path)
    with pytest.raises(cb.CallbackError, match="path: expected a log of one JSON object"):
        told([cb.JSONLLog(path)], first=10, last=20, resumed=True)


def test_a_log_that_cannot_be_opened_says_so_once(tmp_path):
    (tmp_path / "file").write_text("")
    callbacks = cb.Callbacks([cb.JSONLLog(tmp_path / "file" / "log.jsonl")])
    with pytest.raises(cb.CallbackError, match=r"JSONLLog\.on_start to return; it raised FileExistsError: .*file"):
        callbacks.tell(cb.RunStart(None, 0, 1, 1, 1, "loop"))
    callbacks.tell(cb.RunEnd(0, "error"))
