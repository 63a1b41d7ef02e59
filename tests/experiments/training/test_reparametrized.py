import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from experiments.training import reparametrized
from experiments.training import reparametrized_networks as networks
from experiments.training.normalized_networks import NormalizedMLP
from experiments.training.reparametrized_networks import COSINE, WEIGHT, Curves
from jaxdl.data import Examples, Splits
from jaxdl.layers import start_weight_norm
from tests.experiments.training.planted import SPREAD, drive, labelled

DRAWS = np.random.RandomState(0)
X = DRAWS.rand(60, 4, 4, 1).astype(np.float32)
Y = DRAWS.randint(0, 10, 60).astype(np.int32)
EXAMPLES = Examples(X, Y)
SPLITS = Splits(EXAMPLES, EXAMPLES, EXAMPLES)
compiled_start = jax.jit(start_weight_norm, static_argnums=0)


class DrawnByNumpy(NormalizedMLP):
    """Kernels N(0, 1 / fan_in), the rest as Flax starts it: random initializers take long to compile."""

    @nn.nowrap
    def init(self, key, *_):
        draws, params = np.random.RandomState(np.asarray(jax.random.key_data(key))[-1]), {}
        for i, (fan_in, units) in enumerate([(16, 100), (100, 100), (100, 10)]):
            kernel = draws.randn(fan_in, units).astype(np.float32) / np.float32(fan_in**0.5)
            params[f"Dense_{i}"] = {"kernel": kernel, "bias": np.zeros(units, np.float32)}
        scales = {f"WeightNorm_{i}": {f"Dense_{i}/kernel/scale": np.ones(100, np.float32)} for i in range(2)}
        return {"params": params | scales}


MODEL = DrawnByNumpy(WEIGHT, num_steps=1)


@pytest.fixture
def quick(monkeypatch):
    """The same arithmetic in a program for each start and each gradient instead of one for each operation."""
    loss = networks._loss
    monkeypatch.setattr(networks, "_loss", lambda *a, **k: jax.jit(loss(*a, **k)))
    monkeypatch.setattr(networks, "weight_norm_network", lambda: MODEL)
    monkeypatch.setattr(reparametrized.layers, "start_weight_norm", compiled_start)


def started(seed):
    return compiled_start(MODEL, MODEL.init(jax.random.key(seed)), X)["params"]


def test_the_cap_of_ten_cosines():
    assert pytest.approx(0.451, abs=5e-4) == networks.CAP
    assert -math.log(networks.CAP) == pytest.approx(math.log(1 + 9 * math.exp(-2)))


def test_parameters_drawn_by_numpy_are_those_of_the_network():
    model = networks.weight_norm_network()
    shapes = lambda tree: jax.tree.map(np.shape, tree)  # noqa: E731
    assert shapes(jax.eval_shape(lambda key: model.init(key, X[:1], False), jax.random.key(0))) == shapes(
        MODEL.init(jax.random.key(0))
    )


def test_pre_activations_by_numpy_are_those_of_the_network():
    model, params = networks.weight_norm_network(), started(0)
    first, second = networks.first_pre_activations(params, X)
    assert first.shape == second.shape == (60, 100)
    output = params["Dense_2"]
    logits = np.maximum(second, 0) @ np.asarray(output["kernel"]) + np.asarray(output["bias"])
    apply = jax.jit(lambda params: model.apply({"params": params}, X, False))
    np.testing.assert_allclose(apply(params), logits, atol=1e-4)


def test_off_standard_finds_the_worst_unit():
    good = np.array([[-1.0, -1.0], [1.0, 1.0]])
    assert reparametrized.off_standard([good]) == 0
    assert reparametrized.off_standard([good, good + np.array([0, 0.25])]) == pytest.approx(0.25)
    assert reparametrized.off_standard([good * np.array([2, 1])]) == pytest.approx(3)


def test_gradient_identities_hold_and_the_projection_matters(quick):
    errors = networks.identity_errors(started(1), X, Y)
    assert errors["scale"] < 1e-5
    assert errors["direction"] < 1e-5
    assert errors["dot"] < 1e-6
    assert errors["without projection"] > 1e-2


def test_weight_norm_is_trained_from_its_start_and_rates_keep_their_order():
    options = dict(seeds=[0, 1], epochs=1, batch_size=60, start=X)
    slow, fast = networks.train(networks.weight_norm_network(), SPLITS, rates=(0.0, 0.5), **options)
    assert (slow.rate, fast.rate) == (0.0, 0.5)
    assert slow.test.size == 0
    np.testing.assert_array_equal(slow.loss, fast.loss)  # one step: the same start, before any update
    assert (slow.validation != fast.validation).any()
    model = networks.weight_norm_network()
    (alone,) = networks.train(model, SPLITS, rates=(0.0,), **options)
    assert alone.test.shape == (2,)
    np.testing.assert_allclose(alone.test, alone.validation[:, -1], atol=1e-5)


