import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.theory import backprop_cost, sigmoid_chain
from jaxdl.data import Examples, Splits


def new_run(seeds=1):
    examples = Examples(np.zeros((2, 2)), np.zeros(2, int))
    return Run("digits", Splits(examples, examples, examples), seeds, {})


def test_operations_of_a_product():
    found = backprop_cost.operations(lambda a, b: a @ b, jnp.ones((3, 5)), jnp.ones((5, 7)))
    assert found == 2 * 3 * 5 * 7


def test_an_mlp_costs_what_its_products_say():
    """Of 784-30-10 the first layer has no gradient of inputs: 1 + 1 + share of the second layer."""
    x, labels = jnp.ones((32, 28, 28, 1)), jnp.zeros(32, jnp.int32)
    cost = backprop_cost._costs(jaxdl.models.MLP((30, 10)), x, labels)
    first, second = 2 * 32 * 784 * 30, 2 * 32 * 30 * 10
    assert cost["forward"] == pytest.approx(first + second, rel=0.02)
    assert cost["parameters"] == pytest.approx(2 * first + 3 * second, rel=0.02)
    assert cost["and inputs"] == pytest.approx(3 * first + 3 * second, rel=0.02)
    assert cost["count"] == 784 * 30 + 30 + 30 * 10 + 10


def test_the_width_of_the_exploding_interval():
    """Nielsen 2015, chapter 5: 0 up to a weight of 4, at most about 0.45, at about 6.9."""
    assert sigmoid_chain.exploding_width(3.9) == 0
    assert sigmoid_chain.exploding_width(4.0) == pytest.approx(0, abs=1e-12)
    widths = {w: sigmoid_chain.exploding_width(w) for w in np.linspace(4, 20, 1601)}
    best = max(widths, key=lambda w: widths[w])
    assert best == pytest.approx(6.9, abs=0.1)
    assert widths[best] == pytest.approx(0.45, abs=0.005)


def test_the_equations_hold_and_a_wrong_one_is_noticed(monkeypatch):
    run = new_run()
    backprop_cost.judge_equations(run)
    sigmoid_chain.judge_chain(run)
    assert {finding.verdict for finding in run.findings} == {"PASS"}
    assert {record["seed"] for record in run.records} == {0}

    right = backprop_cost.manual_backprop
    monkeypatch.setattr(
        backprop_cost, "manual_backprop",
        lambda layers, x, labels, activation: right(layers, x * 1.001, labels, activation=activation),
    )  # fmt: skip
    monkeypatch.setattr(sigmoid_chain, "chain_gradient", lambda w, b, x: 1.001 * x)
    run = new_run()
    backprop_cost.judge_equations(run)
    sigmoid_chain.judge_chain(run)
    assert [finding.verdict for finding in run.findings][:2] == ["FAIL", "FAIL"]
    assert [finding.verdict for finding in run.findings][3] == "FAIL"
