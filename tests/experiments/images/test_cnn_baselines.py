import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.images import cnn_baselines as baselines
from experiments.images.cnn_baselines import RATES, Reached
from experiments.images.cnn_examples import EQUINOX, FLAX, KERAS, examples
from jaxdl.data import Examples, Splits

NOISE = np.array([0.05, -0.05, 0.02, -0.02, 0.0])


def run_of(dataset="mnist", steps=None):
    return Run(dataset, Splits(*(Examples([0], [0]) for _ in range(3))), 5, {"steps": {dataset: steps}})


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (EQUINOX, (16 * 3 + 3) + (3 * 24 * 24 * 512 + 512) + (512 * 64 + 64) + (64 * 10 + 10)),
        (KERAS, 1_199_882),
        (FLAX, 320 + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 256 + 256) + 2570),
    ],
)
def test_networks_have_the_sizes_of_the_examples(name, count):
    params = examples()[name].model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    assert jaxdl.tree.num_entries(params) == count


def test_equinox_starts_within_one_over_the_root_of_fan_in():
    params = examples()[EQUINOX].model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    for name, fan_in in (("Conv_0", 16), ("Dense_0", 1728), ("Dense_1", 512), ("Dense_2", 64)):
        for leaf in params[name].values():
            assert np.abs(leaf).max() <= 1 / np.sqrt(fan_in)
        if name != "Conv_0":
            # Uniform: variance a third of the squared bound; 640 draws or more, standard error 3.5 % at most.
            assert np.var(params[name]["kernel"]) == pytest.approx(1 / (3 * fan_in), rel=0.15)


def test_equinox_sees_pixels_between_minus_one_and_one():
    model, x = examples()[EQUINOX].model, np.random.RandomState(0).rand(2, 8, 8, 1).astype(np.float32)
    params = model.init(jax.random.key(0), x)["params"]
    _, found = model.apply({"params": params}, x, capture_intermediates=True, mutable=["intermediates"])
    kernel, bias = (np.asarray(params["Conv_0"][name], np.float64) for name in ("kernel", "bias"))
    corner = ((2 * x - 1)[:, :4, :4, :, None] * kernel[None]).sum((1, 2, 3)) + bias
    np.testing.assert_allclose(found["intermediates"]["Conv_0"]["__call__"][0][:, 0, 0], corner, atol=1e-5)


def swept(best, slow):
    """Accuracies of every rate and seed with the maximum at `best`."""
    values = np.full((len(RATES), 5), 95.0)
    values[RATES.index(best)] = 99.0
    values[0] = slow
    return values + NOISE[None, :]


@pytest.mark.parametrize(
    ("best", "slow", "verdicts"),
    [(1e-2, 88.0, ["PASS", "PASS", "PASS"]), (1e-3, 93.0, ["FAIL", "FAIL", "FAIL"])],
)
def test_the_shape_of_made_up_sweeps(best, slow, verdicts):
    run = run_of()
    baselines.judge_sweep(run, swept(best, slow))
    assert [finding.verdict for finding in run.findings] == verdicts
    assert [finding.row for finding in run.findings] == ["X27", "X27", ""]


@pytest.mark.parametrize(
    ("steps", "keras", "verdicts"),
    [(None, 99.2, ["PASS", "PASS"]), (None, 98.0, ["PASS", "FAIL"]), (300, 99.2, ["PASS", "INCONCLUSIVE"])],
)
def test_published_runs_count_at_full_length_only(steps, keras, verdicts):
    run = run_of(steps=steps)
    baselines.judge_examples(run, {EQUINOX: Reached(90.4 + NOISE, 300), KERAS: Reached(keras + NOISE, 300)})
    assert [finding.verdict for finding in run.findings] == verdicts


def test_the_published_sweep_has_the_claimed_shape():
    published = np.array(baselines.PUBLISHED_SWEEP)
    assert RATES[published.argmax()] == 1e-2
    assert published[0] < baselines.SLOW_BELOW < published[1]
