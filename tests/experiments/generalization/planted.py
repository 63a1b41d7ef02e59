"""A run on planted results, which keeps the figures it is given."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.harness.claims import Run
from experiments.harness.runner import lines
from jaxdl.data import Examples, Splits


@dataclass
class PlantedRun(Run):
    """A run whose figures can be looked into; the pictures of them are drawn unless `draws` is off."""

    draws: bool = True
    drawn: dict[str, Figure] = field(default_factory=dict)

    def figure(self, name: str, figure: Figure, caption: str) -> None:
        """As of a run."""
        self.drawn[name] = figure
        if self.draws:
            super().figure(name, figure, caption)


def images(count: int = 60, *, blank: bool = False) -> Splits:
    """The same random 3x3 images with labels of ten classes as every split; the first pixel 0 in all if `blank`."""
    draws = np.random.RandomState(0)
    x = draws.rand(count, 3, 3, 1).astype(np.float32)
    x[:, 0, 0] *= not blank
    examples = Examples(x, draws.randint(0, 10, count).astype(np.int32))
    return Splits(examples, examples, examples)


def of_dataset(dataset: str, **settings: Any) -> dict[str, Any]:
    """Settings as a preset has them."""
    return {name: {dataset: value} for name, value in settings.items()}


def judged(run: Run, expected: Mapping[str, str], *, rows: Iterable[str] = ("",)) -> None:
    """Every name is a part of one claim, every claim has one name, and the verdicts are those expected.

    Besides: at least one control, whose claim says so; no rows but these; every seed has left records, which are JSON.
    """
    found = {}
    for finding in run.findings:
        names = [name for name in expected if name in finding.claim]
        assert len(names) == 1, (finding.claim, names)
        assert names[0] not in found, names
        found[names[0]] = finding.verdict
        assert finding.control == finding.claim.startswith("negative control")
        assert finding.control == finding.rule.startswith("must fail")
    assert found == expected
    assert any(finding.control for finding in run.findings)
    assert {finding.row for finding in run.findings} == set(rows)
    assert {record["seed"] for record in run.records} == set(range(run.seeds))
    json.dumps(lines(run), allow_nan=False)


def line(axis: Any, label: str) -> np.ndarray:
    """Heights of the one line of that label."""
    (found,) = [each for each in axis.lines if each.get_label() == label]
    return np.asarray(found.get_ydata())


def labels(axis: Any) -> list[str]:
    """Of the legend."""
    return [text.get_text() for text in axis.get_legend().get_texts()]


def ticks(labelled: Any) -> list[str]:
    """Texts of the ticks of an axis' x or y."""
    return [text.get_text() for text in labelled.get_ticklabels()]
