"""The command line, run as a user runs it."""

import html
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import jax
import pytest

import experiments
import jaxdl
from experiments.__main__ import main, parser
from experiments.harness import records, runner
from experiments.harness.claims import Experiment, Result, Run
from jaxdl.data import Examples, Splits

CHECKOUT = Path(__file__).parents[2]


def command(*arguments, **environment):
    variables = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", "experiments", *arguments],
        capture_output=True, text=True, cwd=CHECKOUT, env=variables, timeout=240,
    )  # fmt: skip


def test_without_a_name_everything_is_listed():
    done = command()
    assert done.returncode == 0
    for name in experiments.NAMES:
        experiment = experiments.find(name)
        for text in (name, experiment.claim, experiment.lecture, f"about {experiment.seconds['digits']} s"):
            assert text in done.stdout


def test_every_room_has_a_quick_one():
    assert all(QUICK & set(room.NAMES) for room in experiments.ROOMS)
    assert set(experiments.NAMES) >= QUICK


def test_a_run_as_a_user_types_it(tmp_path):
    cache = str(tmp_path / "cache")
    done = command("shifts", "--preset", "smoke", "--out", str(tmp_path / "out"), XDG_CACHE_HOME=cache)
    assert done.returncode in (0, 1), done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert done.returncode == int(manifest["verdicts"]["FAIL"] > 0)
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in done.stdout


# One or two of every room; the others, ten to fifty seconds of compilation each, carry the marker.
QUICK = {
    "depth",
    "per_example",
    "ten_steps",
    "learning_rate",
    "early_stopping",
    "closed_forms",
    "shifts",
    "distillation",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in experiments.NAMES]
)
def test_the_smoke_preset_runs_to_verdicts_and_a_report(name, tmp_path, monkeypatch):
    monkeypatch.setattr(jaxdl.training, "keep_compiled_programs", lambda: None)  # the tests have a cache of their own
    status = main([name, "--preset", "smoke", "--out", str(tmp_path / "out")])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["experiment"] == name
    assert manifest["seeds"] == list(range(5))
    assert sum(manifest["verdicts"].values()) >= 2
    assert status == int(manifest["verdicts"]["FAIL"] > 0)
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    findings = [line for line in lines if line["kind"] == "finding"]
    controls = {line["verdict"] for line in findings if line["control"]}
    assert controls == {"PASS"}, "a control must fail its rule"
    assert {line["seed"] for line in lines if line["kind"] == "measurement"} >= set(range(5))
    report = (tmp_path / "out" / "report.html").read_text()
    for finding in findings:
        assert html.escape(finding["claim"]) in report
    for figure in manifest["figures"]:
        assert (tmp_path / "out" / figure).stat().st_size > 5000
    assert report.count("data:image/png;base64,") == len(manifest["figures"]) >= 1
    assert not Links.of(report), "the report must need nothing beside it"
    rows = experiments.find(name).rows
    assert {finding["row"] for finding in findings} <= {"", *rows}
    record = records.standing(tmp_path / "out", experiments.find(name), dataset="digits", preset="smoke", seeds=None)
    assert record is not None, "the run would not be resumed"
    jax.clear_caches()  # the programs of all of them together would fill the memory


class Links(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith("data:")]

    @classmethod
    def of(cls, page):
        parser = cls()
        parser.feed(page)
        return parser.found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["vanishing"],
            f"NAME: expected one of {', '.join(experiments.NAMES)}; got 'vanishing'",
        ),
        (["depth", "--seeds", "0"], "--seeds: expected a whole number >= 1; got 0"),
        (["depth", "--dataset", "cifar"], "invalid choice: 'cifar'"),
        (["depth", "--preset", "huge"], "invalid choice: 'huge'"),
        (["depth", "--seeds", "many"], "invalid int value: 'many'"),
    ],
)
def test_bad_usage_is_exit_status_two(arguments, message, capsys, tmp_path):
    try:
        status = main([*arguments, "--out", str(tmp_path / "out")])
    except SystemExit as left:  # argparse's way
        status = left.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_mnist_without_archives_or_network_names_the_files(tmp_path):
    environment = dict(
        JAXDL_DATA_DIR="", TFDS_DATA_DIR=str(tmp_path / "tfds"), HTTPS_PROXY="http://127.0.0.1:9",
        https_proxy="http://127.0.0.1:9", NO_PROXY="", no_proxy="",
    )  # fmt: skip
    done = command("depth", "--dataset", "mnist", "--out", str(tmp_path / "out"), **environment)
    assert done.returncode == 2
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        assert name in done.stderr
    assert "JAXDL_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def toy(run):
    splits = Splits(*(Examples([0], [0]) for _ in range(3)))
    return Experiment("toy", "none", "c", "s", "s", {"digits": 1}, {"default": {"seeds": 5}}, run), splits


@pytest.mark.parametrize(("verdict", "status"), [("PASS", 0), ("INCONCLUSIVE", 0), ("FAIL", 1)])
def test_exit_status_follows_the_verdicts(verdict, status, monkeypatch, tmp_path, capsys):
    experiment, splits = toy(lambda run: run.find("claim <b>", "rule", Result(verdict, "1", (0.0, 2.0), "detail")))
    monkeypatch.setattr(experiments, "NAMES", ("toy",))
    monkeypatch.setattr(experiments, "find", lambda name: experiment)
    monkeypatch.setattr(jaxdl.data, "load", lambda *a, **k: splits)
    monkeypatch.setattr(jaxdl.training, "keep_compiled_programs", lambda: None)
    assert main(["toy", "--out", str(tmp_path)]) == status
    assert f"1 {verdict}" in capsys.readouterr().out
    assert "claim &lt;b&gt;" in (tmp_path / "report.html").read_text()


def test_an_interrupted_run_leaves_the_results_of_the_one_before(monkeypatch, tmp_path):
    def first(run: Run):
        run.find("claim", "rule", Result("PASS", "1", (0.0, 2.0), "detail"))

    def second(run: Run):
        raise KeyboardInterrupt

    for attempt in (first, second):
        experiment, splits = toy(attempt)
        options = dict(dataset="digits", preset="default", seeds=None, out=tmp_path)
        if attempt is first:
            runner.run_experiment(experiment, splits, **options)
            before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        else:
            with pytest.raises(KeyboardInterrupt):
                runner.run_experiment(experiment, splits, **options)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"manifest.json", "results.jsonl", "report.html"}


def test_help_names_every_option():
    text = parser().format_help()
    for option in ("--dataset", "--seeds", "--preset", "--out", "--data-dir"):
        assert option in text


def test_numbers_that_are_not_finite_are_null_in_the_records(tmp_path):
    def measure(run: Run):
        run.find("claim", "rule", Result("INCONCLUSIVE", "1", (float("-inf"), float("inf")), "one seed"))
        run.record(seed=0, values=[1.0, float("nan")])

    experiment, splits = toy(measure)
    runner.run_experiment(experiment, splits, dataset="digits", preset="default", seeds=1, out=tmp_path)
    finding, record = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert finding["result"]["interval"] == [None, None]
    assert record["values"] == [1.0, None]
