"""The starts and the recipe of `lsuv_training`, and that its rules can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import lsuv_networks as networks
from experiments.gradients import lsuv_training as experiment
from experiments.gradients.lsuv_networks import ACTIVATIONS, LSUV, SMALL, STARTS, Trained
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
EXAMPLES = Examples(DRAWS.rand(200, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 200).astype(np.int32))
SPLITS = Splits(EXAMPLES, EXAMPLES, EXAMPLES)


def test_inputs_are_scaled_by_what_is_trained_on():
    other = Examples(EXAMPLES.x + 1, EXAMPLES.y)
    data = networks.standardized(Splits(EXAMPLES, other, other), 100)
    assert [len(part.y) for part in data] == [100, 100, 200]
    assert data.train.x.mean() == pytest.approx(0, abs=1e-6)
    assert data.train.x.std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(data.test.x, (other.x - EXAMPLES.x[:100].mean()) / EXAMPLES.x[:100].std(), rtol=1e-5)


def test_variances_after_each_start_are_numpys():
    model = networks.network("tanh", depth=3, width=6)
    x = networks.standardized(SPLITS, None).train.x
    for name in (LSUV, "orthogonal"):
        variables = networks.start(model, name, jax.random.key(2), x, tolerance=0.02)
        a, off = x.reshape(200, -1), []
        for number in range(4):
            z = a @ np.asarray(variables["params"][f"Dense_{number}"]["kernel"])
            off.append(abs(z.var() - 1))
            a = np.tanh(z)
        measured = float(networks.largest_deviation(variables, x, model=model))
        assert measured == pytest.approx(max(off), rel=1e-3)
        assert measured <= 0.02 if name == LSUV else measured > 0.02


def test_the_recipe_is_rmsprop_with_decay_and_a_drop():
    """NumPy: g <- g + 5e-4 w for kernels, s <- 0.99 s + 0.01 g^2, w <- w - rate g / sqrt(s), rate / 10 after step 2."""
    tx = networks.recipe(jnp.float32(0.1), 3)
    params = {"Dense_0": {"kernel": np.full((1, 1), 2, np.float32), "bias": np.full(1, 2, np.float32)}}
    gradients = jax.tree.map(np.ones_like, params)
    state, found, update = tx.init(params), [], jax.jit(tx.update)
    for _ in range(3):
        updates, state = update(gradients, state, params)
        found.append((float(updates["Dense_0"]["kernel"][0, 0]), float(updates["Dense_0"]["bias"][0])))
    expected = []
    squares = np.zeros(2)
    for step in range(3):
        g = np.array([1 + 5e-4 * 2, 1.0])
        squares = 0.99 * squares + 0.01 * g**2
        expected.append(-(0.1 if step < 2 else 0.01) * g / np.sqrt(squares))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def verdicts(losses, depth=30, deviation=0.01, orthogonal=1.0):
    """`losses`: of LSUV by activation; others are at chance."""
    spread = np.linspace(0.99, 1.01, 5)

    def arm(loss, off):
        return Trained(1e-3, loss * spread, np.full(5, 90.0), off * spread, np.ones((5, 2)))

    found = {
        name: {
            start: arm(loss if start == LSUV else 2.3, deviation if start == LSUV else orthogonal) for start in STARTS
        }
        for name, loss in zip(ACTIVATIONS, losses, strict=True)
    }
    run = Run("digits", SPLITS, 5, {"depth": depth})
    experiment.judge(run, found)
    assert {finding.row for finding in run.findings} == {"X26"}
    return [finding.verdict for finding in run.findings]


def test_the_rules_pass_and_fail():
    good = (0.1, 0.1, 0.1, 0.1, 2.3)
    assert verdicts(good) == ["PASS"] * 7
    assert verdicts((0.3, 0.3, 0.3, 0.1, 0.1)) == ["PASS"] * 2 + ["FAIL"] * 4 + ["PASS"]
    assert verdicts(good, deviation=0.03, orthogonal=0.01)[:2] == ["FAIL"] * 2
    assert verdicts(good, depth=5)[2:6] == ["INCONCLUSIVE"] * 4


def test_the_control_can_be_missed():
    each = Trained(1e-3, np.full(5, 0.1), np.full(5, 90.0), np.full(5, 0.01), np.ones((5, 2)))
    run = Run("digits", SPLITS, 5, {"depth": 30})
    experiment.judge(run, {name: dict.fromkeys(STARTS, each) for name in ACTIVATIONS})
    assert run.findings[-1].control
    assert SMALL in run.findings[-1].claim
    assert run.findings[-1].verdict == "FAIL"


def test_every_start_has_its_own_best_rate():
    data = networks.standardized(SPLITS, None)
    found = networks.train("tanh", data, depth=1, width=8, seeds=2, epochs=4, rates=(1e-2, 1e-9), batch=100,
                           tolerance=0.02)  # fmt: skip
    assert {each.rate for each in found.values()} <= {1e-2, 1e-9}
    assert all(
        each.loss.shape == each.accuracy.shape == (2,) and each.curves.shape == (2, 4) for each in found.values()
    )
    assert found["He"].curves[0, 0] != found["He"].curves[1, 0]
