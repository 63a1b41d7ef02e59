"""All experiments by one command: the estimate first, resumed after a kill, one page at the end."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import experiments
import jaxdl
from experiments.__main__ import main
from experiments.harness import collection, records, results_page, runner
from experiments.harness.claims import Experiment, Result, Run
from experiments.harness.rows import ROWS
from jaxdl.data import Examples, Splits

CHECKOUT = Path(__file__).parents[3]
SPLITS = Splits(*(Examples([0], [0]) for _ in range(3)))


def measure(run: Run) -> None:
    from matplotlib.figure import Figure

    verdict = "FAIL" if run.settings.get("fails") else "PASS"
    run.find("claim <b>", "rule", Result(verdict, "1", (0.0, 2.0), "detail"), published="98.4 % (lecture)", row="X03")
    run.find("control", "must fail", Result("FAIL", "1", (0.0, float("inf")), "detail"), control=True)
    run.record(seed=0, value=1.0)
    figure = Figure(figsize=(6, 3))
    figure.subplots().plot([0, 1])
    run.figure("line", figure, "a line")


def toy(name: str, *, run=measure, seconds: int = 60, **fields) -> Experiment:
    presets = {"default": {"seeds": 5, **fields.pop("settings", {})}, "smoke": {"seeds": 2}}
    options = dict(rows=("X03",), record="digits") | fields
    return Experiment(
        name,
        "lecture",
        f"claim of {name}",
        "s",
        "s",
        {"digits": seconds, "mnist": 2 * seconds},
        presets,
        run,
        **options,
    )


@pytest.fixture
def house(monkeypatch):
    """Puts toys in the place of all experiments; returns the names of those that ran."""
    ran = []

    def put(*toys: Experiment) -> list[str]:
        def watched(experiment: Experiment) -> Experiment:
            def run(run: Run) -> None:
                ran.append(experiment.name)
                experiment.run(run)

            run.__module__ = experiment.run.__module__
            return dataclasses.replace(experiment, run=run)

        by_name = {toy.name: watched(toy) for toy in toys}
        monkeypatch.setattr(experiments, "NAMES", tuple(by_name))
        monkeypatch.setattr(experiments, "find", by_name.__getitem__)
        monkeypatch.setattr(jaxdl.data, "load", lambda *a, **k: SPLITS)
        monkeypatch.setattr(jaxdl.training, "keep_compiled_programs", lambda: None)
        return ran

    return put


def test_the_total_and_the_estimates_come_first(house, tmp_path, capsys):
    house(toy("quick", seconds=30), toy("long", seconds=600, record="mnist"))
    assert main(["all", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 experiments: about 20 min with the default preset on two cores\n")
    assert "  quick  digits  about 30 s\n  long   mnist   about 20 min\n" in out
    assert re.search(r"\[1/2\] quick on digits; about 20 min to go\n  2 PASS in \d+ s\n\[2/2\] long on mnist", out)
    assert f"Results: {tmp_path / 'results.html'}" in out
    assert {path.name for path in tmp_path.iterdir()} == {"quick-digits-default", "long-mnist-default", "results.html"}


def test_one_data_set_for_all_and_other_presets(house, tmp_path, capsys):
    house(toy("a", record="mnist"))
    assert main(["all", "--dataset", "digits", "--preset", "smoke", "--seeds", "3", "--out", str(tmp_path)]) == 0
    assert "(preset smoke takes less)" in capsys.readouterr().out
    assert records.read(tmp_path / "a-digits-smoke").manifest["seeds"] == [0, 1, 2]


def test_resumed_runs_are_kept_and_others_are_not(house, tmp_path, capsys):
    ran = house(toy("a", seconds=30), toy("b", seconds=600))
    main(["all", "--out", str(tmp_path)])
    main(["all", "--out", str(tmp_path), "--resume"])
    assert ran == ["a", "b"]
    assert "2 are done, about 0 s to go" in capsys.readouterr().out
    house(toy("a", seconds=30, settings={"width": (3, 4)}), toy("b", seconds=600))
    main(["all", "--out", str(tmp_path), "--resume"])
    assert ran == ["a", "b", "a"], "other settings are another run"
    out = capsys.readouterr().out
    assert "1 are done, about 30 s to go" in out
    assert "  b  digits  done: 2 PASS" in out
    main(["all", "--out", str(tmp_path), "--resume"])
    assert ran == ["a", "b", "a"]
    main(["all", "--out", str(tmp_path), "--resume", "--seeds", "6"])
    assert ran == ["a", "b", "a", "a", "b"], "so are other seeds"
    main(["all", "--out", str(tmp_path)])
    assert ran[-2:] == ["a", "b"], "without --resume everything runs anew"
    assert len(ran) == 7


@pytest.mark.parametrize("what", ["source", "version", "dataset"])
def test_a_run_of_other_code_or_data_does_not_stand(what, house, tmp_path, monkeypatch):
    experiment = toy("a")
    house(experiment)
    main(["all", "--out", str(tmp_path)])
    folder, asked = tmp_path / "a-digits-default", dict(dataset="digits", preset="default", seeds=None)
    assert records.standing(folder, experiment, **asked) is not None
    if what == "source":
        monkeypatch.setattr(records, "fingerprint", lambda experiment: "another")
    elif what == "version":
        monkeypatch.setattr(jaxdl, "__version__", "0.0.1")
    else:
        asked["dataset"] = "mnist"
    assert records.standing(folder, experiment, **asked) is None


def test_one_run_is_resumed_alike(house, tmp_path, capsys):
    ran = house(toy("a", settings={"fails": True}))
    arguments = ["a", "--out", str(tmp_path), "--resume"]
    assert [main(arguments), main(arguments)] == [1, 1]
    assert ran == ["a"]
    assert "done before: 1 PASS, 1 FAIL." in capsys.readouterr().out


def test_half_a_run_is_none(house, tmp_path):
    ran = house(toy("a"))
    main(["all", "--out", str(tmp_path)])
    folder = tmp_path / "a-digits-default"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "results.jsonl").write_bytes(whole["results.jsonl"] + b"\n")  # of a later run that was cut here
    assert records.read(folder) is None
    (folder / "results.jsonl").write_bytes(whole["results.jsonl"])
    assert records.read(folder) is not None
    (folder / "manifest.json").write_text("{")
    assert records.read(folder) is None
    (folder / "manifest.json").unlink()
    assert records.read(folder) is None
    main(["all", "--out", str(tmp_path), "--resume"])
    assert ran == ["a", "a"]


def test_an_experiment_that_breaks_does_not_stop_the_others(house, tmp_path, capsys):
    def broken(run: Run) -> None:
        raise RuntimeError("out of luck")

    ran = house(toy("a", run=broken), toy("b"))
    assert main(["all", "--out", str(tmp_path)]) == 1
    assert ran == ["a", "b"]
    assert "out of luck" in (tmp_path / "a-digits-default" / "error.txt").read_text()
    assert "these broke: a; --resume runs them again and nothing else" in capsys.readouterr().err
    assert "<b>Not run:</b> a." in (tmp_path / "results.html").read_text()
    house(toy("a"), toy("b"))
    assert main(["all", "--out", str(tmp_path), "--resume"]) == 0
    assert ran == ["a", "b", "a"]
    assert not (tmp_path / "a-digits-default" / "error.txt").exists()


def test_a_claim_that_fails_is_exit_status_one(house, tmp_path):
    house(toy("a"), toy("b", settings={"fails": True}))
    assert main(["all", "--out", str(tmp_path)]) == 1
    assert main(["all", "--out", str(tmp_path), "--resume"]) == 1


def test_data_that_cannot_be_had_is_said_at_once(house, monkeypatch, tmp_path, capsys):
    ran = house(toy("a"), toy("b", record="mnist"))

    def load(name: str, **_) -> Splits:
        if name == "mnist":
            raise OSError("no archives")
        return SPLITS

    monkeypatch.setattr(jaxdl.data, "load", load)
    assert main(["all", "--out", str(tmp_path / "out")]) == 2
    assert "error: no archives\n--dataset digits runs everything" in capsys.readouterr().err
    assert ran == []


def test_a_page_belongs_to_all(house, tmp_path, capsys):
    house(toy("a"))
    assert main(["a", "--page", str(tmp_path / "page.html"), "--out", str(tmp_path)]) == 2
    assert "--page: expected with NAME all; got it with 'a'" in capsys.readouterr().err


def test_the_page_has_every_finding_and_needs_nothing_beside_it(house, tmp_path):
    house(toy("a"), toy("b", settings={"fails": True}))
    copy = tmp_path / "copy.html"
    main(["all", "--out", str(tmp_path / "out"), "--page", str(copy)])
    page, alone = (tmp_path / "out" / "results.html").read_text(), copy.read_text()
    assert '<span class="PASS">3 PASS</span>, <span class="FAIL">1 FAIL</span>' in page
    assert page.count("claim &lt;b&gt;") == 2
    for text in (
        "98.4 % (lecture)",
        "[0, 2]",
        "[0, unbounded]",
        "python -m experiments a --dataset digits",
        "rule: rule",
    ):
        assert text in page
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert 'href="a-digits-default/report.html"' in page
    assert (tmp_path / "out" / "a-digits-default" / "report.html").exists()
    assert "report.html" not in alone, "the page in another place would link to nothing"
    assert f"<b>Without an answer:</b> {', '.join(row for row in ROWS if row != 'X03')}." in page
    assert '<td>X03</td><td>depth against accuracy with sigmoid layers</td><td><a href="#a">' in page


def test_rows_are_answered_by_the_findings_that_name_them(tmp_path):
    def two(run: Run) -> None:
        run.find("one", "r", Result("PASS", "1", (0.0, 1.0), "d"), row="X01")
        run.find("more", "r", Result("FAIL", "1", (0.0, 1.0), "d"))

    record = None
    for rows, expected in ((("X01", "X02"), {"X01": 1, "X02": 0}), (("X02",), {"X01": 1, "X02": 1})):
        experiment = toy("a", run=two, rows=rows)
        runner.run_experiment(experiment, SPLITS, dataset="digits", preset="default", seeds=None, out=tmp_path)
        record = records.read(tmp_path)
        assert {row: len(record.answers(row, rows)) for row in expected} == expected
    assert record is not None
    assert record.failed


def test_a_thumbnail_is_the_mean_of_squares(tmp_path):
    import io

    import numpy as np
    from matplotlib import image

    pixels = np.zeros((100, 1000, 3), np.float32)
    pixels[:, ::3] = 1  # a third of the columns is white, so that each square of 3 x 3 is
    image.imsave(tmp_path / "wide.png", pixels)
    small = image.imread(io.BytesIO(results_page.thumbnail(tmp_path / "wide.png")), "jpg")
    assert small.shape == (33, 333, 3)
    assert np.abs(small.astype(float) - 255 / 3).max() < 4


def test_the_source_is_what_an_experiment_imports_and_nothing_else():
    names = {path.name for path in records._sources("experiments.gradients.depth")}
    assert names == {"depth.py", "book.py", "full_length.py", "ladder.py"}
    assert len({records.fingerprint(experiments.find(name)) for name in experiments.NAMES}) == len(experiments.NAMES)


def test_docstrings_and_comments_are_no_change_of_source(tmp_path):
    texts = (
        '"""One."""\n\n\ndef f():\n    """Doc."""\n    return 1\n',
        "def f():  # why\n    return 1\n",
        "def f():\n    return 2\n",
    )
    codes = []
    for text in texts:
        (tmp_path / "m.py").write_text(text)
        codes.append(records._code(tmp_path / "m.py"))
    assert codes[0] == codes[1] != codes[2]


def test_presets_and_the_estimate_are_no_change_of_source_but_the_claims_are(tmp_path):
    declared = 'E = Experiment(seconds={"digits": %s}, presets={"smoke": %s}, claims=(%s,))\n'
    codes = []
    for values in ((1, {}, "'a'"), (2, {}, "'a'"), (1, {"seeds": 5}, "'a'"), (1, {}, "'b'")):
        (tmp_path / "m.py").write_text(declared % values)
        codes.append(records._code(tmp_path / "m.py"))
    assert codes[0] == codes[1] == codes[2] != codes[3]


def test_every_row_is_some_experiments_and_every_experiments_rows_exist():
    claimed = {row for name in experiments.NAMES for row in experiments.find(name).rows}
    assert claimed == set(ROWS)


def test_killed_and_resumed(tmp_path):
    """The collection is killed inside its second experiment; the first is kept, its bytes too."""
    script = f"""
