"""The cost of `linear_learning_time` against plain least squares in NumPy, and that its rules can fail."""

import jax
import numpy as np
import pytest

from experiments.gradients import linear_learning_time as experiment
from experiments.gradients import linear_networks as networks
from experiments.gradients.linear_networks import Times
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

DRAWS = np.random.RandomState(0)
EXAMPLES = Examples(DRAWS.rand(300, 3, 3, 1).astype(np.float32), DRAWS.randint(0, 10, 300).astype(np.int32))
INPUTS = 5


@pytest.fixture(scope="module")
def problem():
    return networks.task(EXAMPLES, INPUTS)


@pytest.fixture(scope="module")
def components():
    """Principal components by an SVD of the images, mean variance 1, and centred targets."""
    x = EXAMPLES.x.reshape(300, -1).astype(np.float64)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    scores = u[:, :INPUTS] * s[:INPUTS]
    t = np.eye(10)[EXAMPLES.y]
    return scores / np.sqrt(np.mean(scores**2)), t - t.mean(0)


def test_the_cost_is_that_of_all_images_above_least_squares(problem, components):
    x, t = components
    # Components are known up to their signs; those of the problem are found by its own target.
    signs = np.sign(np.sum((t.T @ x / 300 / x.std(0)) * problem.target, 0))
    x = x * signs
    best, *_ = np.linalg.lstsq(x, t, rcond=None)
    cost = lambda k: 0.5 * np.mean(np.sum((x @ k - t) ** 2, 1))  # noqa: E731
    draws = np.random.RandomState(1)
    shapes = [(5, 4), (4, 4), (4, 10)]
    kernels = [(draws.randn(*shape) / np.sqrt(shape[0])).astype(np.float32) for shape in shapes]
    ones = networks.kernels(lambda key, shape: np.ones(shape), jax.random.key(0), problem, width=4, depth=3)
    assert [k.shape for k in ones] == shapes
    batch = (np.eye(10, dtype=np.float32), problem.target.astype(np.float32))
    measured = networks.objective(problem)
    ours = lambda ks: measured(ks, batch, model_state={}, key=None, train=True)[0].mean()  # noqa: E731
    first, middle, last = (np.asarray(k, np.float64) for k in kernels)
    k = first @ middle @ last
    value, gradients = jax.jit(jax.value_and_grad(ours))(kernels)
    np.testing.assert_allclose(value, cost(k) - cost(best), rtol=1e-4)
    np.testing.assert_allclose(problem.zero, cost(0 * k) - cost(best), rtol=1e-6)
    gradient = x.T @ (x @ k - t) / 300
    np.testing.assert_allclose(gradients[1], first.T @ gradient @ last.T, rtol=1e-3, atol=1e-5)


def test_times_are_counted_in_updates_and_limited():
    costs = np.array([[[9.0, 0.3, 0.1, 0.0], [9.0, 8.0, 7.0, 6.0]], [[9.0, 0.1, np.nan, np.nan], [9.0, 8.0, 7.0, 6.0]]])
    found = networks.times(costs, 0.2)
    np.testing.assert_array_equal(found.updates, [1, 4])
    np.testing.assert_array_equal(found.best, [1, -1])
    np.testing.assert_array_equal(experiment.at_best(np.array([0.1, 0.2]), found.best), [0.2, np.nan])


def test_costs_start_where_the_starts_say(problem):
    found = networks.costs(problem, width=8, depth=2, factors=[0.1, 0.2, 50.0], seeds=2, steps=4)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(networks.STARTS, (3, 2, 4))
    for values in found.values():
        np.testing.assert_array_equal(values[0, :, 0], values[2, :, 0])
        assert (values[0, :, 1] < values[0, :, 0]).all()


def made(times):
    spread = np.array([1.0, 1.01, 0.99, 1.02, 0.98])
    return {depth: Times(time * spread, np.full(5, 3)) for depth, time in times.items()}


def test_the_slope_is_that_of_the_line():
    found = made({depth: 10 * np.exp(0.05 * depth) for depth in (3, 10, 25, 50)})
    np.testing.assert_allclose(experiment.slopes(found), np.full(5, 0.05 * 47), rtol=1e-9)


@pytest.mark.parametrize(
    ("gaussian", "orthogonal", "verdicts"),
    [
        ({3: 10, 25: 50, 50: 300}, {3: 20, 25: 20, 50: 20.5}, ["PASS", "PASS", "PASS", "PASS"]),
        ({3: 20, 25: 20, 50: 20.5}, {3: 10, 25: 50, 50: 300}, ["PASS", "FAIL", "FAIL", "FAIL"]),
        ({3: 300, 25: 50, 50: 10}, {3: 20, 25: 20, 50: 21}, ["FAIL", "PASS", "PASS", "FAIL"]),
    ],
)
def test_the_rules_on_times(gaussian, orthogonal, verdicts):
    run = Run("digits", Splits(EXAMPLES, EXAMPLES, EXAMPLES), 5, {"steps": 400})
    experiment.judge_times(run, {"Gaussian": made(gaussian), "orthogonal": made(orthogonal)}, 20)
    assert [finding.verdict for finding in run.findings] == verdicts
    assert {finding.row for finding in run.findings} == {"X22"}


def test_the_rules_on_spectra():
    run = Run("digits", Splits(EXAMPLES, EXAMPLES, EXAMPLES), 5, {})
    ones = {depth: np.full((5, 4), 1 + 1e-5) for depth in (1, 2)}
    falling = {1: np.full((5, 4), 0.8), 2: np.full((5, 4), 0.5)}
    experiment.judge_spectra(run, {"orthogonal": ones, "Gaussian": falling})
    assert [finding.verdict for finding in run.findings] == ["PASS"] * 3
    run.findings.clear()
    experiment.judge_spectra(run, {"orthogonal": falling, "Gaussian": ones})
    assert [finding.verdict for finding in run.findings] == ["FAIL"] * 3
