"""The whole of `glorot_training` on planted starts, trainings and signals."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.gradients import glorot_networks as networks
from experiments.gradients import glorot_training as experiment
from experiments.gradients.glorot_figures import BINS
from experiments.gradients.glorot_networks import DEPTH, Signals, Trained
from tests.experiments.planted import SPREAD, heights, labels, planted_run, verdicts

ARMS = ("tanh", "tanh N", "sigmoid")
SETTINGS = {
    "arms": ARMS, "width": {"digits": 6}, "start_width": {"digits": 6}, "images": {"digits": 1200},
    "epochs": {"digits": 2},
}  # fmt: skip
CLAIMS = [
    "five tanh layers, standard start: the mean singular value",
    "five tanh layers, normalized start: the mean singular value",
    "the same of the standard start",
    "standard start: the variance of the back-propagated gradient falls",
    "normalized start: the variance of the back-propagated gradient is kept",
    "standard start: the gradients of the weights",
    "normalized start: the gradients of the weights",
    "the back-propagated gradients under the standard start",
    "five sigmoid layers are worse",
    "tanh: the normalized start has a lower test error",
    "tanh from the normalized start is worse",
    "five sigmoid layers is saturated at the end",
    "five sigmoid layers is saturated before",
]
TIMES = np.array([0, 3, 6])


def spectrum(objective, params, few, *, max_examples, exact_up_to):
    """Of the input, the layers, the outputs and the whole; only those between hidden layers are asked for."""
    return SimpleNamespace(mean=np.array([9.0, *[params["jacobian"]] * (DEPTH - 1), 9.0, 9.0]))


@pytest.fixture
def judged(monkeypatch):
    def judge(tests, falls, jacobians, saturated):
        """Test errors by arm; the start whose errors fall and the other, each with its Jacobian; a time's place."""

        def variances(found):
            return 3.0 ** -np.arange(DEPTH)[::-1] if found == falls else np.linspace(1, 1.2, DEPTH)

        def train(run, name, rates):
            assert rates == experiment.RATES
            slope = np.full((5, 3, DEPTH), 0.9)
            slope[:, saturated, -1] = 0.2
            validation = np.array([20.0, 10.0]) + SPREAD[:, None]
            return Trained(
                0.1, True, tests[name] + SPREAD, validation, {"slope": slope, "mean": slope / 2}, TIMES, "first", "last"
            )

        def signals(name, params, few):
            if params not in ("first", "last"):
                return name
            values = np.linspace(-1, 1, 4) * (0.5 if params == "first" else 0.05)
            return Signals([values] * DEPTH, [], [values / 10] * DEPTH)

        def network(name, width):
            return SimpleNamespace(init=lambda key, x: {"params": {"jacobian": jacobians[name != "tanh"]}})

        def weight_variances(found, x):
            return np.ones(DEPTH) if falls == "tanh" else 3.0 ** np.arange(DEPTH)

        monkeypatch.setattr(networks, "network", network)
        monkeypatch.setattr(networks, "objective_of", lambda name, width: None)
        monkeypatch.setattr(networks, "signals", signals)
        monkeypatch.setattr(networks, "error_variances", variances)
        monkeypatch.setattr(networks, "weight_gradient_variances", weight_variances)
        monkeypatch.setattr(networks, "train", train)
        monkeypatch.setattr(experiment.diagnostics, "jacobian_spectrum", spectrum)
        run = planted_run("digits", SETTINGS)
        experiment.run(run)
        return run, verdicts(run, experiment.EXPERIMENT, CLAIMS)

    return judge


def test_starts_and_trainings_as_published_pass_and_are_told(judged):
    run, found = judged({"tanh": 1.8, "tanh N": 1.6, "sigmoid": 2.2}, "tanh", (0.49, 0.8), -1)
    assert found == ["PASS"] * 13
    assert [finding.row for finding in run.findings if not finding.control] == ["X15"] * 9
    assert run.tables[0].rows == [
        ["tanh", "0.1", "1.80", "1.76"], ["tanh N", "0.1", "1.60", "1.64"], ["sigmoid", "0.1", "2.20", "2.21"],
    ]  # fmt: skip
    assert run.notes[0].startswith("Reduced: hidden layers of 6 units, 1,200 training images, 2 epochs.")
    start = next(record for record in run.records if record["quantity"] == "start")
    assert start["network"] == "tanh"
    assert start["mean_singular_value"] == pytest.approx(0.49)
    np.testing.assert_allclose(start["error_variance"], [1 / 81, 1 / 27, 1 / 9, 1 / 3, 1], rtol=1e-6)
    panels = np.reshape(run.drawn["glorot_histograms"].axes, (2, 4))
    assert [axis.get_title() for axis in panels[0]] == [
        f"{name}, {when}" for name in ("tanh", "tanh N") for when in ("at the start", "after training")
    ]
    assert labels(panels[0, 0]) == [f"layer {i + 1}" for i in range(DEPTH)]
    for column, ends in enumerate((0.5, 0.05) * 2):
        line = panels[0, column].get_lines()[0]
        density = np.histogram(np.linspace(-1, 1, 4) * ends, np.linspace(-1, 1, BINS), density=True)[0]
        np.testing.assert_allclose(line.get_ydata(), density)
        assert panels[1, column].get_yscale() == "log"
    errors, means, slopes = run.drawn["glorot_training"].axes
    assert labels(errors) == [f"{name}, eta 0.1" for name in ARMS]
    np.testing.assert_allclose(heights(errors, "sigmoid, eta 0.1"), [20, 10])
    np.testing.assert_allclose(heights(means, "layer 5"), [0.45, 0.45, 0.1])
    np.testing.assert_allclose(heights(slopes, "layer 5"), [0.9, 0.9, 0.2])
    np.testing.assert_array_equal(slopes.get_lines()[4].get_xdata(), TIMES)


def test_the_opposite_fails(judged):
    """The gradients of the standard start are even, the control's ratio included; those of the weights are not."""
    run, found = judged({"tanh": 1.5, "tanh N": 1.8, "sigmoid": 1.5}, "tanh N", (0.8, 0.49), 0)
    assert found == ["FAIL"] * 13
    assert run.findings[9].remark == ""
