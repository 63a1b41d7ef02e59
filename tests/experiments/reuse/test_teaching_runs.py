"""The whole of `distillation` and `pretraining` on planted accuracies, and what their arms are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.reuse import distillation, distillation_networks, pretraining, pretraining_networks
from experiments.reuse.distillation_networks import DISTILLED, HINTED, PLAIN, SHUFFLED, Task, Trained
from experiments.reuse.pretraining_networks import AUTOENCODER, NONE, RBM, RELU, SUPERVISED, Tuned
from jaxdl import procedures, training
from jaxdl.data import Examples
from tests.experiments import planted
from tests.experiments.planted import SPREAD

CELL = {"temperature": 5.0, "strength": 3.0}
CLAIMS = ("at most 10 % of the teacher", "distillation: the student", "hints, then distillation: the", "negative contr")


def distilled_run(monkeypatch, gains, *, parameters, temperatures=(2.0, 5.0)):
    """A teacher of 200 parameters; students from 90 % on, each arm with its gain and a spread of its own."""
    data = Examples(np.zeros((30, 2, 2, 1), np.float32), np.zeros(30, int))
    means = dict(zip(distillation_networks.ARMS, gains, strict=True))
    asked = {}

    def choose(student, task, cells, *, epochs):
        asked["cells"] = cells
        return CELL

    def train_arm(arm, student, task, cell, *, seeds, epochs):
        asked.setdefault("chosen", []).append(cell)
        test = 90 + means[arm] + np.roll(SPREAD, list(means).index(arm))
        return Trained(np.array([10, 20]), test[:, None] + np.array([[-4.0, 1.0]]), test)

    student = SimpleNamespace(init=lambda key, x: {"params": np.zeros(parameters)})
    monkeypatch.setattr(distillation_networks, "networks", lambda widths: ("teacher", student))
    monkeypatch.setattr(
        distillation_networks, "train_teacher", lambda model, splits, *, epochs: ({"params": np.zeros(200)}, 97.25)
    )
    monkeypatch.setattr(distillation_networks, "make_task", lambda *_, labels: Task(data, data.x, data.x, data.x, None))
    monkeypatch.setattr(distillation_networks, "choose", choose)
    monkeypatch.setattr(distillation_networks, "train_arm", train_arm)
    sizes = {name: {"digits": 20} for name in ("widths", "labels", "teacher_epochs", "epochs")}
    run = planted.planted_run("digits", {**sizes, "temperatures": temperatures, "strengths": (3.0,)})
    distillation.run(run)
    return run, asked


def test_distillation_that_helps_is_confirmed_told_and_drawn(monkeypatch):
    run, asked = distilled_run(monkeypatch, (0.0, 1.0, 1.5, -5.0), parameters=16)
    assert planted.verdicts(run, distillation.EXPERIMENT, CLAIMS) == ["PASS"] * 4
    assert asked["cells"] == [{"temperature": 2.0, "strength": 3.0}, CELL]
    assert asked["chosen"] == [CELL] * 4
    assert run.findings[0].result.measured == "8 %"
    rows = {row[0]: row[1:] for row in run.tables[0].rows}
    assert rows[PLAIN] == ["90.00 [89.98, 90.02]", ""], "2.776 * 0.0158 / sqrt 5 = 0.0196"
    assert rows[HINTED][1].startswith("1.50 [")
    for text in ("200 parameters and 97.25 %", "16, and 30 labelled", "temperature 5, strength 3", "alone: 0.50 ["):
        assert text in run.notes[0]
    assert all((record["temperature"], record["strength"]) == (5.0, 3.0) for record in run.records)
    left, right = run.drawn["distillation"].axes
    assert planted.labels(left) == [*distillation_networks.ARMS, "teacher"]
    np.testing.assert_allclose(planted.heights(left, SHUFFLED), [81.0, 86.0])
    np.testing.assert_allclose(planted.heights(left, "teacher"), 97.25)
    dots = [line.get_ydata() for line in right.get_lines() if line.get_marker() == "."]
    np.testing.assert_allclose(dots, [1 + np.roll(SPREAD, 1) - SPREAD, 1.5 + np.roll(SPREAD, 2) - SPREAD])
    assert [text.get_text() for text in right.get_xticklabels()] == [DISTILLED, HINTED]


def test_distillation_that_hurts_is_refuted(monkeypatch):
    run, asked = distilled_run(monkeypatch, (0.0, -1.0, -1.0, 1.0), parameters=21, temperatures=(10.0,))
    assert planted.verdicts(run, distillation.EXPERIMENT, CLAIMS) == ["FAIL"] * 4
    assert "cells" not in asked, "a single cell needs no choice"
    assert asked["chosen"][0] == {"temperature": 10.0, "strength": 3.0}


def test_temperature_and_strength_go_by_the_mean_of_the_tuning_seeds(monkeypatch):
    asked = {}

    def run_many(*_, **options):
        asked.update(options)
        return SimpleNamespace(values=lambda name: np.array([0.9, 0.1, 0.6, 0.7, 0.4, 0.8]))

    monkeypatch.setattr(training, "run_many", run_many)
    student, splits = distillation_networks.networks({"teacher": (4,), "student": (3,)})[1], planted.noise()
    task = Task(splits.train, splits.train.x, splits.train.x, splits.train.x, splits)
    cells = [{"temperature": t, "strength": 1.0} for t in (1.0, 2.0, 3.0)]
    assert distillation_networks.choose(student, task, cells, epochs=3) == cells[1]
    assert asked["validation"] is splits.validation
    assert not set(asked["seeds"]) & set(range(100))


class Seen(Exception):
    pass


@pytest.mark.parametrize(
    ("arm", "targets", "trainer"),
    [(PLAIN, None, "run_many"), (DISTILLED, "logits", "run_many"), (SHUFFLED, "shuffled", "run_many"),
     (HINTED, "logits", "train_with_hints")],
)  # fmt: skip
def test_every_arm_is_given_its_targets(arm, targets, trainer, monkeypatch):
    given = {}

    def seen(*arguments, **options):
        given.update(options, data=arguments[2], hints=arguments[3:])
        raise Seen

    monkeypatch.setattr(procedures if arm == HINTED else training, trainer, seen)
    student, splits = distillation_networks.networks({"teacher": (4,), "student": (3,)})[1], planted.noise()
    task = Task(splits.train, *(np.full((60, 10), float(value)) for value in range(3)), splits)
    with pytest.raises(Seen):
        distillation_networks.train_arm(arm, student, task, CELL, seeds=2, epochs=40)
    assert [each is expected for each, expected in zip(given["data"], task.data, strict=False)] == [True, True]
    assert (given["data"][2] is getattr(task, targets)) if targets else len(given["data"]) == 2
    assert given["evaluate_every"] == 2
    if arm == HINTED:
        assert given["hints"][0] is task.hints
        assert (given["guided"], given["hint_epochs"]) == ("Dense_0", 10)


GOOD = dict(zip(pretraining_networks.ARMS, (3.0, 1.4, 1.5, 2.0, 3.1, 1.45), strict=True))
BAD = dict(zip(pretraining_networks.ARMS, (1.9, 2.5, 2.4, 2.0, 2.1, 3.0), strict=True))
RULES = (
    "pretraining by denoising autoencoders", "pretraining by RBMs", "it is what the autoencoders learned",
    "ReLU from He's start, without", "negative control",
)  # fmt: skip


def pretraining_run(monkeypatch, dataset, errors):
    """Every arm comes to its error; layer k keeps a cosine of 1 / k to its start, half of it without pretraining."""
    groups = []

    def fine_tuned(starts, plan, train, validation, test):
        groups.append((tuple(starts), len(train.y), len(validation.y), len(test.y), plan))
        found = {}
        for arm, start in starts.items():
            assert start == f"start of {arm}"
            error = errors[arm] + np.roll(SPREAD, pretraining_networks.ARMS.index(arm))
            curves, cosine = error[:, None] + np.array([[2.0, 0.0]]), np.tile(1 / np.arange(1.0, 4.0), (5, 1))
            cosine = cosine * (0.5 if arm == NONE else 1.0)
            found[arm] = Tuned(error, curves, curves / 10, 1 - cosine / 2, cosine)
        return found

    starts = {arm: f"start of {arm}" for arm in pretraining_networks.ARMS}
    monkeypatch.setattr(pretraining_networks, "starts", lambda plan, train, *, seeds: starts)
    monkeypatch.setattr(pretraining_networks, "fine_tuned", fine_tuned)
    sizes = {"widths": (1000,) * 3, "batch": 10, "layer_epochs": 1, "epochs": 36, "examples": None}
    run = planted.planted_run(dataset, {name: {dataset: value} for name, value in sizes.items()})
    pretraining.run(run)
    assert [len(group) for group, *_ in groups] == [5, 1]
    assert groups[1][0] == (RELU,)
    assert groups[0][1:] == (60, 20, 30, pretraining_networks.Plan((1000,) * 3, 10, 1, 36))
    return run


def test_pretraining_that_helps_is_confirmed_told_and_drawn(monkeypatch):
    run = pretraining_run(monkeypatch, "mnist", GOOD)
    assert planted.verdicts(run, pretraining.EXPERIMENT, (*RULES, "stacked denoising")) == ["PASS"] * 6
    rows = {row[0]: list(row[1:]) for row in run.tables[0].rows}
    assert rows[AUTOENCODER] == ["1.40 (1.38 to 1.42)", "0.14", "0.50, 1.00", "0.75, 0.50", "0.83, 0.33"]
    for text in ("gains 1.00 points [", "autoencoders 1.60.", "cosine of 1.00 to its", "0.50 to its random one"):
        assert text in run.notes[0]
    left, middle, right = run.drawn["pretraining"].axes
    assert [axis.get_yscale() for axis in (left, middle, right)] == ["log", "linear", "log"]
    assert planted.labels(left) == list(pretraining_networks.ARMS)
    np.testing.assert_allclose(planted.heights(left, RBM), [3.5, 1.5])
    dots = [line.get_ydata() for line in middle.get_lines() if line.get_marker() == "."]
    np.testing.assert_allclose(np.mean(dots, 1), list(GOOD.values()))
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [0.75, 0.875, 1 - 1 / 12])
    assert "test errors 3.00 without, 1.50 % with" in run.findings[1].remark


def test_pretraining_that_hurts_is_refuted(monkeypatch):
    run = pretraining_run(monkeypatch, "mnist", BAD)
    assert planted.verdicts(run, pretraining.EXPERIMENT, (*RULES, "stacked denoising")) == ["FAIL"] * 6
    assert planted.verdicts(pretraining_run(monkeypatch, "digits", BAD), pretraining.EXPERIMENT, RULES) == ["FAIL"] * 5


def test_layers_of_one_width_share_a_program_but_for_the_corruption():
    for arm, expected in ((RBM, 2), (SUPERVISED, 2), (AUTOENCODER, 4)):
        found = pretraining_networks.learners(arm, (6, 4, 4, 4))
        assert len({id(learner) for learner in found}) == expected
