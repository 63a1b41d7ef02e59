"""The starts of `very_deep` against closed forms and NumPy, and that its rules can fail."""

import jax
import numpy as np
import pytest

from experiments.gradients import very_deep
from experiments.gradients import very_deep_networks as networks
from experiments.gradients.very_deep_networks import HE, HE_RESIDUAL, RESIDUAL, TANH, XAVIER, Arm, AtStart, Trained
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
EXAMPLES = Examples(DRAWS.rand(40, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 40).astype(np.int32))
SPLITS = Splits(EXAMPLES, EXAMPLES, EXAMPLES)
DEPTH, WIDTH = 4, 6


def drawn(start):
    arm = Arm(start, DEPTH)
    params = networks.start(arm, networks.kind(arm, WIDTH).model, jax.random.key(3), EXAMPLES.x)
    return [np.asarray(params[f"Dense_{i}"]["kernel"], np.float64) for i in range(DEPTH + 1)]


def test_all_relu_arms_scale_the_same_draws():
    he, xavier, residual, small = (drawn(name) for name in (HE, XAVIER, HE_RESIDUAL, RESIDUAL))
    for number, (fan_in, fan_out) in enumerate([(9, 6), (6, 6), (6, 6), (6, 6), (6, 10)]):
        ratio = np.sqrt(2 / (fan_in + fan_out)) / np.sqrt(2 / fan_in)
        np.testing.assert_allclose(xavier[number], ratio * he[number], rtol=1e-6)
        np.testing.assert_array_equal(residual[number], he[number])
        np.testing.assert_allclose(small[number], he[number] / (DEPTH if number in (1, 2, 3) else 1), rtol=1e-6)
    for kernel in drawn(TANH)[1:4]:
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(WIDTH), atol=1e-5)


@pytest.mark.parametrize("start", [XAVIER, HE_RESIDUAL, TANH])
def test_the_look_at_the_start_is_numpys(start):
    found = networks.at_start(Arm(start, DEPTH), WIDTH, EXAMPLES, seeds=[3])
    kernels = drawn(start)
    hidden, slopes, inputs = [], [], [EXAMPLES.x.reshape(40, -1).astype(np.float64)]
    for number in range(DEPTH):
        z = inputs[-1] @ kernels[number]
        a = np.tanh(z) if start == TANH else np.maximum(z, 0)
        slopes.append(1 - a**2 if start == TANH else (z > 0).astype(float))
        hidden.append(a + inputs[-1] if start == HE_RESIDUAL and number else a)
        inputs.append(hidden[-1])
    np.testing.assert_allclose(found.amplitude[0], [np.sqrt(np.mean(a**2)) for a in hidden], rtol=1e-5)
    logits = hidden[-1] @ kernels[-1]
    share = np.exp(logits - logits.max(1, keepdims=True))
    error = (share / share.sum(1, keepdims=True) - np.eye(10)[EXAMPLES.y]) @ kernels[-1].T
    for number in range(DEPTH - 1, -1, -1):
        delta = error * slopes[number]
        np.testing.assert_allclose(found.bias_gradient[0, number], np.linalg.norm(delta.mean(0)), rtol=1e-4)
        weights = np.linalg.norm(inputs[number].T @ delta / 40)
        np.testing.assert_allclose(found.weight_gradient[0, number], weights, rtol=1e-4)
        error = delta @ kernels[number].T + (error if start == HE_RESIDUAL and number else 0)


def test_a_factor_of_three_either_way():
    assert very_deep.near(np.array([0.3, 1.0, 2.0, 3.1, 0.9]), 1.0).verdict == "PASS", "one draw says little"
    assert very_deep.near(np.array([0.1, 0.11, 0.12, 0.1, 0.1]), 1.0).verdict == "FAIL"


def test_the_rate_is_chosen_among_those_that_stay_finite():
    assert networks.chosen([0.1, 0.2], np.array([[2.0], [1.0]])) == 0.2
    assert networks.chosen([0.1, 0.2], np.array([[2.0, 2.0], [1.0, np.nan]])) == 0.1
    assert networks.chosen([0.1, 0.2], np.array([[np.nan], [np.inf]])) == 0.1


def made_run(steps=2000):
    return Run("digits", SPLITS, 5, {"depth": 30, "doubled": 60, "steps": steps})


def start_verdicts(amplitudes, bias, weights):
    run = made_run()
    spread = np.linspace(0.9, 1.1, 5)[:, None]

    def at(name):
        ends = [np.array([[1.0, values[name]]]) * spread for values in (amplitudes,)]
        back = [np.array([[values[name], 1.0]]) * spread for values in (bias, weights)]
        return AtStart(ends[0], *back)

    very_deep.judge_start(run, {name: at(name) for name in (XAVIER, HE, HE_RESIDUAL)}, 128)
    assert {finding.row for finding in run.findings} == {"X20"}
    return [finding.verdict for finding in run.findings]


def test_the_rules_at_the_start_pass_and_fail():
    shrinking = {XAVIER: 2.0**-14.5, HE: 1.0, HE_RESIDUAL: 1e4}
    level = dict.fromkeys(shrinking, 1.0)
    assert start_verdicts(shrinking, shrinking, level) == ["PASS"] * 5
    assert start_verdicts(level, shrinking, level) == ["FAIL", "PASS", "PASS", "PASS", "PASS"]
    assert start_verdicts(dict.fromkeys(shrinking, 2.0**-14.5), level, shrinking) == ["PASS"] + ["FAIL"] * 4


def training_verdicts(losses, steps=2000):
    run = made_run(steps)
    spread = np.linspace(0.99, 1.01, 5)
    arms = [Arm(XAVIER, 30), Arm(HE, 30), Arm(TANH, 30), Arm(HE, 60), Arm(RESIDUAL, 60)]
    found = {
        arm: Trained(0.1, loss * spread, np.full(5, 90.0), np.ones((5, 3)))
        for arm, loss in zip(arms, losses, strict=True)
    }
    very_deep.judge_training(run, found)
    return [finding.verdict for finding in run.findings]


def test_the_rules_after_training_pass_and_fail():
    assert training_verdicts([2.3, 0.5, 0.3, 2.0, 0.2]) == ["PASS"] * 5
    assert training_verdicts([0.5, 2.3, 1.3, 0.2, np.inf]) == ["FAIL"] * 5
    assert training_verdicts([2.3, 0.5, 0.3, 2.0, 0.2], steps=60)[:3] == ["INCONCLUSIVE"] * 3
