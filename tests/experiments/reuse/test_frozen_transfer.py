import jax
import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.reuse import frozen_transfer as transfer
from experiments.reuse.frozen_transfer import Reached
from jaxdl.data import Examples, Splits

NOISE = np.array([0.05, -0.05, 0.02, -0.02, 0.0])


def run_of(dataset, images, epochs, splits=None):
    empty = Splits(*(Examples([0], [0]) for _ in range(3)))
    return Run(dataset, splits or empty, 5, {"images": {dataset: images}, "epochs": {dataset: epochs}})


def test_the_network_is_the_examples():
    outline = jax.eval_shape(transfer.network().init, jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32))
    size = sum(leaf.size for leaf in jax.tree.leaves(outline))
    assert size == 320 + 9248 + (12 * 12 * 32 * 128 + 128) + (128 * 5 + 5) == 600_165
    assert (transfer.BATCH["mnist"], transfer.EPOCHS) == (128, 5)
    full = transfer.EXPERIMENT.presets["full"]
    assert (full["images"]["mnist"], full["epochs"]["mnist"]) == (None, 5)


@pytest.mark.parametrize(
    ("old", "new", "random", "images", "verdicts"),
    [
        (99.8, 99.2, 98.0, None, ["PASS", "PASS", "PASS", "PASS"]),
        (99.8, 99.2, 98.0, 3000, ["INCONCLUSIVE", "INCONCLUSIVE", "PASS", "PASS"]),
        (99.0, 98.0, 98.5, None, ["FAIL", "FAIL", "FAIL", "PASS"]),
        (99.0, 98.0, 10.0, None, ["FAIL", "FAIL", "PASS", "FAIL"]),  # nothing trained, and better than random ones
    ],
)
def test_verdicts_on_made_up_accuracies(old, new, random, images, verdicts):
    run = run_of("mnist", images, 5)
    transfer.judge(run, Reached(old + NOISE, new + NOISE, random - NOISE, 20 + NOISE))
    assert [finding.verdict for finding in run.findings] == verdicts
    assert [finding.row for finding in run.findings] == ["X19"] * 3 + [""]


def test_both_tasks_are_labelled_from_zero_and_hold_the_validation_images():
    y = np.tile(np.arange(10), 4).astype(np.int32)
    part = lambda mark: Examples(np.full((40, 2, 2, 1), mark, np.float32), y)  # noqa: E731
    run = run_of("digits", None, 1, Splits(part(0.0), part(1.0), part(2.0)))
    low, high = transfer.tasks(run)
    for task in (low, high):
        assert task.train.x.shape[0] == 40
        assert set(np.unique(task.train.x)) == {0.0, 1.0}
        np.testing.assert_array_equal(np.unique(task.train.y), range(5))
        assert set(np.unique(task.test.x)) == {2.0}
    assert len(transfer.tasks(run_of("digits", 7, 1, run.splits))[1].train.y) == 7
