import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses

LOGITS = np.random.RandomState(0).randn(6, 4).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 3, 1])
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
CLASS_LOSSES = [losses.softmax_cross_entropy, losses.sigmoid_cross_entropy, losses.hinge, losses.squared_hinge]


def margins(row, label):
    return [max(0.0, f - row[label] + 1.0) for j, f in enumerate(row) if j != label]


def by_hand(name, row, label):
    probabilities = np.exp(row) / np.exp(row).sum()
    sigmoids = 1 / (1 + np.exp(-row))
    target = np.eye(len(row))[label]
    return {
        "softmax_cross_entropy": -np.log(probabilities[label]),
        "sigmoid_cross_entropy": -np.sum(target * np.log(sigmoids) + (1 - target) * np.log(1 - sigmoids)),
        "hinge": sum(margins(row, label)),
        "squared_hinge": sum(m**2 for m in margins(row, label)),
    }[name]


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_against_the_formula(loss):
    expected = [
        by_hand(loss.__name__, row.astype(np.float64), label) for row, label in zip(LOGITS, LABELS, strict=True)
    ]
    np.testing.assert_allclose(loss(LOGITS, LABELS), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(LOGITS, ONE_HOT), expected, rtol=1e-5)


def test_the_hinge_of_the_lecture_is_the_sum_not_the_maximum():
    assert float(losses.hinge(jnp.array([[1.0, 2.0, 0.5]]), jnp.array([0]))[0]) == pytest.approx(2.5)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_finite_with_finite_gradients_at_extreme_logits(loss):
    extreme = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    value, grads = jax.value_and_grad(lambda z: loss(z, jnp.array([1, 0])).sum())(extreme)
    assert np.isfinite(value)
    assert np.all(np.isfinite(grads))


def test_regression_losses_sum_over_all_axes_but_the_first():
    f, t = np.arange(12.0).reshape(2, 3, 2), np.ones((2, 3, 2))
    np.testing.assert_allclose(losses.squared_error(f, t), [((f[i] - 1) ** 2).sum() for i in range(2)])
    np.testing.assert_allclose(losses.absolute_error(f, t), [np.abs(f[i] - 1).sum() for i in range(2)])
    np.testing.assert_allclose(losses.squared_error(f[:, 0, 0], t[:, 0, 0]), [1.0, 25.0])


def test_correct_takes_labels_and_one_hot():
    outputs = jnp.array([[0.1, 0.9], [0.8, 0.2]])
    np.testing.assert_array_equal(losses.correct(outputs, jnp.array([1, 1])), [1.0, 0.0])
    np.testing.assert_array_equal(losses.correct(outputs, jnp.array([[0, 1], [1, 0]])), [1.0, 1.0])


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("targets", [np.zeros(5, int), np.zeros(6), np.zeros((6, 3)), np.zeros((6, 1), int)])
def test_class_targets_that_do_not_fit(loss, targets):
    with pytest.raises(ValueError, match=r"targets: expected integer labels of shape \(6,\) or probabilities of shape"):
        loss(LOGITS, targets)


@pytest.mark.parametrize("loss", [losses.squared_error, losses.absolute_error])
def test_regression_targets_that_would_broadcast(loss):
    with pytest.raises(ValueError, match=r"targets: expected the shape of outputs, \(6, 1\).*got \(6,\)"):
        loss(np.zeros((6, 1)), np.zeros(6))


def test_the_mean_refuses_what_is_not_per_example():
    with pytest.raises(
        ValueError, match=r"losses: expected one value per example, shape \(batch,\); got shape \(2, 2\)"
    ):
        losses.batch_mean(jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        losses.batch_mean(jnp.zeros(()))


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_a_label_that_is_no_class_gives_nan(loss):
    values = np.asarray(loss(LOGITS, np.array([0, 1, 4, 3, -1, 1])))
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, False, True, False])
