"""The whole of `deep_rescue` on planted trainings."""

import numpy as np
import pytest

from experiments.gradients import deep_networks as networks
from experiments.gradients import deep_rescue
from tests.experiments.planted import SPREAD, heights, labels, planted_run, verdicts

SETTINGS = {"depth": 30, "width": 4, "activations": ("tanh", "sigmoid"), "rates": (0.001, 0.01, 0.1)}
CLAIMS = [
    "a tanh network of 30 hidden layers does not train",
    *(f"after or with: {cure}" for cure in networks.CURES),
    "the output layer alone",
]


@pytest.fixture
def judged(monkeypatch):
    def judge(cured, others):
        """Losses and accuracies of tanh after a cure, and without; sigmoids reach the others'."""

        def trained(run, arm, shape):
            assert shape[:2] == (30, 4)
            loss, accuracy = cured if arm in networks.CURES and shape.activation == "tanh" else others
            curves = [np.array([2.5, end]) + SPREAD[:, None] for end in (loss, accuracy)]
            for seed in range(run.seeds):
                run.record(seed=seed)
            gradients = np.geomspace(1e-3, 1.0, 31)
            rate = 0.1 if arm == networks.LSUV else 0.01
            return deep_rescue.Arm(rate, loss + SPREAD, accuracy + SPREAD, *curves, gradients, f"as {arm}")

        monkeypatch.setattr(deep_rescue, "trained", trained)
        run = planted_run("digits", SETTINGS)
        deep_rescue.run(run)
        return run, verdicts(run, deep_rescue.EXPERIMENT, CLAIMS)

    return judge


def test_cures_that_work_pass_and_are_told(judged):
    run, found = judged((0.1, 90.0), (2.3, 11.0))
    assert found == ["PASS"] * 6
    assert run.findings[0].remark == "mean loss 2.3, mean accuracy 11 %"
    tanh, sigmoid = run.tables
    assert [row[0] for row in tanh.rows] == list(networks.ARMS)
    by_arm = {name: cells for name, *cells in tanh.rows}
    ratio = f"{1e-3 / 10**-0.1:.2g}"
    assert by_arm[networks.LSUV] == ["0.1 (end of the grid)", "0.1", "90.0 (90.0 to 90.0)", ratio, "as LSUV"]
    assert by_arm[networks.UNTREATED] == ["0.01", "2.3", "11.0 (11.0 to 11.0)", ratio, "as untreated"]
    assert {row[2] for row in sigmoid.rows} == {"2.3"}
    assert list(run.drawn) == ["rescue_tanh", "rescue_sigmoid"]
    losses, accuracies, gradients = run.drawn["rescue_tanh"].axes
    assert labels(losses) == list(networks.ARMS)
    for arm in networks.ARMS:
        np.testing.assert_allclose(heights(losses, arm), [2.5, 0.1 if arm in networks.CURES else 2.3])
        np.testing.assert_allclose(heights(accuracies, arm), [2.5, 90 if arm in networks.CURES else 11])
    assert gradients.get_yscale() == "log"
    assert len(gradients.get_lines()) == len(networks.ARMS)
    np.testing.assert_allclose(gradients.get_lines()[0].get_ydata(), np.geomspace(1e-3, 1.0, 31))


def test_cures_that_do_not_work_fail(judged):
    run, found = judged((2.3, 11.0), (0.1, 90.0))
    assert found == ["FAIL"] * 6
    assert run.findings[0].remark == "mean loss 0.1, mean accuracy 90 %"
