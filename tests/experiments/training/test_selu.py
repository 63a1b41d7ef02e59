from typing import Any

import jax
import numpy as np
import pytest

import jaxdl
from experiments.building_blocks.full_length import at_full_length
from experiments.harness import rules
from experiments.harness.claims import Run
from experiments.training import selu
from experiments.training import selu_networks as networks
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import SPREAD, drive, labelled


def new_run(dataset="mnist", epochs=20):
    lengths = {"epochs": {dataset: epochs}, "parted_epochs": {dataset: 5}, "every": {dataset: 1}}
    examples = Examples(np.zeros((1, 28, 28, 1), np.float32), np.zeros(1, np.int32))
    return Run(dataset, Splits(examples, examples, examples), 5, lengths)


def arms(first, last, test):
    """Made-up arms: percent after the first and the last epoch and on the test images, by arm."""
    spread = np.linspace(-0.2, 0.2, 5)
    return {
        name: networks.Trained(np.stack([first[name] + spread, last[name] + spread], 1), np.ones((5, 2)),
                               test[name] + spread[::-1], 1.0)
        for name in first
    }  # fmt: skip


PUBLISHED = arms(selu.PUBLISHED_FIRST, selu.PUBLISHED_LAST, selu.PUBLISHED_TEST)


def verdicts(found, **options):
    run = new_run(**options)
    selu.judge(run, found, run.settings["epochs"][run.dataset])
    assert {finding.row for finding in run.findings} <= {"X14", ""}
    return [finding.verdict for finding in run.findings]


def test_the_published_figures_pass_and_equal_arms_fail():
    assert verdicts(PUBLISHED) == ["PASS"] * 5
    equal = dict.fromkeys(PUBLISHED, PUBLISHED[networks.RELU])
    assert verdicts(equal) == ["FAIL", "PASS", "FAIL", "PASS", "FAIL"]
    leading = arms({networks.RELU: 54.0, networks.SELU: 80.0}, {networks.RELU: 50.0, networks.SELU: 90.0},
                   selu.PUBLISHED_TEST)  # fmt: skip
    assert verdicts(leading)[1] == "FAIL", "a lead that stays would make the control fail"


def driven(monkeypatch, dataset, first, last, test, **options):
    """The whole experiment, an arm's accuracies rising from `first` to `last`."""
    lengths = {}

    def train_arm(run, model, splits, *, epochs):
        name = {
            (True, False): networks.RELU, (False, True): networks.SELU,
            (False, False): networks.RELU_HE, (True, True): networks.SELU_DEFAULT,
        }[model.uniform_bias, model.activation is jax.nn.selu]  # fmt: skip
        lengths[name] = epochs
        rows = np.linspace(first[name], last[name], epochs // run.settings["every"][dataset])[None] + SPREAD[:, None]
        return networks.Trained(rows, 3 - rows / 100, test[name] + SPREAD, 3.0)

    monkeypatch.setattr(selu, "train_arm", train_arm)
    run = drive(selu.EXPERIMENT, dataset, **options)
    return run, lengths


PARTS = ("where each has its own start", "from He's start is above", "both have PyTorch's start")
PARTED = {networks.RELU_HE: 70.0, networks.SELU_DEFAULT: 60.0}


def test_the_whole_experiment_on_the_published_figures(monkeypatch):
    first, last = selu.PUBLISHED_FIRST | PARTED, selu.PUBLISHED_LAST | PARTED
    run, lengths = driven(monkeypatch, "mnist", first, last, selu.PUBLISHED_TEST | PARTED)
    claims = ("faster early", "negative control", "above ReLU on the test", "start: 90.76", "start: 92.04", *PARTS)
    assert run.verdicts(*claims) == ["PASS"] * 8
    assert lengths == {networks.RELU: 20, networks.SELU: 20, networks.RELU_HE: 5, networks.SELU_DEFAULT: 5}
    assert run.tables[0].rows[1] == [networks.SELU, "80.9", "91.24", "2.088", "92.04", "3"]
    assert "trained for 5 of 20 epochs" in run.notes[1]
    assert len(run.notes) == 2
    assert len(run.records) == 20
    left, right = run.drawn["selu"].axes
    lines = labelled(left)
    np.testing.assert_allclose(lines[networks.SELU], np.linspace(80.90, 91.24, 20))
    np.testing.assert_array_equal(lines["published"], [54.21, 80.90])
    assert set(labelled(right)) == set(lengths)
    assert right.get_yscale() == "log"
    np.testing.assert_allclose(labelled(right)[networks.RELU_HE], np.full(5, 2.3))


def test_the_whole_experiment_without_any_difference(monkeypatch):
    level = dict.fromkeys(networks.networks(), 80.0)
    run, lengths = driven(monkeypatch, "digits", level, level, level, preset="smoke")
    assert run.verdicts("faster early", "negative control", "above ReLU on the test", *PARTS) == [
        "FAIL", "PASS", *["FAIL"] * 4
    ]  # fmt: skip
    assert "after the first 4 epochs" in run.findings[0].claim
    assert set(lengths.values()) == {16, 8}
    assert "only orderings are tested" in run.notes[-1]
    left, _ = run.drawn["selu"].axes
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [4, 8, 12, 16])
    assert "published" not in labelled(left)