import sys, time
sys.path[:0] = [{str(CHECKOUT)!r}, {str(Path(__file__).parent)!r}]
import experiments, jaxdl
from experiments.__main__ import main
from test_collection import SPLITS, measure, toy
def slow(run):
    measure(run)
    print("inside", flush=True)
    time.sleep(float(sys.argv[1]))
toys = {{"a": toy("a"), "b": toy("b", run=slow)}}
experiments.NAMES, experiments.find = tuple(toys), toys.__getitem__
jaxdl.data.load = lambda *a, **k: SPLITS
sys.exit(main(["all", "--resume", "--out", {str(tmp_path / "out")!r}]))
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", script]
    first = subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("inside"):
            break
    time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out" / "a-digits-default").iterdir()}
    assert "<b>Not run:</b> b." in (tmp_path / "out" / "results.html").read_text()
    done = subprocess.run([*command, "0"], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 experiments: about 2 min with the default preset on two cores; 1 are done")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "a-digits-default").iterdir()} == kept
    assert "Not run" not in (tmp_path / "out" / "results.html").read_text()


def test_the_estimate_in_minutes_and_seconds(tmp_path):
    planned = collection.plan(
        [toy("a", seconds=119)], dataset=None, preset="default", seeds=None, out=tmp_path, resume=False
    )
    assert collection.estimate(planned, "default").startswith("1 experiments: about 119 s with")
