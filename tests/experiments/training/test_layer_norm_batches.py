import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.training import layer_norm_batches as batches
from experiments.training.layer_norm_batches import BATCH, LARGE, LAYER, NONE, SMALL, Trained
from jaxdl.data import Examples, Splits
from tests.experiments.training.planted import drive, labelled


def outcomes(layer, batch, none):
    """Errors with large batches of 2 %, and with small ones higher by so many points."""
    noise = np.array([0.05, -0.05, 0.02, -0.02, 0.0])
    found = {}
    for i, (arm, lost) in enumerate({LAYER: layer, BATCH: batch, NONE: none}.items()):
        for size, test in ((LARGE, 2 + noise), (SMALL, 2 + lost + np.roll(noise, i + 1))):
            found[arm, size] = Trained(test, test, test[:, None])
    return found


def run_of(epochs):
    splits = Splits(*(Examples([0], [0]) for _ in range(3)))
    every = {"images": {"mnist": 1}, "width": {"mnist": 4}, "epochs": {"mnist": dict.fromkeys((LARGE, SMALL), epochs)}}
    return Run("mnist", splits, 5, every)


@pytest.mark.parametrize(
    ("lost", "epochs", "verdicts"),
    [
        ((0.1, 1.0, 0.1), 60, ["PASS", "PASS", "PASS"]),
        ((0.1, 1.0, 0.1), 59, ["PASS", "INCONCLUSIVE", "PASS"]),
        ((1.0, 0.5, 3.0), 60, ["FAIL", "FAIL", "FAIL"]),
    ],
)
def test_verdicts_on_made_up_errors(lost, epochs, verdicts):
    run = run_of(epochs)
    batches.judge(run, outcomes(*lost))
    assert [finding.verdict for finding in run.findings] == verdicts
    assert [finding.row for finding in run.findings] == ["X28", "X28", ""]


CLAIMS = ("cost batch normalization more", "layer normalization is as good", "negative control")


def driven(monkeypatch, dataset, lost, **options):
    found = outcomes(*lost)
    for (arm, size), each in found.items():
        found[arm, size] = each._replace(recomputed=each.test - 0.5, curve=each.test[:, None] + np.array([[8.0, 0.0]]))
    monkeypatch.setattr(batches, "train", lambda run, arm, size: found[arm, size])
    return drive(batches.EXPERIMENT, dataset, **options), found


def test_the_whole_experiment_says_and_draws_what_was_measured(monkeypatch):
    run, found = driven(monkeypatch, "mnist", (0.1, 1.0, 0.1), preset="full")
    assert run.verdicts(*CLAIMS) == ["PASS"] * 3
    assert run.findings[0].remark.startswith("differences of 1.00 and 0.10 points; of batch normalization 1.00")
    assert run.tables[0].rows == [
        [LAYER, "2.00 (1.50)", "2.10 (1.60)"],
        [BATCH, "2.00 (1.50)", "3.00 (2.50)"],
        [NONE, "2.00 (1.50)", "2.10 (1.60)"],
    ]
    assert len(run.records) == 30
    for axis, size in zip(run.drawn["layer_norm"].axes, (LARGE, SMALL), strict=True):
        assert axis.get_title() == f"batches of {size}"
        assert axis.get_yscale() == "log"
        lines = labelled(axis)
        assert list(lines) == [LAYER, BATCH, NONE]
        for arm, line in lines.items():
            np.testing.assert_allclose(line, found[arm, size].curve.mean(0))


def test_the_whole_experiment_shorter_and_in_the_opposite_order(monkeypatch):
    run, _ = driven(monkeypatch, "digits", (1.0, 0.5, 3.0))
    assert run.verdicts(*CLAIMS) == ["FAIL", "INCONCLUSIVE", "FAIL"]


def test_the_full_preset_is_the_papers():
    full = batches.EXPERIMENT.presets["full"]
    assert full["epochs"]["mnist"] == {128: 60, 4: 60}
    model = batches.network(LAYER, full["width"]["mnist"])
    params = model.init(jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))["params"]
    assert jaxdl.tree.num_entries(params) == (784 * 1000 + 1000) + (1000 * 1000 + 1000) + 10_010 + 2 * 2 * 1000
    for name in ("LayerNorm_0", "LayerNorm_1"):  # the supplement prints gain and bias swapped
        np.testing.assert_array_equal(params[name]["scale"], 1)
        np.testing.assert_array_equal(params[name]["bias"], 0)
    assert set(params) == {"Dense_0", "Dense_1", "Dense_2", "LayerNorm_0", "LayerNorm_1"}  # not on the output


def test_the_small_batch_reaches_the_program_and_error_is_in_percent():
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(12, 2, 2, 1).astype(np.float32), draws.randint(0, 10, 12).astype(np.int32))
    settings = {"images": {"mnist": 10}, "width": {"mnist": 4}, "epochs": {"mnist": {SMALL: 2, 5: 1}}}
    run = Run("mnist", Splits(examples, examples, examples), 2, settings)
    trained = batches.train(run, BATCH, SMALL)
    assert trained.curve.shape == (2, 2)
    np.testing.assert_allclose(trained.test * 12 / 100, np.round(trained.test * 12 / 100), atol=1e-5)
    np.testing.assert_allclose(trained.curve[:, -1], trained.test, atol=1e-5)  # the same examples, the same states
