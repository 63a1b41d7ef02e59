"""The whole experiment on planted signs and planted critical points."""

import numpy as np
import pytest

from experiments.theory import critical_search, saddle_points
from jaxdl.diagnostics import CriticalPoint, SignArgument
from tests.experiments import planted

SIZE, SAMPLES, SEARCHES = critical_search.PARAMETERS, 20_000, 14
CLAIMS = (
    "with independent, fair signs", "(GOE) in place of the signs", "random symmetric matrices are positive definite",
    "the share of negative eigenvalues grows", "that correlation is none that comes about by chance",
    "with their losses exchanged at random", "most of the distinct critical points are saddles",
)  # fmt: skip


def plant(monkeypatch, *, signs, matrices, index):
    """Shares of positive samples over 2^-K for K = 1 ... 10, and the negative eigenvalues of the i-th lowest point."""
    expected = SAMPLES * 0.5 ** np.arange(1, 11)

    def drawn(key, *, dimensions, num_samples):
        counts = (np.round(np.array(ratios) * expected).astype(int) for ratios in (signs, matrices))
        return SignArgument(*counts, dimensions, num_samples)

    def searched(data, seed, *, starts, iterations):
        assert (data[0].shape, set(data[1]), starts, iterations) == ((100, 6), set(range(5)), 2, 7)
        places = np.array([*range(SEARCHES - 2), 3, 5])  # a twin of the fourth, and one that is no critical point
        negative = np.array([index(i) for i in places])[:, None] > np.arange(SIZE)[None]
        values = np.sort(np.where(negative, -1.0, 1.0) * np.arange(1, SIZE + 1), axis=1)
        norms = np.where(np.arange(SEARCHES) == SEARCHES - 1, 1e-3, 1e-10)
        return critical_search.Found(CriticalPoint(0.1 * (1 + places), norms, values, SIZE), np.ones(SEARCHES))

    monkeypatch.setattr(saddle_points, "PERMUTATIONS", 99)
    monkeypatch.setattr(saddle_points, "sign_argument", drawn)
    monkeypatch.setattr(critical_search, "search", searched)
    settings = {"samples": SAMPLES, "starts": 2, "iterations": 7}
    run = planted.planted_run("digits", settings, splits=planted.noise(220, 10, 10))
    saddle_points.run(run)
    return run, planted.verdicts(run, saddle_points.EXPERIMENT, CLAIMS)


def test_tossed_signs_and_points_with_more_directions_down_the_higher_they_are(monkeypatch):
    matrices = [1, 0.6, 0.2, 0.01] + 6 * [0.0]
    run, found = plant(monkeypatch, signs=np.ones(10), matrices=matrices, index=lambda i: 2 * i)
    assert found == ["PASS"] * len(CLAIMS)
    points = next(record for record in run.records if record["quantity"] == "critical_points")
    assert (points["searches"], points["accepted"], len(points["losses"])) == (SEARCHES, SEARCHES - 1, 12)
    assert points["kinds"] == ["minimum"] + 11 * ["saddle"]
    assert points["negative_share"] == pytest.approx([2 * i / SIZE for i in range(12)])
    assert points["correlation"] == pytest.approx(1)
    assert run.findings[3].remark.startswith("12, 12, 12, 12, 12 distinct points")
    assert run.findings[6].remark.startswith("shares of 92% to 92%")
    assert "93% of 14 searches a seed" in run.notes[0]
    minima = next(record for record in run.records if record["quantity"] == "minima")
    assert minima["independent"][:3] == [10_000, 5000, 2500]

    left, right = run.drawn["index"].axes
    assert left.get_xscale() == "log"
    np.testing.assert_allclose(planted.heights(left, "seed 4"), 2 * np.arange(12) / SIZE)
    assert planted.labels(right)[:2] == ["loss 0.1, minimum, index 0", "loss 0.7, saddle, index 12"]
    assert np.sum(planted.heights(right, "loss 1.2, saddle, index 22") < 0) == 22
    assert "signs" in run.drawn


def test_lopsided_signs_and_points_the_other_way_round_fail(monkeypatch):
    run, found = plant(monkeypatch, signs=1.3 * np.ones(10), matrices=np.ones(10), index=lambda i: max(0, 5 - i))
    assert found == ["FAIL", "FAIL", "FAIL", "FAIL", "FAIL", "PASS", "FAIL"]
    assert run.findings[0].result.detail.endswith("the farthest is K = 1")
