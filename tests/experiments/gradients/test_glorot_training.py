import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import glorot_networks as networks
from experiments.gradients import glorot_training
from experiments.harness import rules
from experiments.harness.claims import Run
from jaxdl.data import Examples, Splits

SPREAD = np.linspace(-0.02, 0.02, 5)


def new_run(**settings):
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(40, 4, 4, 1).astype(np.float32), draws.randint(0, 10, 40).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, settings)


def arm(test, slope=None, rate_is_inside=True):
    slope = np.full((5, 3, 5), 0.9) if slope is None else slope
    watched = {"slope": slope, "mean": slope / 2}
    return networks.Trained(0.1, rate_is_inside, test + SPREAD, np.ones((5, 2)), watched, np.arange(3), None, None)


def start(jacobian, errors, weights):
    rows = np.exp(SPREAD)[:, None]
    return glorot_training.AtStart(jacobian + SPREAD / 10, rows * np.array(errors), rows * np.array(weights))


def test_the_start_as_theory_has_it_passes_and_swapped_starts_fail():
    even = [1.0, 1.0, 1.0, 1.2, 1.5]
    theory = {
        "standard": start(0.49, [1 / 81, 1 / 27, 1 / 9, 1 / 3, 1.0], even),
        "normalized": start(0.84, [0.9, 1.0, 1.0, 1.0, 1.0], even),
    }
    run = new_run()
    glorot_training.judge_start(run, theory)
    assert [finding.verdict for finding in run.findings] == ["PASS"] * 8
    assert [finding.row for finding in run.findings] == ["X15", "X15", "", "X15", "X15", "X15", "X15", ""]
    run = new_run()
    swapped = {"standard": theory["normalized"], "normalized": theory["standard"]}
    glorot_training.judge_start(run, swapped)
    assert [finding.verdict for finding in run.findings][:5] == ["FAIL"] * 5
    uneven = {name: start(0.49, [0.01, 1, 1, 1, 1], [1, 1, 1, 1, 2.1]) for name in theory}
    run = new_run()
    glorot_training.judge_start(run, uneven)
    assert [finding.verdict for finding in run.findings][5:7] == ["FAIL", "FAIL"]


def verdicts(**arms):
    run = new_run()
    glorot_training.judge_training(run, {name.replace("_", " "): found for name, found in arms.items()})
    return [finding.verdict for finding in run.findings], run.findings[1].remark


def test_training_either_way():
    other = networks.Trained(0.1, True, 1.7 - SPREAD, *arm(1.0)[3:])
    assert verdicts(tanh_N=arm(1.6), tanh=arm(1.8), sigmoid=arm(2.2)) == (["PASS"] * 3, "lower")
    assert verdicts(tanh_N=arm(1.7), tanh=other, sigmoid=arm(2.2)) == (["PASS"] * 3, "not told apart")
    assert verdicts(tanh_N=arm(1.8), tanh=arm(1.5), sigmoid=arm(1.5)) == (["FAIL"] * 3, "")
    assert verdicts(tanh_N=arm(1.6, None, False), tanh=arm(1.8), sigmoid=arm(2.2))[0][:2] == ["INCONCLUSIVE"] * 2
    result = rules.exceeds(np.ones(5), 0.0)
    detail = glorot_training.where_tuned(result, {"sigmoid": arm(2.0, None, False)}, "sigmoid").detail
    assert detail == "the best rate of sigmoid is an end of the grid, so it is not tuned"


def test_saturation_is_of_the_top_layer_and_at_the_end():
    slope = np.full((5, 3, 5), 0.9)
    slope[:, -1, -1] = 0.3

    def judged(values):
        run = new_run()
        glorot_training.judge_saturation(run, arm(2.0, values))
        return [finding.verdict for finding in run.findings]

    assert judged(slope) == ["PASS", "PASS"]
    one = slope.copy()
    one[0, -1, -1] = 0.6
    assert judged(one) == ["FAIL", "PASS"], "every seed"
    below = slope.copy()
    below[:, -1, 2] = 0.2
    assert judged(below) == ["FAIL", "PASS"], "another layer is worse"
    assert judged(slope[:, ::-1]) == ["FAIL", "FAIL"], "saturated at first, free in the end"


