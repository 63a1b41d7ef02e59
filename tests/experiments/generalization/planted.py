"""Data and settings of runs on planted results, and how such a run is judged."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments.harness.claims import Run
from experiments.harness.runner import lines
from jaxdl.data import Examples, Splits


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


def labels(axis: Any) -> list[str]:
    """Of the legend."""
    return [text.get_text() for text in axis.get_legend().get_texts()]


def ticks(labelled: Any) -> list[str]:
    """Texts of the ticks of an axis' x or y."""
    return [text.get_text() for text in labelled.get_ticklabels()]
