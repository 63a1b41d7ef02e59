"""The rules of `transfer` on numbers made up, the arms on a task of their own, and what counts as frozen."""

import jax
import numpy as np
import pytest

from experiments.harness.claims import Run
from experiments.reuse import transfer, transfer_networks
from experiments.reuse.transfer_networks import ARMS, FROZEN, RANDOM, SCRATCH, STAGED, Reached
from jaxdl.data import Examples, Splits
from jaxdl.tree import leaf_paths

SPREAD = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])


@pytest.fixture
def splits():
    draws = np.random.RandomState(0)
    y = np.tile(np.arange(5, dtype=np.int32), 12)
    x = (draws.rand(60, 8, 8, 1) + 0.3 * y[:, None, None, None]).astype(np.float32)
    examples = Examples(x, y)
    return Splits(examples, examples, examples)


def outcomes(accuracies, *, unmoved=True):
    """`{(arm, count): five outcomes}` of mean accuracies, the spread another one in every arm."""
    return {
        (arm, count): [Reached(0.0, float(mean + SPREAD[(i + k) % 5] * 0.5), unmoved) for i in range(5)]
        for k, ((arm, count), mean) in enumerate(accuracies.items())
    }


def verdicts(splits, accuracies, **options):
    run = Run("digits", splits, 5, {})
    transfer.judge(run, outcomes(accuracies, **options), (10, 100))
    return [finding.verdict for finding in run.findings]


REUSED = {
    (SCRATCH, 10): 85.0, (FROZEN, 10): 90.0, (STAGED, 10): 90.0, (RANDOM, 10): 82.0,
    (SCRATCH, 100): 95.0, (FROZEN, 100): 95.0, (STAGED, 100): 95.0, (RANDOM, 100): 90.0,
}  # fmt: skip


def test_reuse_that_helps_passes_and_reuse_that_hurts_fails(splits):
    assert verdicts(splits, REUSED) == ["PASS"] * 7
    hurt = {key: value - (20.0 if key[0] in (FROZEN, STAGED) else 0.0) for key, value in REUSED.items()}
    assert verdicts(splits, hurt) == ["FAIL"] * 5 + ["PASS"] * 2
    assert verdicts(splits, REUSED, unmoved=False)[5] == "FAIL"
    assert verdicts(splits, {**REUSED, (RANDOM, 100): 99.0})[-1] == "FAIL", "random features as good as learned ones"
    assert verdicts(splits, {**REUSED, (STAGED, 100): 94.0})[4] == "INCONCLUSIVE"


def test_labels_are_as_many_of_every_class_and_differ_by_seed(splits):
    data = transfer_networks.labelled(splits.train, 4, seed=0)
    np.testing.assert_array_equal(np.bincount(data.y), [4] * 5)
    other = transfer_networks.labelled(splits.train, 4, seed=1)
    assert np.any(data.x != other.x)
    assert len(transfer_networks.labelled(splits.train, 100, seed=0).y) == 60


def test_bytes_tell_what_numbers_do_not():
    assert transfer_networks.same_bytes({"a": np.zeros(2)}, {"a": np.zeros(2)})
    assert not transfer_networks.same_bytes({"a": np.zeros(2)}, {"a": -np.zeros(2)})


def test_every_arm_keeps_what_it_freezes(splits):
    model = transfer_networks.SmallCNN(kernel=3, stride=1)
    source = model.init(jax.random.key(7), splits.train.x[:1])
    arms = transfer_networks.Arms(model, steps=8)
    for arm in ARMS:
        reached = arms.train(arm, source, splits, splits.train, seed=0)
        assert reached.unmoved
        assert 0 <= reached.validation <= 100
        assert reached.validation == reached.test
        assert (reached.stage >= 0) == (arm == STAGED)
        assert len(reached.by_stage) == (4 if arm == STAGED else 0)


def test_the_layers_named_are_those_of_the_network(splits):
    params = transfer_networks.SmallCNN(kernel=3, stride=1).init(jax.random.key(0), splits.train.x[:1])["params"]
    assert {path.partition("/")[0] for path in leaf_paths(params)} == {
        stage.partition("/")[0] for stage in transfer_networks.STAGES
    }
    assert transfer_networks.SmallCNN(kernel=5, stride=2).init(jax.random.key(0), np.zeros((1, 28, 28, 1)))["params"][
        "dense_0"
    ]["kernel"].shape == (3 * 3 * 16, 64)