@pytest.mark.parametrize("use_scale", [False, True])
def test_an_output_layer_of_cosines_by_numpy(use_scale):
    params = {"Dense_0": {"kernel": DRAWS.randn(16, 100).astype(np.float32), "bias": np.ones(100, np.float32)}}
    params["CosineDense_0"] = {"kernel": DRAWS.randn(100, 10).astype(np.float32)}
    if use_scale:
        params["CosineDense_0"]["scale"] = np.full(10, networks.LOGIT, np.float32)
    model = networks.CosineOutput(use_scale)
    found = jax.jit(lambda params: model.apply({"params": params}, X))(params)
    hidden = np.maximum(X.reshape(60, 16) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0)
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    kernel = params["CosineDense_0"]["kernel"]
    expected = hidden @ (kernel / np.linalg.norm(kernel, axis=0))
    np.testing.assert_allclose(found, expected * (networks.LOGIT if use_scale else 1), atol=1e-5)


WEIGHT_CLAIMS = (
    "data-dependent start",
    "with scales of 1",
    "gradients of scale and direction",
    "without the projection",
)
COSINE_CLAIMS = ("lies in [-1, 1]", "leaves it unchanged", "the same for plain products")
CAP_CLAIMS = ("gives no class more than", "cross-entropy has a floor", "with a learned factor")


def driven(monkeypatch, dataset, floors, **options):
    """The whole experiment on planted training: 0.3 is the best rate, the least losses of cosines are given."""
    calls = []

    def train(model, splits, *, rates, seeds, epochs, batch_size, start=None):
        seeds = list(seeds)
        arm = "scaled" if getattr(model, "use_scale", False) else getattr(model, "normalization", "cosines")
        calls.append((arm, tuple(rates), seeds, start is not None))
        losses = np.linspace(3.0, floors.get(arm, 0.5), 200) + np.zeros((len(seeds), 1))
        level = 90.0 + reparametrized.ARMS.index(arm) if arm in reparametrized.ARMS else 50.0
        return [
            Curves(rate, losses, level - 20 * abs(rate - 0.3) + np.linspace(-8, 0, 4) + SPREAD[: len(seeds), None],
                   np.full(len(seeds), level + 1))
            for rate in rates
        ]  # fmt: skip

    monkeypatch.setattr(networks, "train", train)
    return drive(reparametrized.EXPERIMENT, dataset, splits=SPLITS, **options), calls


def test_the_whole_experiment(quick, monkeypatch):
    floor = -math.log(networks.CAP)
    run, calls = driven(monkeypatch, "mnist", {"cosines": floor + 0.01, "scaled": 0.1})
    assert run.verdicts(*WEIGHT_CLAIMS, *COSINE_CLAIMS, *CAP_CLAIMS) == ["PASS"] * 10
    tuned = [(arm, reparametrized.RATES, [1000], arm == WEIGHT) for arm in reparametrized.ARMS]
    judged = [(arm, (0.3,), list(range(5)), arm == WEIGHT) for arm in reparametrized.ARMS]
    assert calls[:-2] == [call for pair in zip(tuned, judged, strict=True) for call in pair]
    assert [(arm, rates) for arm, rates, _, _ in calls[-2:]] == [("cosines", (0.3,)), ("scaled", (0.3,))]
    assert run.tables[0].rows[1] == [COSINE, "92.00", "0.3"]
    assert f"least loss {floor + 0.01:.3f}" in run.findings[-2].remark
    assert len(run.records) == 5 * (2 + len(reparametrized.ARMS) + 1)
    left, right = run.drawn["reparametrized"].axes
    assert [line.get_label() for line in left.lines] == list(reparametrized.ARMS)
    assert left.get_yscale() == "log"
    pairs = np.linspace(3.0, 0.5, 200).reshape(100, 2).mean(1)
    for i, (loss, accuracy) in enumerate(zip(left.lines, right.lines, strict=True)):
        np.testing.assert_allclose(loss.get_ydata(), pairs)
        np.testing.assert_allclose(accuracy.get_ydata(), 90 + i + np.linspace(-8, 0, 4))
    assert next(iter(labelled(right))) == f"{WEIGHT} (0.3)"


def test_the_whole_experiment_on_broken_layers(quick, monkeypatch):
    """No start, gradients that are off, plain products for cosines, and losses that know no floor."""
    monkeypatch.setattr(reparametrized.layers, "start_weight_norm", lambda model, variables, x: variables)
    off = {"scale": 1e-3, "direction": 0.0, "without projection": 0.0, "dot": 0.0}
    monkeypatch.setattr(networks, "identity_errors", lambda params, x, y: off)
    monkeypatch.setattr(reparametrized.layers, "CosineDense", lambda units: nn.Dense(units, use_bias=False))
    run, calls = driven(monkeypatch, "digits", {"cosines": 0.5, "scaled": 1.7}, preset="smoke")
    assert run.verdicts(*WEIGHT_CLAIMS, *COSINE_CLAIMS, *CAP_CLAIMS) == [
        "FAIL", "PASS", "FAIL", "FAIL", "FAIL", "FAIL", "PASS", *["FAIL"] * 3
    ]  # fmt: skip
    assert [call[:2] for call in calls[:2]] == [(WEIGHT, (0.3,)), (COSINE, (0.3,))], "one rate is not tuned"
