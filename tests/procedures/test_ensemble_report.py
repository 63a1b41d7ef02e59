"""The report against NumPy on all examples, and the inequalities that it cannot break."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.procedures import compare_members, train_ensemble
from jaxdl.training import mean_interval

LINEAR = (lambda key, x: {"w": jax.random.normal(key, (4, 3))}, lambda params, x: x @ params["w"])
DRAWS = np.random.RandomState(4)
X, Y = DRAWS.randn(53, 4).astype(np.float32), DRAWS.randint(0, 3, 53)
STACKED = {"params": {"w": jnp.asarray(DRAWS.randn(4, 4, 3), jnp.float32)}}


def test_every_number_by_hand():
    found = compare_members(LINEAR, STACKED, (X, Y), batch_size=10)
    logits = np.einsum("nd,mdc->mnc", X.astype(np.float64), np.asarray(STACKED["params"]["w"], np.float64))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels, rows = logits.argmax(-1), np.arange(53)
    np.testing.assert_allclose(found.member_accuracies, (labels == Y[None]).mean(1), rtol=1e-6)
    np.testing.assert_allclose(found.member_losses, -np.log(shares[:, rows, Y]).mean(1), rtol=1e-5)
    assert found.loss == pytest.approx(-np.log(shares.mean(0)[rows, Y]).mean(), rel=1e-5)
    right = shares.mean(0).argmax(-1) == Y
    assert found.accuracy == pytest.approx(right.mean())
    pairs = [np.mean(labels[a] != labels[b]) for a, b in itertools.combinations(range(4), 2)]
    assert found.disagreement == pytest.approx(np.mean(pairs), rel=1e-5)
    mean, low, high = mean_interval(right - (labels == Y[None]).mean(0))
    assert (found.gain, *found.gain_interval) == pytest.approx((mean, low, high), rel=1e-5)
    votes = np.stack([(labels == c).sum(0) for c in range(3)], -1)
    top = votes == votes.max(-1, keepdims=True)
    vote = np.where(top, shares.mean(0), -1).argmax(-1)
    assert found.vote_accuracy == pytest.approx(np.mean(vote == Y))
    assert found.num_examples == 53
    text = found.verdict()
    assert f"together {100 * right.mean():.2f} %" in text
    assert "4 members at" in text


def test_one_member_gains_nothing_and_jensen_holds(blob_task):
    found = train_ensemble(blob_task.step, blob_task.init, blob_task.data, mode="vmap", epochs=3, batch_size=16)
    report = compare_members(blob_task.model, found.variables, blob_task.data)
    assert report.loss < report.member_losses.mean()
    alone = compare_members(LINEAR, jax.tree.map(lambda leaf: leaf[:1], STACKED), (X, Y))
    assert (alone.gain, alone.gain_interval, alone.disagreement) == (0.0, (0.0, 0.0), 0.0)
    assert alone.accuracy == alone.vote_accuracy == alone.member_accuracies[0]
    single = compare_members(LINEAR, STACKED, (X[:1], Y[:1]))
    assert single.gain_interval == (-np.inf, np.inf)


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="variables: expected leaves that have one leading member axis; got"):
        compare_members(LINEAR, {"params": {"w": STACKED["params"]["w"], "b": jnp.ones((3, 3))}}, (X, Y))
