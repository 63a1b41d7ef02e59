import jax
import numpy as np
import pytest

import jaxdl
from experiments.harness.claims import Run
from experiments.theory import batch_gradients
from experiments.theory.per_example_network import BATCH, centred_losses, start
from jaxdl.data import Examples, Splits


@pytest.fixture
def small_run():
    draws = np.random.RandomState(0)
    examples = Examples(draws.rand(70, 3, 3, 1).astype(np.float32), draws.randint(0, 10, 70).astype(np.int32))
    return Run("digits", Splits(examples, examples, examples), 5, {})


def test_the_identity_passes_and_its_control_fails_the_rule(small_run):
    batch_gradients.judge_mean(small_run)
    claim, control = small_run.findings
    assert (claim.verdict, claim.result.verdict) == ("PASS", "PASS")
    assert (control.verdict, control.result.verdict, control.control) == ("PASS", "FAIL", True)
    assert [record["seed"] for record in small_run.records] == list(range(5))


@pytest.mark.parametrize("wrong", [1.0001, float("nan")])
def test_wrong_gradients_fail(small_run, monkeypatch, wrong):
    right = jaxdl.diagnostics.per_example_gradients
    monkeypatch.setattr(
        jaxdl.diagnostics, "per_example_gradients", lambda *a: jax.tree.map(lambda leaf: leaf * wrong, right(*a))
    )
    batch_gradients.judge_mean(small_run)
    assert small_run.findings[0].verdict == "FAIL"


def test_the_library_refuses_the_control(small_run):
    x, y = small_run.splits.train
    params = start(x, seed=0).params
    with pytest.raises(ValueError, match=r"depend on that example alone; got reduce_sum.*\(centred_losses\)"):
        jaxdl.diagnostics.per_example_gradients(centred_losses, params, (x[:BATCH], y[:BATCH]))


def test_all_mini_batches_are_counted(small_run):
    batch_gradients.judge_unbiased(small_run)
    assert [finding.verdict for finding in small_run.findings] == ["PASS", "PASS"]
    assert "all 20 mini-batches of 3 of 6" in small_run.findings[0].rule
    assert "all 216 mini-batches of 3 of 6" in small_run.findings[1].rule


def test_mini_batches_that_leave_one_example_out_are_biased(small_run, monkeypatch):
    every = batch_gradients.itertools.combinations
    monkeypatch.setattr(batch_gradients.itertools, "combinations", lambda rows, size: list(every(rows, size))[:-10])
    batch_gradients.judge_unbiased(small_run)
    assert [finding.verdict for finding in small_run.findings] == ["FAIL", "PASS"]


def test_distance():
    one, other = {"a": np.array([3.0, 4.0])}, {"a": np.array([3.0, 4.5])}
    assert batch_gradients.distance(other, one) == pytest.approx(0.1, rel=1e-6)
