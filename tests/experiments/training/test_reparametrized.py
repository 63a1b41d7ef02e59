import math

import jax
import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.training import reparametrized
from experiments.training import reparametrized_networks as networks
from jaxdl.data import Examples, Splits
from jaxdl.layers import start_weight_norm

DRAWS = np.random.RandomState(0)
X = DRAWS.rand(60, 4, 4, 1).astype(np.float32)
Y = DRAWS.randint(0, 10, 60).astype(np.int32)
EXAMPLES = Examples(X, Y)


def test_the_cap_of_ten_cosines():
    assert pytest.approx(0.451, abs=5e-4) == networks.CAP
    assert -math.log(networks.CAP) == pytest.approx(math.log(1 + 9 * math.exp(-2)))


def test_pre_activations_by_numpy_are_those_of_the_network():
    model = networks.weight_norm_network()
    params = start_weight_norm(model, model.init(jax.random.key(0), X[:1], False), X[:30])["params"]
    first, second = networks.first_pre_activations(params, X)
    assert first.shape == second.shape == (60, 100)
    output = params["Dense_2"]
    logits = np.maximum(second, 0) @ np.asarray(output["kernel"]) + np.asarray(output["bias"])
    np.testing.assert_allclose(model.apply({"params": params}, X, False), logits, atol=1e-4)


def test_off_standard_finds_the_worst_unit():
    good = np.array([[-1.0, -1.0], [1.0, 1.0]])
    assert reparametrized.off_standard([good]) == 0
    assert reparametrized.off_standard([good, good + np.array([0, 0.25])]) == pytest.approx(0.25)
    assert reparametrized.off_standard([good * np.array([2, 1])]) == pytest.approx(3)


def test_gradient_identities_hold_and_the_projection_matters():
    model = networks.weight_norm_network()
    params = start_weight_norm(model, model.init(jax.random.key(1), X[:1], False), X)["params"]
    errors = networks.identity_errors(params, X, Y)
    assert errors["scale"] < 1e-5
    assert errors["direction"] < 1e-5
    assert errors["dot"] < 1e-6
    assert errors["without projection"] > 1e-2


def test_weight_norm_is_trained_from_its_start_and_rates_keep_their_order():
    splits = Splits(EXAMPLES, EXAMPLES, EXAMPLES)
    options = dict(seeds=[0, 1], epochs=1, batch_size=60, start=X)
    slow, fast = networks.train(networks.weight_norm_network(), splits, rates=(0.0, 0.5), **options)
    assert (slow.rate, fast.rate) == (0.0, 0.5)
    assert slow.test.size == 0
    np.testing.assert_array_equal(slow.loss, fast.loss)  # one step: the same start, before any update
    assert (slow.validation != fast.validation).any()
    model = networks.weight_norm_network()
    (alone,) = networks.train(model, splits, rates=(0.0,), **options)
    assert alone.test.shape == (2,)
    np.testing.assert_allclose(alone.test, alone.validation[:, -1], atol=1e-5)


def test_a_network_without_its_start_fails_the_rule():
    run = Run("digits", Splits(EXAMPLES, EXAMPLES, EXAMPLES), 5, {})
    reparametrized.judge_weight_norm(run)
    reparametrized.judge_cosine(run)
    assert {finding.verdict for finding in run.findings} == {"PASS"}
    assert [finding.row for finding in run.findings if finding.row] == ["X30", "X30", "X31", "X31"]
    assert sum(finding.control for finding in run.findings) == 3
