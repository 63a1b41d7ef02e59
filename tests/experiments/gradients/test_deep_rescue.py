"""The starts of `deep_rescue`, its choice of a rate, and that its rules can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import deep_networks as networks
from experiments.gradients import deep_rescue
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

SHAPE = networks.Shape(3, 4, "tanh")
DRAWS = np.random.RandomState(0)
X = DRAWS.rand(64, 3, 3, 1).astype(np.float32)
EXAMPLES = Examples(X, DRAWS.randint(0, 10, 64).astype(np.int32))


def start(arm):
    return networks.starts(arm, SHAPE, X, seeds=[5, 6], epochs=1)


@pytest.fixture(scope="module")
def params():
    return {arm: start(arm)["params"] for arm in networks.ARMS}


def test_every_weight_of_the_untreated_network_is_standard_normal():
    """Of 4,000 weights: mean within 4 / sqrt(n), deviation within 4 / sqrt(2n), false alarm 1.3e-4."""
    wide = networks.starts(networks.UNTREATED, networks.Shape(1, 400, "tanh"), X, seeds=[0], epochs=1)["params"]
    kernel = np.asarray(wide["Dense_1"]["kernel"])
    assert abs(kernel.mean()) < 4 / np.sqrt(4000)
    assert abs(kernel.std() - 1) < 4 / np.sqrt(8000)
    assert not np.any(wide["Dense_0"]["bias"])


def test_arms_differ_from_the_untreated_one_where_they_say_and_nowhere_else(params):
    plain = params[networks.UNTREATED]
    differ = {
        arm: [name for name in plain if not np.array_equal(plain[name]["kernel"], params[arm][name]["kernel"])]
        for arm in networks.ARMS
    }
    hidden, output = ["Dense_0", "Dense_1", "Dense_2"], ["Dense_3"]
    assert differ[networks.UNTREATED] == differ[networks.RESIDUAL] == differ[networks.BATCH_NORM] == []
    assert differ[networks.GREEDY] == differ[networks.LEARNERS_START] == hidden
    assert differ[networks.CONTROL] == output
    assert differ[networks.LSUV] == hidden + output
    assert not np.array_equal(plain["Dense_0"]["kernel"][0], plain["Dense_0"]["kernel"][1])


def test_lsuv_leaves_unit_variance_before_every_layer(params):
    """On the data it was measured on, within its tolerance of 0.02."""
    model, first = networks.network(networks.LSUV, SHAPE), jax.tree.map(lambda leaf: leaf[0], params[networks.LSUV])
    _, state = model.apply({"params": first}, X, capture_intermediates=True, mutable=["intermediates"])
    for number in range(3):
        z = state["intermediates"][f"Dense_{number}"]["__call__"][0]
        assert float(jnp.var(z)) == pytest.approx(1, abs=0.021)


def test_networks_with_statistics_and_residuals():
    assert "batch_stats" in start(networks.BATCH_NORM)
    assert networks.network(networks.RESIDUAL, SHAPE).residual
    assert not networks.network(networks.GREEDY, SHAPE).residual


def arm(loss, accuracy):
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    curves = np.ones((5, 3))
    return deep_rescue.Arm(0.1, loss + 0.01 * spread, accuracy + spread, curves, curves, np.ones(4), "healthy")


def verdicts(untreated, cures, control):
    run = Run("digits", Splits(EXAMPLES, EXAMPLES, EXAMPLES), 5, {"depth": 30})
    arms = {name: cures for name in networks.ARMS}
    deep_rescue.judge(run, arms | {networks.UNTREATED: untreated, networks.CONTROL: control})
    return [finding.verdict for finding in run.findings]


def test_the_rules_pass_and_fail():
    failing, training = arm(2.4, 11.0), arm(0.1, 90.0)
    assert verdicts(failing, training, failing) == ["PASS"] * 6
    assert verdicts(training, training, failing)[0] == "FAIL"
    assert verdicts(arm(2.4, 30.0), training, failing)[0] == "FAIL"
    assert verdicts(arm(2.0, 11.0), training, failing)[0] == "FAIL"
    assert verdicts(failing, arm(1.0, 25.0), failing)[1:5] == ["FAIL"] * 4
    assert verdicts(failing, training, training)[-1] == "FAIL"


def test_a_run_of_every_arm_chooses_rates_without_the_judged_starts(monkeypatch):
    calls = []
    run_many = deep_rescue.jaxdl.training.run_many

    def spy(*args, **options):
        calls.append(options)
        return run_many(*args, **options)

    monkeypatch.setattr(deep_rescue.jaxdl.training, "run_many", spy)
    monkeypatch.setattr(deep_rescue, "ARMS", (networks.UNTREATED, networks.BATCH_NORM))
    monkeypatch.setattr(deep_rescue, "judge", lambda run, arms: None)
    settings = {
        "depth": 3, "width": 4, "activations": ("tanh",), "rates": (1e-3, 1e-2), "pretraining": 1,
        "epochs": {"digits": 2}, "examples": {"digits": 48},
    }  # fmt: skip
    run = Run("digits", Splits(EXAMPLES, EXAMPLES, EXAMPLES), 5, settings)
    deep_rescue.run(run)
    tuning, judged = calls[0]["hyperparameters"], calls[1]["hyperparameters"]
    assert [cell["start"] for cell in tuning] == [5, 6, 5, 6]
    assert [cell["start"] for cell in judged] == [0, 1, 2, 3, 4]
    assert {cell["learning_rate"] for cell in judged} <= {1e-3, 1e-2}
    assert len(calls[0]["validation"][0]) == 48
    assert len(run.records) == 10
    assert [picture.name for picture in run.figures] == ["rescue_tanh.png"]
    assert len(run.tables[0].rows) == 2