@pytest.mark.parametrize(("name", "variance"), [("tanh", 1 / 3 / 16), ("tanh N", 2 / (16 + 200)), ("sigmoid", 1 / 48)])
def test_starts(name, variance):
    params = networks.network(name, 200).init(jax.random.key(0), np.zeros((1, 4, 4, 1), np.float32))["params"]
    kernel = np.asarray(params["Dense_0"]["kernel"], np.float64)
    # 3,200 uniform entries: the standard error of the variance is 1.6 %.
    assert kernel.var() == pytest.approx(variance, rel=0.07)
    assert np.abs(kernel).max() <= np.sqrt(3 * variance) * (1 + 1e-6)
    assert len(params) == 6
    assert not any(np.asarray(layer["bias"]).any() for layer in params.values())


@pytest.mark.parametrize("name", ["softsign", "tanh N", "sigmoid"])
def test_signals_are_the_derivatives_of_the_loss(name):
    """A bias's gradient for one image is its error signal; a kernel's is the outer product with what comes in."""
    run = new_run()
    objective = networks.objective_of(name, 7)
    model = networks.network(name, 7)
    params = model.init(jax.random.key(1), run.splits.train.x[:1])["params"]
    examples = Examples(*(array[:6] for array in run.splits.train))
    found = networks.signals(name, params, examples)

    def loss(params, x, y):
        return objective(params, (x[None], y[None]), model_state={}, key=None, train=False)[0][0]

    each = jax.vmap(jax.grad(loss), (None, 0, 0))(params, *examples)
    variances = networks.weight_gradient_variances(found, examples.x)
    slopes = {"softsign": lambda z: 1 / (1 + np.abs(z)) ** 2, "tanh": lambda z: 1 / np.cosh(z) ** 2,
              "sigmoid": lambda z: 4 * np.exp(-z) / (1 + np.exp(-z)) ** 2}[name.split()[0]]  # fmt: skip
    a = examples.x.reshape(6, -1)
    for i in range(networks.DEPTH):
        np.testing.assert_allclose(found.errors[i], each[f"Dense_{i}"]["bias"], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(variances[i], np.square(each[f"Dense_{i}"]["kernel"]).mean(), rtol=1e-4)
        z = a @ np.asarray(params[f"Dense_{i}"]["kernel"])
        np.testing.assert_allclose(found.slopes[i], slopes(z), rtol=1e-4)
        a = np.asarray(found.activations[i])
        np.testing.assert_allclose(a, networks.ARMS[name].activation(jnp.asarray(z)), rtol=1e-4, atol=1e-6)
    watched = networks.moments(name, params, examples)
    np.testing.assert_allclose(watched["deviation"], [np.std(a) for a in found.activations], rtol=1e-5)
    np.testing.assert_allclose(watched["error"], [np.var(d) for d in found.errors], rtol=1e-4)


def test_the_jacobians_of_wide_nearly_linear_layers():
    """Square matrices with independent entries of variance s^2/n have a mean singular value of 0.849 s."""
    run = new_run(start_width={"digits": 128})
    dark = Examples(1e-3 * run.splits.train.x, run.splits.train.y)
    found = glorot_training.at_start(Run("digits", Splits(dark, dark, dark), 5, run.settings), "tanh")
    # One matrix of 128 has a deviation of about 0.002; twenty of them.
    assert found.jacobian.mean() == pytest.approx(8 / (3 * np.pi) * np.sqrt(1 / 3), abs=0.004)
    ratio = found.errors[:, 0] / found.errors[:, -1]
    assert np.exp(np.log(ratio).mean()) == pytest.approx(1 / 81, rel=0.15)


def test_training_looks_at_the_start_and_the_end():
    run = new_run(
        images={"digits": 40}, epochs={"digits": 2}, width={"digits": 6}, looks=4, tuning_seeds=1,
        tuning_epochs={"digits": 1},
    )  # fmt: skip
    found = networks.train(run, "tanh N", (0.01, 0.1, 1e9))
    assert found.rate in (0.01, 0.1)
    assert found.validation.shape == (5, 2)
    np.testing.assert_array_equal(found.steps, [0, 2, 4, 6, 8])
    few = Examples(*(array[:40] for array in run.splits.train))
    for place, params in ((0, found.first), (-1, found.last)):
        expected = networks.moments("tanh N", params, few)
        for key, values in found.watched.items():
            np.testing.assert_allclose(values[0, place], expected[key], rtol=1e-4)
