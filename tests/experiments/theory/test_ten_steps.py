from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

from experiments.harness.claims import Run
from experiments.theory import ten_steps
from experiments.theory.ten_steps import Trained
from jaxdl.data import Examples, Splits, toy
from tests.experiments import planted


def a_run():
    return Run("digits", Splits(*(Examples([0], [0]) for _ in range(3))), 5, {})


def params(shift=0.0):
    layer = {"kernel": np.full((5, 2, 2), 1.0 + shift), "bias": np.full((5, 2), shift)}
    return {"Dense_0": layer, "Dense_1": layer}


def verdicts(losses, uphill, *, by_hand=1.0, shift=0.0):
    run = a_run()
    own = ten_steps.listed({name: {k: v[0] for k, v in layer.items()} for name, layer in params().items()})
    ten_steps.judge(
        run, Trained(losses, params(shift)), [(by_hand * row, own) for row in losses], Trained(uphill, params())
    )
    assert {finding.row for finding in run.findings} == {"X37"}
    return [finding.verdict for finding in run.findings]


def test_each_judgment_can_fail():
    falling = np.linspace(676, 600, 11) + np.arange(5)[:, None]
    rising = falling[:, ::-1]
    assert verdicts(falling, rising) == ["PASS"] * 5
    assert verdicts(rising, falling)[:2] == ["FAIL", "FAIL"]
    flat = falling.copy()
    flat[2, 4] = flat[2, 3]
    assert verdicts(flat, rising)[0] == "FAIL", "strictly"
    assert verdicts(falling, rising, by_hand=1.0002)[2] == "FAIL"
    assert verdicts(falling, rising, shift=2e-4)[3] == "FAIL"
    assert verdicts(falling + 100, rising)[4] == "FAIL"


def test_by_hand_against_optax_in_double_precision():
    """Another framework's Adam, fed with central differences where the gradient is checked."""
    draws = np.random.RandomState(0)
    x, y = draws.randn(6, 5), draws.randn(6, 2)
    start = {
        "Dense_0": {"kernel": draws.randn(5, 4), "bias": draws.randn(4)},
        "Dense_1": {"kernel": draws.randn(4, 2), "bias": draws.randn(2)},
    }

    def loss(p):
        a = np.maximum(x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"], 0)
        return ((a @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"] - y) ** 2).sum()

    def gradient(p):
        leaves, structure = jax.tree.flatten(p)
        slopes = []
        for leaf in leaves:
            slope = np.zeros_like(leaf)
            for index in np.ndindex(*leaf.shape):
                kept = leaf[index]
                leaf[index] = kept + 1e-6
                above = loss(p)
                leaf[index] = kept - 1e-6
                slope[index] = (above - loss(p)) / 2e-6
                leaf[index] = kept
            slopes.append(slope)
        return jax.tree.unflatten(structure, slopes)

    losses, found = ten_steps.adam_by_hand(x, y, start)
    current = jax.tree.map(np.copy, start)
    tx = optax.adam(1e-4)
    state = tx.init(jax.tree.map(np.float32, current))
    expected = []
    for _ in range(10):
        expected.append(loss(current))
        updates, state = tx.update(jax.tree.map(np.float32, gradient(current)), state)
        current = jax.tree.map(lambda p, u: p + np.asarray(u, np.float64), current, updates)
    assert losses[:10] == pytest.approx(expected, rel=1e-6)
    for ours, theirs in zip(found, ten_steps.listed(current), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-8)


def test_the_demonstration_has_the_lectures_sizes():
    x, y = toy.random_regression(jax.random.key(0))
    assert (x.shape, y.shape) == ((64, 1000), (64, 10))
    (state,) = ten_steps.initial(1, 1e-4)
    kernels = [state.params[name]["kernel"] for name in ("Dense_0", "Dense_1")]
    assert [kernel.shape for kernel in kernels] == [(1000, 100), (100, 10)]
    for kernel, fan_in in zip(kernels, (1000, 100), strict=True):
        assert 0.98 / np.sqrt(fan_in) < np.abs(kernel).max() <= 1 / np.sqrt(fan_in)


def test_the_output_variance_at_the_start_is_sampled():
    """5,000 networks of 100 ReLU units: the variance of 5,000 nearly normal draws deviates by 2 %; five of them."""
    draws = np.random.RandomState(0)
    z = draws.randn(5000, 100) * np.sqrt(1 / 3)
    outputs = (np.maximum(z, 0) * draws.uniform(-0.1, 0.1, (5000, 100))).sum(1)
    assert outputs.var() == pytest.approx(ten_steps.output_variance(), rel=5 * 0.02)


@pytest.mark.parametrize(("rate", "expected"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_the_run_where_the_compiled_steps_are_those_by_hand(monkeypatch, rate, expected):
    """Small numbers, so that the sum does not begin where the lecture's sizes say; and a wrong optimizer is noticed."""
    draws = np.random.RandomState(0)
    problems = [(draws.randn(8, 6), draws.randn(8, 2)) for _ in range(5)]
    starts = [
        {"Dense_0": {"kernel": draws.randn(6, 4), "bias": draws.randn(4)},
         "Dense_1": {"kernel": draws.randn(4, 2), "bias": draws.randn(2)}} for _ in range(5)
    ]  # fmt: skip
    given = iter(problems)
    monkeypatch.setattr(ten_steps.toy, "random_regression", lambda key: next(given))
    monkeypatch.setattr(
        ten_steps, "initial", lambda seeds, rate: [SimpleNamespace(params=start) for start in starts[:seeds]]
    )
    assert ten_steps.RATE == -ten_steps.UPHILL == 1e-4

    def train(problems, taken):
        with monkeypatch.context() as turned:
            turned.setattr(ten_steps, "RATE", taken * rate)
            found = [ten_steps.adam_by_hand(*problem, start) for problem, start in zip(problems, starts, strict=True)]
        stacked = [np.stack(leaves) for leaves in zip(*(params for _, params in found), strict=True)]
        names = [(layer, name) for layer in ("Dense_0", "Dense_1") for name in ("kernel", "bias")]
        params = {"Dense_0": {}, "Dense_1": {}}
        for (layer, name), leaf in zip(names, stacked, strict=True):
            params[layer][name] = leaf
        return Trained(np.stack([losses for losses, _ in found]), params)

    monkeypatch.setattr(ten_steps, "train", train)
    monkeypatch.setattr(ten_steps, "TOLERANCE", 1e-6)
    run = planted.planted_run("digits", {})
    ten_steps.run(run)
    claims = (
        "falls at every one of ten steps", "the rate's sign turned round", "written out in NumPy give the losses",
        "and its parameters after ten steps", "the sum begins where the start says",
    )  # fmt: skip
    found = planted.verdicts(run, ten_steps.EXPERIMENT, claims)
    assert found == ["PASS", "PASS", expected, expected, "FAIL"]
    left, right = run.drawn["ten_steps"].axes
    assert right.get_yscale() == "log"
    lines = left.get_lines()
    assert len(lines) == 10
    np.testing.assert_allclose(lines[2].get_ydata(), run.records[1]["by_step"])
    np.testing.assert_allclose(lines[3].get_ydata(), run.records[1]["by_hand"])
