import jax
import numpy as np
import pytest

from jaxdl import losses

LENGTHS = np.array([3, 1, 0], np.int32)


@pytest.fixture
def outputs():
    return np.random.RandomState(0).randn(3, 3, 4).astype(np.float32)


LABELS = np.array([[0, 1, 2], [3, 0, 0], [1, 1, 1]], np.int32)


def cross_entropy(logits, label):
    return np.log(np.exp(logits.astype(np.float64)).sum()) - logits[label]


def test_the_mean_over_the_steps_that_count(outputs):
    expected = [
        np.mean([cross_entropy(outputs[i, t], LABELS[i, t]) for t in range(length)]) if length else 0.0
        for i, length in enumerate(LENGTHS)
    ]
    loss = losses.step_mean(losses.softmax_cross_entropy)
    np.testing.assert_allclose(loss(outputs, (LABELS, LENGTHS)), expected, rtol=1e-5)
    mask = np.arange(3)[None, :] < LENGTHS[:, None]
    np.testing.assert_allclose(loss(outputs, (LABELS, mask)), expected, rtol=1e-5)
    whole = [np.mean([cross_entropy(outputs[i, t], LABELS[i, t]) for t in range(3)]) for i in range(3)]
    np.testing.assert_allclose(loss(outputs, LABELS), whole, rtol=1e-5)


def test_padding_reaches_neither_value_nor_gradient(outputs):
    loss = losses.step_mean(losses.softmax_cross_entropy)
    counts = np.arange(3)[None, :, None] < LENGTHS[:, None, None]
    spoiled = np.where(counts, outputs, np.nan)
    labels = np.where(counts[..., 0], LABELS, -1)
    both = jax.value_and_grad(lambda o, y: loss(o, (y, LENGTHS)).sum())
    for a, b in zip(both(outputs, LABELS), both(spoiled, labels), strict=True):
        np.testing.assert_array_equal(a, b)


def test_regression_of_steps():
    outputs, targets = np.ones((2, 3, 2), np.float32), np.zeros((2, 3, 2), np.float32)
    loss = losses.step_mean(losses.squared_error)
    assert loss(outputs, (targets, np.array([3, 2]))).tolist() == [2.0, 2.0]


def test_accuracies():
    outputs = np.eye(4, dtype=np.float32)[[[0, 1, 3], [3, 1, 1], [0, 0, 0]]]
    np.testing.assert_allclose(losses.step_accuracy(outputs, (LABELS, LENGTHS)), [2 / 3, 1, 0], rtol=1e-6)
    assert losses.sequence_correct(outputs, (LABELS, LENGTHS)).tolist() == [0, 1, 1]
    np.testing.assert_allclose(losses.step_accuracy(outputs, LABELS), [2 / 3, 1 / 3, 0], rtol=1e-6)
    assert losses.sequence_correct(outputs, LABELS).tolist() == [0, 0, 0]


def test_masks_of_lengths():
    assert losses.step_mask(LENGTHS, 3).tolist() == [[True] * 3, [True, False, False], [False] * 3]


def test_what_is_refused(outputs):
    loss = losses.step_mean(losses.softmax_cross_entropy)
    with pytest.raises(TypeError, match=r"loss: expected a function .*; got str. Pass for example"):
        losses.step_mean("cross entropy")
    with pytest.raises(ValueError, match=r"lengths: expected whole numbers .*a mask \(batch, 3\); got shape \(3, 2\)"):
        loss(outputs, (LABELS, np.ones((3, 2), bool)))
    with pytest.raises(ValueError, match=r"outputs: expected an axis of steps .*; got shape \(3,\). Let the model"):
        loss(outputs[:, 0, 0], LABELS)
    with pytest.raises(ValueError, match=r"targets: expected the targets of every step, or a pair .*; got 3 parts"):
        loss(outputs, (LABELS, LENGTHS, LENGTHS))
    with pytest.raises(ValueError, match=r"targets: expected labels \(batch, steps\) .*; got shape \(3, 2\) for out"):
        losses.step_accuracy(outputs, (LABELS[:, :2], LENGTHS))
