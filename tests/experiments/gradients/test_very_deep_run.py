"""The whole of `very_deep` on planted starts and losses, and what its training makes of planted runs."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.gradients import very_deep
from experiments.gradients import very_deep_networks as networks
from experiments.gradients.very_deep_networks import HE, HE_RESIDUAL, RESIDUAL, TANH, XAVIER, Arm, AtStart, Trained
from tests.experiments.planted import SPREAD, heights, labels, planted_run, verdicts

SETTINGS = {
    "depth": 30, "doubled": 60, "width": {"digits": 64}, "tuning": 1, "rates": (0.01, 0.1, 1.0), "steps": 2000,
}  # fmt: skip
CLAIMS = [
    "30 layers of ReLU from Xavier's start: the amplitude",
    "30 layers of ReLU from He's start: the amplitude",
    "He's start loses what Xavier's does",
    "skip connections: the gradient of the bias of layer 1",
    "the same of the weights",
    "30 layers of ReLU stall from Xavier's start",
    "they train from He's",
    "30 layers of tanh train from orthogonal kernels",
    "they stall from He's",
    "skip connections cure degradation",
]
LOSSES = {
    Arm(XAVIER, 30): 2.3, Arm(HE, 30): 0.5, Arm(HE_RESIDUAL, 30): np.inf, Arm(TANH, 30): 0.3, Arm(HE, 60): 2.0,
    Arm(RESIDUAL, 60): 0.2,
}  # fmt: skip


@pytest.fixture
def judged(monkeypatch):
    def judge(losses, fallen, lost, steps=2000):
        """`losses` by arm; `fallen`: how far Xavier's and He's amplitudes fall; `lost`: bias and kernel gradients."""
        spread = np.exp(SPREAD)[:, None]

        def line(ends, depth):
            return np.geomspace(1.0, ends, depth) * spread

        def at_start(arm, width, examples, *, seeds):
            assert (width, len(examples.y), list(seeds)) == (64, 60, list(range(5)))
            bias, weights = (line(each[arm.start == XAVIER], arm.depth)[:, ::-1] for each in lost)
            return AtStart(line(fallen[arm.start != XAVIER], arm.depth), bias, weights)

        def train(arm, width, splits, *, rates, seeds, tuning_seeds, steps, measured_on):
            assert (rates, seeds, tuning_seeds, len(measured_on.y)) == ((0.01, 0.1, 1.0), 5, 1, 60)
            loss = losses[arm]
            curves = np.full((5, 80), loss if np.isfinite(loss) else 50.0) + SPREAD[:, None]
            return Trained(1.0 if arm.start == TANH else 0.1, loss + SPREAD, 90 + SPREAD, curves)

        monkeypatch.setattr(networks, "at_start", at_start)
        monkeypatch.setattr(networks, "train", train)
        run = planted_run("digits", SETTINGS | {"steps": steps})
        very_deep.run(run)
        return run, verdicts(run, very_deep.EXPERIMENT, CLAIMS)

    return judge


def test_what_was_published_passes_and_is_told(judged):
    run, found = judged(LOSSES, (2.0**-14.5, 1.0), ((1.0, 1e-4), (1.0, 1.0)))
    assert found == ["PASS"] * 10
    assert {finding.row for finding in run.findings} == {"X20"}
    rows = {name: cells for name, *cells in run.tables[0].rows}
    assert rows["Xavier, 30 layers"] == ["0.1", "2.3 (2.3 to 2.3)", "90.0", "4.3e-05", "0.0001"]
    assert rows["tanh orthogonal, 30 layers"][0] == "1 (end of the grid)"
    assert "5 of 5 such networks end without a finite loss" in run.notes[0]
    assert run.findings[-1].remark == "without 2 to 2, with 0.18 to 0.22; 30 layers without: 0.48 to 0.52"
    amplitudes, gradients, losses = run.drawn["very_deep"].axes
    assert labels(losses) == [arm.label for arm in LOSSES]
    assert {axis.get_yscale() for axis in (amplitudes, gradients, losses)} == {"log"}
    np.testing.assert_allclose(amplitudes.get_lines()[2].get_ydata(), np.geomspace(1, 2.0**-14.5, 30))
    np.testing.assert_allclose(gradients.get_lines()[2].get_ydata(), np.geomspace(1e-4, 1, 30))
    np.testing.assert_allclose(heights(losses, "residual, small branches, 60 layers"), np.full(40, 0.2))
    assert np.isnan(heights(losses, "He + residual, 30 layers")).all()


def test_the_opposite_fails(judged):
    losses = dict.fromkeys(LOSSES, 2.3) | {Arm(XAVIER, 30): 0.5, Arm(HE, 60): 0.2}
    run, found = judged(losses, (1.0, 2.0**-14.5), ((1.0, 1.0), (1.0, 1e-4)))
    assert found == ["FAIL"] * 10
    assert "0 of 5 such networks" in run.notes[0]


def test_a_shorter_budget_leaves_stalling_and_learning_open(judged):
    _, found = judged(LOSSES, (2.0**-14.5, 1.0), ((1.0, 1e-4), (1.0, 1.0)), steps=60)
    assert found == ["PASS"] * 5 + ["INCONCLUSIVE"] * 3 + ["PASS"] * 2


def test_the_rate_is_tuned_on_other_seeds_and_losses_are_counted(monkeypatch):
    calls = []

    def run_many(make_step, init, examples, *, seeds, hyperparameters, **options):
        calls.append((list(seeds), hyperparameters["learning_rate"], options["steps"], options["evaluate_every"]))
        tuning = np.array([np.nan, np.nan, 0.4, 0.6, 0.3, 0.5])
        history = SimpleNamespace(train={"loss": np.ones((len(seeds), 7))})
        return SimpleNamespace(values=lambda name: tuning, states="states", history=history)

    evaluations = {"measured": [0.5, np.nan, 0.7], "test": [0.8, 0.1, 0.9]}

    def evaluate(objective, state, examples):
        which = "test" if examples is run.splits.test else "measured"
        return dict.fromkeys(("loss", "accuracy"), evaluations[which][state])

    monkeypatch.setattr(networks.training, "run_many", run_many)
    monkeypatch.setattr(networks.training, "member", lambda states, number: number)
    monkeypatch.setattr(networks.training, "evaluate", evaluate)
    run = planted_run("digits", SETTINGS)
    found = networks.train(
        Arm(HE, 2), 3, run.splits, rates=(0.1, 0.2, 0.3), seeds=3, tuning_seeds=2, steps=7, measured_on=run.splits.train
    )
    first = networks.TUNING_SEED
    assert calls == [([first, first + 1], [0.1, 0.2, 0.3], 7, 7), ([0, 1, 2], [0.3], 7, 7)]
    assert found.rate == 0.3
    np.testing.assert_array_equal(found.loss, [0.5, np.inf, 0.7])
    np.testing.assert_allclose(found.accuracy, [80, 10, 90])
    assert found.curves.shape == (3, 7)
