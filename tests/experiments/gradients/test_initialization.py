"""The theory against closed forms, the measurement against NumPy, and rules that can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from experiments.building_blocks import propagation
from experiments.gradients import initialization, starts
from experiments.gradients import initialization_theory as theory
from experiments.harness import rules
from jaxdl import initializers
from jaxdl.activations import FACTS

LINEAR = theory.Unit(lambda z: z)
RELU = theory.Unit(lambda z: np.maximum(z, 0))
TANH = theory.Unit(np.tanh)


def test_the_spread_of_linear_and_relu_layers_is_the_published_one():
    """T50: Var ln z is 2/N for linear layers and about 5/N for ReLU; an orthogonal linear layer spreads nothing."""
    assert theory.spread(LINEAR, 0.0, orthogonal=False) == pytest.approx(2, rel=1e-4)
    assert theory.spread(RELU, 0.3, orthogonal=False) == pytest.approx(5, rel=1e-4)
    assert theory.spread(LINEAR, 0.0, orthogonal=True) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("unit", "factor", "kappa"), [(LINEAR, 1.0, 2), (RELU, 0.5, 5)])
def test_the_recursion_of_homogeneous_units_is_a_power(unit, factor, kappa):
    """ln q_l = l ln g + (l - 1) ln factor; a layer adds -kappa / (2N) and kappa / N, input and output -1/N and 2/N."""
    width, depth, gain = 100, 7, 1.3
    result = theory.expected(unit, gain, width=width, depth=depth)
    layers = np.arange(depth)
    level = (layers + 1) * np.log(gain) + layers * np.log(factor)
    np.testing.assert_allclose(result.mean, level - 2 / width - layers * kappa / (2 * width), atol=1e-4)
    np.testing.assert_allclose(result.deviation**2, 4 / width + layers * kappa / width, rtol=1e-3)


def test_the_larger_of_two_pieces_has_the_mean_square_of_one():
    assert theory.moment(theory.Unit(lambda z: z, 2), 0.0, 2) == pytest.approx(1, rel=1e-4)


def test_a_saturating_unit_forgets_its_start():
    """tanh with weights of large variance: q goes to the fixed point of q = g E tanh^2, whatever the width did."""
    result = theory.expected(TANH, 4.0, width=10_000, depth=60)
    q = np.exp(result.mean[-1])
    draws = np.tanh(np.sqrt(q) * np.random.RandomState(0).randn(400_000))
    assert q == pytest.approx(4 * np.mean(draws**2), rel=5e-3)
    assert result.deviation[-1] < 0.05


def test_the_profile_is_what_numpy_gives_with_the_same_kernels():
    width, depth, inputs = 16, 4, 3
    chosen = [FACTS["tanh"], FACTS["maxout"]]
    init = initializers.he_normal()
    profile = propagation.profiles(init, chosen, width=width, depth=depth, inputs=inputs, seeds=1)
    with propagation.double_precision():
        x_key, layers_key = jax.random.split(jax.random.key(0))
        x = np.asarray(jax.random.normal(x_key, (inputs, width), jnp.float64))
        keys = jax.random.split(layers_key, depth)
        kernels = {
            pieces: [
                np.asarray(init(jax.random.fold_in(k, pieces), (width, pieces * width), jnp.float32)) for k in keys
            ]
            for pieces in (1, 2)
        }
    for i, (pieces, act) in enumerate([(1, np.tanh), (2, lambda z: z.reshape(inputs, width, 2).max(-1))]):
        a = x
        for layer, kernel in enumerate(kernels[pieces]):
            z = a @ kernel.astype(np.float64)
            a = act(z)
            assert profile.log_square[0, layer, i] == pytest.approx(np.log((z**2).mean(-1)).mean(), rel=1e-6)
            assert profile.mean[0, layer, i] == pytest.approx(a.mean(), rel=1e-6, abs=1e-6)
            assert profile.variance[0, layer, i] == pytest.approx(a.var(), rel=1e-6)


def test_variances_beyond_float32_are_measured():
    profile = propagation.profiles(initializers.normal(1.0), [FACTS["relu"]], width=64, depth=40, inputs=2, seeds=1)
    assert np.isfinite(profile.log_square).all()
    assert profile.log_square[0, -1, 0] > np.log(np.finfo(np.float32).max)


def test_singular_values_of_products():
    values = propagation.singular_values(initializers.identity(2.0), width=5, depths=(1, 3), seeds=2)
    np.testing.assert_allclose(values[1], 2)
    np.testing.assert_allclose(values[3], 8)
    assert values[3].shape == (2, 5)


def test_gains_are_those_of_the_kernels():
    """fan_in times the variance, for the shapes that occur, within five standard errors of a sample variance."""
    for name, start in starts.starts().items():
        for shape in ((128, 128), (128, 256)):
            kernel = np.asarray(start.init(jax.random.key(0), shape), np.float64)
            bound = 5 * np.sqrt(2 / np.count_nonzero(kernel))
            assert 128 * np.mean(kernel**2) == pytest.approx(start.gain(*shape), rel=bound), name


def test_a_wrong_theory_does_not_match():
    draws = np.random.RandomState(0).randn(20, 3) * 0.1 + np.array([1.0, 2.0, 3.0])
    names = ["a", "b", "c"]
    right = rules.matches(draws, np.array([1.0, 2.0, 3.0]), names, tolerance=0.05)
    assert right.verdict == "PASS"
    assert "3 of 3 inside; the nearest to the edge is" in right.detail
    wrong = rules.matches(draws, np.array([1.0, 2.3, 3.0]), names, tolerance=0.05)
    assert wrong.verdict == "FAIL"
    assert "2 of 3 inside; the farthest outside is b" in wrong.detail
    assert rules.matches(draws[:4], np.array([1.0, 2.0, 3.0]), names, tolerance=0.05).verdict == "INCONCLUSIVE"


def test_the_drift_of_a_curved_recursion():
    """f = z + c: E f^2 = q + c^2, slope s = q/(q + c^2), curvature s (1 - s), kappa (2q^2 + 4qc^2)/(q + c^2)^2."""
    width, gain, c = 50, 1.5, 0.7
    q, moment = gain, gain + c**2
    slope, kappa = q / moment, (2 * q**2 + 4 * q * c**2) / moment**2
    result = theory.expected(theory.Unit(lambda z: z + c), gain, width=width, depth=2)
    drift = -slope / width + slope * (1 - slope) * (2 / width) / 2 - kappa / (2 * width)
    assert result.mean[1] == pytest.approx(np.log(gain * moment) + drift - 1 / width, abs=1e-5)
    assert result.deviation[1] ** 2 == pytest.approx(slope**2 * 2 / width + kappa / width + 2 / width, rel=1e-3)


def test_lsuv_is_judged_by_what_flax_measures(monkeypatch):
    """A start that says of itself that every variance is 1 does not pass."""
    network = jaxdl.models.MLP((8, 8, 3), activation=jnp.tanh)
    x = jax.random.normal(jax.random.key(0), (64, 8))
    variables = network.init(jax.random.key(1), x)
    kernels = [np.asarray(variables["params"][f"Dense_{i}"]["kernel"]) for i in range(3)]
    a, variances = np.asarray(x), []
    for kernel in kernels:
        variances.append((a @ kernel).var())
        a = np.tanh(a @ kernel)
    idle = lambda network, variables, *a, **k: initializers.LSUV(variables, [jnp.ones(())] * 3, jnp.zeros(3), ())  # noqa: E731
    monkeypatch.setattr(initializers, "lsuv", idle)
    measured = initialization._largest_deviation(network, variables, x, jax.random.key(2), 0.02)
    assert float(measured) == pytest.approx(np.abs(np.array(variances) - 1).max(), rel=1e-4)


def test_pairs_follow_the_facts():
    chosen = [FACTS[name] for name in ("selu", "tanh", "leaky_relu")]
    assert starts.paired(chosen) == {"selu": "LeCun normal", "tanh": "Glorot normal", "leaky_relu": "He normal"}


def test_the_presets_measure_what_the_claims_name():
    default = initialization.EXPERIMENT.presets["default"]
    assert (default["width"], default["depth"], default["seeds"]) == (512, 50, 20)
    assert (default["selu_depth"], default["lsuv_depth"], max(default["product_depths"])) == (32, 30, 100)
