"""A whole experiment on made-up results: what it finds, records, says and draws where nothing is trained."""

import json
from typing import Any

import numpy as np

from experiments.harness import runner
from experiments.harness.claims import Experiment
from jaxdl.data import Examples, Splits
from tests.experiments.planted import Drawn

SPREAD = np.array([-0.1, -0.05, 0.0, 0.05, 0.1])


class Planted(Drawn):
    """A run on planted results."""

    def verdicts(self, *parts: str) -> list[str]:
        """Of the findings whose claims hold these words, one finding for each and none besides."""
        chosen = [[finding for finding in self.findings if part in finding.claim] for part in parts]
        assert [len(found) for found in chosen] == [1] * len(parts)
        assert {id(found[0]) for found in chosen} == {id(finding) for finding in self.findings}
        assert all(finding.control == ("negative control" in finding.claim) for finding in self.findings)
        return [found[0].verdict for found in chosen]


def small_splits(count: int = 40) -> Splits:
    """Random images of 2x2 pixels."""
    draws = np.random.RandomState(0)
    parts = [(draws.rand(count, 2, 2, 1).astype(np.float32), draws.randint(0, 10, count)) for _ in range(3)]
    return Splits(*(Examples(x, y.astype(np.int32)) for x, y in parts))


def drive(
    experiment: Experiment, dataset: str, *, preset: str = "default", splits: Splits | None = None, **settings: Any
) -> Planted:
    """The experiment's own `run` with the preset's settings; its records can be written and its rows are declared."""
    chosen = {**experiment.presets[preset], **settings}
    run = Planted(dataset, splits or small_splits(), chosen.pop("seeds"), chosen)
    experiment.run(run)
    assert json.dumps(runner.lines(run), allow_nan=False)
    assert {finding.row for finding in run.findings} <= {"", *experiment.rows}
    return run


def labelled(axis: Any) -> dict[str, np.ndarray]:
    """The ordinates of every line with a label."""
    return {line.get_label(): line.get_ydata() for line in axis.lines if not line.get_label().startswith("_")}
