"""What a run of an experiment on planted results is given, and how its findings and pictures are looked at."""

import dataclasses
import json

import numpy as np

from experiments.harness import runner
from experiments.harness.claims import Picture, Run
from jaxdl.data import Examples, Splits

SEEDS = 5
SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


@dataclasses.dataclass
class Drawn(Run):
    """A run that keeps its pictures as figures of Matplotlib, laid out but not painted."""

    drawn: dict = dataclasses.field(default_factory=dict)

    def figure(self, name, figure, caption):
        figure.draw_without_rendering()
        self.drawn[name] = figure
        self.figures.append(Picture(f"{name}.png", b"", caption))


def planted_run(dataset, settings, *, splits=None, seeds=SEEDS):
    """A run of the settings given, each `{name: value}` for this data set alone where it goes by data sets."""
    return Drawn(dataset, splits or noise(), seeds, settings)


def noise(*counts, shape=(3, 3, 1)):
    """Splits of random images; in each the labels go round the ten classes."""
    draws, parts = np.random.RandomState(0), []
    for count in counts or (60, 20, 30):
        parts.append(Examples(draws.rand(count, *shape).astype(np.float32), np.arange(count, dtype=np.int32) % 10))
    return Splits(*parts)


def verdicts(run, experiment, claims):
    """Verdicts of all findings, in order; `claims` are parts of their claims, by which each is known.

    That the records can be written, that rows are the experiment's and that there is a control is checked besides.
    """
    found = [finding.claim for finding in run.findings]
    assert len(found) == len(claims), found
    assert all(part in claim for part, claim in zip(claims, found, strict=True)), found
    assert {finding.row for finding in run.findings} <= {"", *experiment.rows}
    assert any(finding.control for finding in run.findings)
    assert {record["seed"] for record in run.records} >= set(range(run.seeds))
    json.dumps(runner.lines(run), allow_nan=False)
    return [finding.verdict for finding in run.findings]


def heights(axis, label):
    """Ordinates of the one line of that label."""
    (line,) = [line for line in axis.get_lines() if line.get_label() == label]
    return np.asarray(line.get_ydata())


def labels(axis):
    """Of the legend's entries."""
    return axis.get_legend_handles_labels()[1]
