"""The whole of `random_walk` on planted walks and steps."""

import jax
import numpy as np
import pytest

from experiments.gradients import random_walk
from tests.experiments.planted import planted_run, verdicts

SETTINGS = {"walks": ((20, 5), (30, 8)), "draws": 50, "step_widths": (40,), "steps": 800}
WALKS = [
    f"{units} units, {depth} layers of {width}" for units in ("linear", "ReLU") for width, depth in ((20, 5), (30, 8))
]
CLAIMS = [
    *(f"{walk}: {what}" for walk in WALKS for what in ("the log-norm", "it spreads by")),
    "5 linear layers of 20 without the factor",
    "one step of the walk",
    "a variance of 1/(2N)",
]


@pytest.fixture
def judged(monkeypatch):
    def judge(scale=1.0, drift=0.0, plain=1.0, linear_variance=1.0):
        """`scale` of the walks' deviation, `drift` in deviations, drift of the `plain` walk in the theory's."""

        def walk(units, width, depth, *, seeds, draws, factor=True):
            ends = np.random.RandomState(0).standard_normal((seeds, draws))
            ends = (ends - ends.mean()) / ends.std(1, ddof=1, keepdims=True)
            ends = random_walk.deviation(units, width, depth) * (scale * ends + drift)
            if not factor:
                ends -= plain * depth / (2 * width)
            return np.linspace(0 * ends, ends, depth + 1, axis=-1)

        def steps(key, units, width):
            mean, variance = random_walk.moments(units, width)
            variance *= linear_variance if units == "linear" else 1.0
            sign = 1 - 2 * jax.random.bernoulli(key)
            return mean + sign * variance**0.5 * ALTERNATING

        monkeypatch.setattr(random_walk, "walk", walk)
        monkeypatch.setattr(random_walk, "_steps", steps)
        run = planted_run("digits", SETTINGS)
        random_walk.run(run)
        return run, verdicts(run, random_walk.EXPERIMENT, CLAIMS)

    return judge


ALTERNATING = np.resize(np.float32([1, -1]), 40)  # mean 0, variance 1


def test_the_walks_of_theory_pass_and_are_drawn(judged):
    run, found = judged(plain=8.0)
    assert found == ["PASS"] * 11
    assert {finding.row for finding in run.findings} == {"X25"}
    assert run.findings[1].result.measured == "1"
    step = [record for record in run.records if record["quantity"] == "step_over_theory"]
    assert [record["seed"] for record in step] == list(range(5))
    np.testing.assert_allclose([record["variance, ReLU 40"] for record in step], 1, rtol=0.01)
    panels = run.drawn["random_walk"].axes
    titles = [f"{units}, {width} units" for units in ("linear", "ReLU") for width in (20, 30)]
    assert [axis.get_title() for axis in panels] == titles
    assert [len(axis.get_lines()) for axis in panels] == [10 + 40 + 4, *[40 + 4] * 3]
    for axis, (units, width, depth) in zip(
        panels, [(u, *s) for u in ("linear", "ReLU") for s in SETTINGS["walks"]], strict=True
    ):
        log = random_walk.walk(units, width, depth, seeds=5, draws=50)
        np.testing.assert_allclose(axis.get_lines()[-5].get_ydata(), log[0, 39])
        ends = [line.get_ydata()[-1] for line in axis.get_lines()[-4:]]
        np.testing.assert_allclose(ends, random_walk.deviation(units, width, depth) * np.array([-2, -1, 1, 2]))


def test_other_walks_fail(judged):
    assert judged(scale=2.0, drift=1.0, plain=0.0)[1] == ["FAIL"] * 8 + ["PASS"] * 3
    assert judged(plain=0.0, linear_variance=0.25)[1] == ["PASS"] * 8 + ["FAIL"] * 3
