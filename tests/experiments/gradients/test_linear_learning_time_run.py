"""The whole of `linear_learning_time` on planted costs and spectra."""

import numpy as np
import pytest

from experiments.gradients import linear_learning_time as experiment
from experiments.gradients import linear_networks as networks
from tests.experiments.planted import heights, labels, planted_run, verdicts

SETTINGS = {"width": {"digits": 5}, "depths": (2, 5, 10), "rates": 3, "steps": 60}
CLAIMS = [
    "scaled Gaussian starts slow down with depth, 2 to 10 layers",
    "from orthogonal starts the learning time does not depend",
    "from Gaussian starts it does not either",
    "with 10 layers the orthogonal start is the faster one",
    "products of up to 10 orthogonal kernels",
    "products of up to 10 Gaussian kernels",
    "those of N(0, 1/N) kernels degenerate",
]
SLOW, FLAT = {2: 10, 5: 20, 10: 60}, {2: 15, 5: 15, 10: 15}


@pytest.fixture
def judged(monkeypatch):
    def judge(times, shrink):
        """`times`: updates by depth, of each start; `shrink`: of the singular values, by every layer."""

        def costs(problem, *, width, depth, factors, seeds, steps):
            assert (len(problem.deviations), width) == (5, 5)
            np.testing.assert_allclose(factors, [4e-3, np.sqrt(0.016), 4.0])
            found = {}
            for name, by_depth in times.items():
                found[name] = np.ones((3, seeds, steps))
                found[name][1, :, by_depth[depth] :] = 0.1  # the rate in the middle is the fastest
                found[name][2, :, by_depth[depth] + 5 :] = 0.1
            return found

        def spectra(init, *, width, depths, seeds):
            factor = shrink[next(name for name, each in networks.STARTS.items() if each is init)]
            return {depth: np.full((seeds, width), factor**depth) for depth in depths}

        monkeypatch.setattr(networks, "costs", costs)
        monkeypatch.setattr(experiment, "singular_values", spectra)
        run = planted_run("digits", SETTINGS)
        experiment.run(run)
        return run, verdicts(run, experiment.EXPERIMENT, CLAIMS)

    return judge


def test_starts_as_published_pass(judged):
    run, found = judged({"Gaussian": SLOW, "orthogonal": FLAT}, {"Gaussian": 0.8, "orthogonal": 1.0})
    assert found == ["PASS"] * 7
    assert {finding.row for finding in run.findings} == {"X22"}
    assert run.findings[0].remark.startswith("5 networks did not get there and count as 60 updates")
    rate = np.sqrt(0.016)
    at_5 = [r for r in run.records if (r["start"], r["depth"]) == ("Gaussian", 5)]
    assert [(r["seed"], r["updates"]) for r in at_5] == [(seed, 20) for seed in range(5)]
    np.testing.assert_allclose([r["learning_rate"] for r in at_5], rate / 5)
    assert run.tables[0].rows == [
        ["Gaussian", "10 (10 to 10), 0.13", "20 (20 to 20), 0.13", "60 (60 to 60), 5 not there, nan"],
        ["orthogonal", *["15 (15 to 15), 0.13"] * 3],
    ]
    times, rates, spectrum = run.drawn["linear_learning_time"].axes
    for axis in (times, rates, spectrum):
        assert labels(axis) == ["Gaussian", "orthogonal"]
        assert axis.get_yscale() == "log"
    np.testing.assert_array_equal(heights(times, "Gaussian"), [10, 20, 60])
    np.testing.assert_allclose(heights(rates, "orthogonal"), rate)
    np.testing.assert_allclose(heights(spectrum, "Gaussian"), 0.8 ** np.array([2, 5, 10]))
    assert [line.get_ydata()[0] for line in times.get_lines() if line.get_linestyle() == ":"] == [60]


def test_starts_changed_over_fail(judged):
    _, found = judged({"Gaussian": FLAT, "orthogonal": SLOW}, {"Gaussian": 1.0, "orthogonal": 0.8})
    assert found == ["FAIL"] * 7
