import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxdl
from experiments.harness.claims import Run
from experiments.theory import backprop_cost, sigmoid_chain
from jaxdl.data import Examples, Splits
from tests.experiments import planted


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


def test_every_seed_records_its_own_deviation_over_its_own_largest_entry(monkeypatch):
    right, factors = backprop_cost.manual_backprop, iter([3.0, 3.0, 2.0, 1.0, 1.0, 2.0])

    def planted_backprop(layers, x, labels, activation):
        control = activation is backprop_cost._with_slope_one
        gradients = right(layers, x, labels, activation=nn.sigmoid if control else activation)
        factor = next(factors)
        return jax.tree.map(lambda leaf: factor * leaf, gradients)

    monkeypatch.setattr(backprop_cost, "manual_backprop", planted_backprop)
    run = new_run(2)
    backprop_cost.judge_equations(run)
    first, second = run.records
    assert (first["grad"], second["grad"]) == (pytest.approx(2), pytest.approx(0, abs=1e-12))
    assert (first["differences"], second["differences"]) == (pytest.approx(2), pytest.approx(0, abs=1e-7))
    assert [record["without_slope"] for record in run.records] == pytest.approx([1, 1])


CLAIMS = (
    "the equations of back-propagation give", "and what finite differences give", "BP2 without its factor",
    "cost three forward passes", "without the gradient of the inputs", "the lecture's two passes",
    "finite differences cost forward passes in proportion", "back-propagation costs the same few",
    "finite differences in place of back-propagation", "of a chain of four sigmoid units", "a factor abs(w sigma'(z))",
    "a factor of 1 or more needs abs(w) >= 4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("whole", "params", "per_parameter", "expected"),
    [
        (3.0, 2.5, {"differences": 1, "reverse": 0}, ["PASS"] * 6),
        # Two passes with the inputs, one without; reverse mode that costs what differences should, and the other way.
        (2.0, 1.5, {"differences": 0, "reverse": 1}, ["FAIL"] * 6),
    ],
)
def test_the_run_on_planted_counts(monkeypatch, whole, params, per_parameter, expected):
    def costs(network, x, labels):
        index = list(backprop_cost.NETWORKS.values()).index(network)
        assert (x.shape, labels.shape) == ((32, 28, 28, 1), (32,))
        forward = 1e6 * (1 + index)
        return {
            "forward": forward, "parameters": params * forward, "and inputs": whole * forward,
            "count": 10_000 * (1 + index), "seconds": 2.25,
        }  # fmt: skip

    def small(width):
        forward, count = 100.0 * width, 2 * width**2 + 2 * width
        return {"count": count, "forward": forward} | {k: 2 * forward * count**v for k, v in per_parameter.items()}

    monkeypatch.setattr(backprop_cost, "_costs", costs)
    monkeypatch.setattr(backprop_cost, "_differences_cost", small)
    run = planted.planted_run("digits", {}, seeds=1)
    backprop_cost.run(run)
    found = planted.verdicts(run, backprop_cost.EXPERIMENT, CLAIMS)
    assert found == ["PASS"] * 3 + expected + ["PASS"] * 3
    (table,) = run.tables
    assert table.rows[1] == ["MLP 784-512-512-10", "20,000", f"{params:.2f}", f"{whole:.2f}", "40,000", "2.25"]
    assert run.findings[4].remark.startswith(f"MLP 784-30-10: {params:.2f}; ")
    (axis,) = run.drawn["cost"].axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    counts = np.array([2 * width**2 + 2 * width for width in backprop_cost.WIDTHS])
    drawn = planted.heights(axis, "central differences")
    np.testing.assert_allclose(drawn, 2 * counts ** per_parameter["differences"])
    assert list(planted.heights(axis, "CNN 32-64")) == [params]
    left, right = run.drawn["chain"].axes
    np.testing.assert_allclose(planted.heights(left, "w = 7").max(), 7 / 4)
    assert planted.heights(right, "measured")[0] == 0
