"""The whole of `lsuv_training` on planted trainings."""

import numpy as np
import pytest

from experiments.gradients import lsuv_networks as networks
from experiments.gradients import lsuv_training as experiment
from experiments.gradients.lsuv_networks import LSUV, SMALL, STARTS, Trained
from tests.experiments.planted import planted_run, verdicts

ACTIVATIONS = ("tanh", "ReLU", "leaky ReLU", "sigmoid")
SETTINGS = {
    "activations": ACTIVATIONS, "depth": 30, "width": {"digits": 6}, "epochs": {"digits": 2}, "rates": (0.1, 0.2),
    "examples": {"digits": 40}, "batch": 16,
}  # fmt: skip
CLAIMS = [
    "LSUV gives every layer of 30 variance 1",
    "orthogonal gives every layer of 30 variance 1",
    "30 thin layers of tanh train after LSUV",
    "30 thin layers of ReLU train after LSUV",
    "30 thin layers of leaky ReLU train after LSUV",
    "30 thin layers of sigmoids do not train",
    f"tanh, ReLU, leaky ReLU train from {SMALL}",
]
SPREAD = np.array([0.98, 0.99, 1.0, 1.01, 1.02])


@pytest.fixture
def judged(monkeypatch):
    def judge(lsuv, others, deviation, depth=30):
        """Losses after LSUV by activation and after the other starts; deviations of LSUV's and of the others'."""

        def train(activation, data, **options):
            assert len(data.train.y) == 40
            assert options == {
                "depth": depth, "width": 6, "seeds": 5, "epochs": 2, "rates": (0.1, 0.2), "batch": 16,
                "tolerance": experiment.TOLERANCE,
            }  # fmt: skip
            found = {}
            for number, start in enumerate(STARTS):
                loss = lsuv[activation] if start == LSUV else others
                curves = np.array([2.0, loss]) * SPREAD[:, None]
                off = deviation[start != LSUV] * SPREAD
                found[start] = Trained(0.1 + number / 1000, loss * SPREAD, 50 * SPREAD, off, curves)
            return found

        monkeypatch.setattr(networks, "train", train)
        run = planted_run("digits", SETTINGS | {"depth": depth})
        experiment.run(run)
        claims = [claim.replace("30", str(depth)) for claim in CLAIMS]
        return run, verdicts(run, experiment.EXPERIMENT, claims)

    return judge


GOOD = dict.fromkeys(ACTIVATIONS, 0.1) | {"sigmoid": 2.3}


def test_starts_that_help_pass_and_are_told(judged):
    run, found = judged(GOOD, 20.0, (0.01, 1.0))
    assert found == ["PASS"] * 7
    losses, accuracies = run.tables
    assert losses.header == ["activation", *STARTS]
    assert losses.rows[0] == ["tanh", "0.1 (0.098 to 0.102)", *["20 (19.6 to 20.4)"] * 3]
    assert losses.rows[3][:2] == ["sigmoid", "2.3 (2.25 to 2.35)"]
    assert [row[1] for row in accuracies.rows] == ["50 (49 to 51)"] * 4
    assert run.notes[0].startswith(f"Rates chosen: tanh: LSUV 0.1, orthogonal 0.101, He 0.102, {SMALL} 0.103; ReLU: ")
    record = next(r for r in run.records if (r["activation"], r["start"], r["seed"]) == ("ReLU", "He", 4))
    told = [record[name] for name in ("learning_rate", "train_loss", "test_percent")]
    np.testing.assert_allclose(told, [0.102, 20.4, 51])
    panels = run.drawn["lsuv_training"].axes
    assert [axis.get_title() for axis in panels] == list(ACTIVATIONS)
    for axis, activation in zip(panels, ACTIVATIONS, strict=True):
        assert axis.get_yscale() == "log"
        lines = axis.get_lines()
        assert [line.get_label() for line in lines[:20:5]] == list(STARTS)
        np.testing.assert_allclose(lines[4].get_ydata(), np.array([2.0, GOOD[activation]]) * 1.02)
        np.testing.assert_array_equal(np.isnan(lines[5].get_ydata()), [False, True])
        assert lines[-1].get_ydata()[0] == experiment.LEARNED


def test_starts_that_do_not_fail(judged):
    run, found = judged(dict.fromkeys(ACTIVATIONS, 0.3) | {"sigmoid": 0.1}, 0.1, (0.03, 0.01))
    assert found == ["FAIL"] * 7
    assert run.findings[2].remark.startswith("LSUV 0.29 to 0.31; orthogonal 0.098 to 0.1")


def test_shallower_networks_are_not_judged_by_their_losses(judged):
    assert judged(GOOD, 2.3, (0.01, 1.0), depth=5)[1] == ["PASS"] * 2 + ["INCONCLUSIVE"] * 4 + ["PASS"]