def test_a_short_run_has_no_verdict_on_absolute_figures():
    assert verdicts(PUBLISHED, epochs=2) == ["PASS", "PASS"] + ["INCONCLUSIVE"] * 3
    run = new_run("digits", 2)
    result = rules.exceeds(np.ones(5), 0.0)
    assert at_full_length(run, result, length=2, published=20) is result
    detail = at_full_length(new_run(), result, length=2, published=20).detail
    assert detail == "the reference has 20 epochs, this run 2: use --preset full"


def test_the_start_is_told_from_the_activation():
    spread = np.linspace(-1, 1, 5)
    made = {networks.RELU: 54.0, networks.SELU: 81.0, networks.RELU_HE: 81.0, networks.SELU_DEFAULT: 54.0}
    found = {
        name: networks.Trained((value + np.roll(spread, i))[:, None], np.ones((5, 1)), np.ones(5), 1.0)
        for i, (name, value) in enumerate(made.items())
    }
    run = new_run()
    selu.judge_parts(run, found)
    assert [finding.result.verdict for finding in run.findings] == ["PASS", "INCONCLUSIVE", "INCONCLUSIVE"]


@pytest.mark.parametrize("name", list(networks.networks()))
def test_starts(name):
    model = networks.networks()[name]
    params = model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    assert jaxdl.tree.num_entries(params) == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10
    for layer, fan_in in zip(("Dense_0", "Dense_1"), (784, 512), strict=True):
        kernel, bias = (np.asarray(params[layer][part], np.float64) for part in ("kernel", "bias"))
        scale = {networks.SELU: 1.0, networks.RELU_HE: 2.0}.get(name, 1 / 3)
        # 131,072 entries or more: the standard error of a normal variance is 0.4 %.
        assert kernel.var() * fan_in == pytest.approx(scale, rel=0.02)
        if name in (networks.RELU, networks.SELU_DEFAULT):
            bound = fan_in**-0.5
            assert max(np.abs(kernel).max(), np.abs(bias).max()) <= bound
            assert np.abs(bias).max() > 0.95 * bound, "256 uniform draws all below 0.95: 2e-6"
        else:
            assert not bias.any()


def test_the_network_against_numpy_and_its_dropout():
    x = np.random.RandomState(0).randn(3, 2, 2, 1).astype(np.float32)
    for name in (networks.RELU, networks.SELU):
        model: Any = networks.networks()[name]
        variables = model.init(jax.random.key(1), x)
        a = x.reshape(3, -1).astype(np.float64)
        for i in range(3):
            layer = variables["params"][f"Dense_{i}"]
            a = a @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])[None]
            if i < 2 and name == networks.RELU:
                a = np.maximum(a, 0)
            elif i < 2:
                a = 1.0507009873554805 * np.where(a > 0, a, 1.6732632423543772 * np.expm1(np.minimum(a, 0)))
        np.testing.assert_allclose(model.apply(variables, x), a, rtol=1e-4, atol=1e-5)
        noisy = [model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
        np.testing.assert_array_equal(noisy[0], noisy[1])
        assert np.abs(noisy[0] - noisy[2]).max() > 1e-3


def test_images_are_divided_anew_and_standardized():
    draws = np.random.RandomState(1)
    parts = [Examples(draws.rand(n, 2, 2, 1).astype(np.float32), np.arange(n, dtype=np.int32)) for n in (40, 10, 7)]
    for dataset, mean, deviation in (("mnist", 0.1307, 0.3081), ("digits", parts[0].x.mean(), parts[0].x.std())):
        found = networks.prepared(Splits(*parts), dataset)
        assert [len(part.y) for part in found] == [40, 10, 7]
        np.testing.assert_allclose(found.test.x * deviation + mean, parts[2].x, atol=1e-6)
        pooled = np.concatenate([found.train.x, found.validation.x]) * deviation + mean
        original = np.concatenate([parts[0].x, parts[1].x])
        np.testing.assert_allclose(np.sort(pooled.ravel()), np.sort(original.ravel()), atol=1e-6)
        assert np.abs(np.asarray(found.train.x) * deviation + mean - parts[0].x).max() > 0.1
