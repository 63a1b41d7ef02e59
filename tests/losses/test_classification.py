import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses

LOGITS = np.random.RandomState(0).randn(6, 4).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 3, 1])
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
CLASS_LOSSES = [
    losses.softmax_cross_entropy, losses.sigmoid_cross_entropy, losses.hinge, losses.squared_hinge, losses.kl_divergence
]  # fmt: skip


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
        "kl_divergence": -np.log(probabilities[label]),  # the entropy of a one-hot target is 0
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


@pytest.mark.parametrize(("loss", "power"), [(losses.hinge, 1), (losses.squared_hinge, 2)])
def test_the_margin_of_the_hinge(loss, power):
    ours = loss(jnp.array([[1.0, 2.0, -0.5]]), jnp.array([0]), margin=0.25)
    assert float(ours[0]) == pytest.approx(1.25**power)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_finite_with_finite_gradients_at_extreme_logits(loss):
    extreme = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    value, grads = jax.value_and_grad(lambda z: loss(z, jnp.array([1, 0])).sum())(extreme)
    assert np.isfinite(value)
    assert np.all(np.isfinite(grads))


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("targets", [np.zeros(5, int), np.zeros(6), np.zeros((6, 3)), np.zeros((6, 1), int)])
def test_class_targets_that_do_not_fit(loss, targets):
    with pytest.raises(ValueError, match=r"targets: expected integer labels of shape \(6,\) or probabilities of shape"):
        loss(LOGITS, targets)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_a_label_that_is_no_class_gives_nan(loss):
    values = np.asarray(loss(LOGITS, np.array([0, 1, 4, 3, -1, 1])))
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, False, True, False])


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_whole_numbers_are_logits_and_rows_too(loss):
    logits = np.array([[3, 0, 1], [1, 2, 0]])
    expected = [by_hand(loss.__name__, row.astype(float), label) for row, label in zip(logits, [1, 2], strict=True)]
    for targets in (np.array([1, 2]), np.eye(3, dtype=np.int32)[[1, 2]], np.eye(3, dtype=bool)[[1, 2]]):
        for outputs in (logits, logits.astype(np.uint8), logits.astype(np.float32)):
            np.testing.assert_allclose(loss(outputs, targets), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_no_example_and_no_position(loss):
    assert loss(jnp.zeros((0, 3)), jnp.zeros(0, int)).shape == (0,)
    assert loss(jnp.zeros((0, 5, 3)), jnp.zeros((0, 5), int)).shape == (0,)
    np.testing.assert_array_equal(loss(jnp.zeros((2, 0, 3)), jnp.zeros((2, 0), int)), [0, 0])


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_bfloat16_stays_and_each_example_is_its_own(loss):
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    assert loss(half, LABELS).dtype == jnp.bfloat16
    np.testing.assert_allclose(jnp.asarray(loss(half, LABELS), jnp.float32), loss(LOGITS, LABELS), rtol=0.03, atol=0.05)
    stacked = jax.jit(jax.vmap(loss))(jnp.stack([LOGITS, 2 * LOGITS]), jnp.stack([LABELS, LABELS]))
    np.testing.assert_allclose(stacked[1], loss(2 * LOGITS, LABELS), rtol=1e-6)


@pytest.mark.parametrize(
    "loss", [losses.softmax_cross_entropy, losses.hinge, losses.squared_hinge, losses.kl_divergence]
)
def test_an_excluded_class_is_as_if_it_were_not_there(loss):
    outputs = np.array([[0.5, -np.inf, 1.0]], np.float32)
    values, grads = jax.value_and_grad(lambda z: loss(z, jnp.array([2])).sum())(jnp.asarray(outputs))
    assert float(values) == pytest.approx(float(loss(outputs[:, [0, 2]], jnp.array([1]))[0]), rel=1e-6)
    assert np.all(np.isfinite(grads))


SOFT = np.random.RandomState(1).dirichlet(np.ones(4), 6).astype(np.float32)


def log_softmax(z):
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


@pytest.mark.parametrize("outputs", [LOGITS, log_softmax(LOGITS)], ids=["logits", "log-probabilities"])
def test_kl_divergence_is_that_of_the_target_from_the_prediction(outputs):
    expected = (SOFT.astype(np.float64) * (np.log(SOFT) - log_softmax(LOGITS.astype(np.float64)))).sum(-1)
    np.testing.assert_allclose(losses.kl_divergence(outputs, SOFT), expected, rtol=1e-5, atol=1e-7)


def test_kl_divergence_of_equal_distributions_is_zero():
    np.testing.assert_allclose(losses.kl_divergence(np.log(SOFT), SOFT), 0, atol=1e-6)


def test_probabilities_of_exactly_0_and_1():
    outputs = jnp.array([[0.0, -jnp.inf, 1.0], [0.0, -jnp.inf, -jnp.inf]])
    targets = jnp.array([[0.25, 0.0, 0.75], [1.0, 0.0, 0.0]])
    cross_entropy = 0.25 * np.log(1 + np.e) + 0.75 * np.log(1 + 1 / np.e)
    minus_entropy = 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    expectations = {losses.softmax_cross_entropy: cross_entropy, losses.kl_divergence: cross_entropy + minus_entropy}
    for loss, expected in expectations.items():
        values, grads = jax.value_and_grad(lambda z, loss=loss: loss(z, targets).sum())(outputs)
        assert float(values) == pytest.approx(expected, abs=1e-6)
        assert np.all(np.isfinite(grads))


def test_label_smoothing_mixes_with_the_uniform_distribution():
    s = 0.1
    smooth = (1 - s) * ONE_HOT + s / 4
    expected = -(smooth * log_softmax(LOGITS.astype(np.float64))).sum(-1)
    np.testing.assert_allclose(losses.softmax_cross_entropy(LOGITS, LABELS, label_smoothing=s), expected, rtol=1e-5)
    halves = (1 - s) * ONE_HOT + s / 2
    sigma = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    expected = -(halves * np.log(sigma) + (1 - halves) * np.log(1 - sigma)).sum(-1)
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(LOGITS, LABELS, label_smoothing=s), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.sigmoid_cross_entropy])
@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_label_smoothing_out_of_range(loss, smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing: expected a number in \[0, 1\]; got"):
        loss(LOGITS, LABELS, label_smoothing=smoothing)


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.sigmoid_cross_entropy])
def test_a_traced_label_smoothing(loss):
    ours = jax.jit(jax.vmap(lambda s: loss(LOGITS, LABELS, label_smoothing=s)))(jnp.array([0.0, 0.3]))
    np.testing.assert_allclose(ours[0], loss(LOGITS, LABELS), rtol=1e-6)
    np.testing.assert_allclose(ours[1], loss(LOGITS, LABELS, label_smoothing=0.3), rtol=1e-6)


def test_the_hinge_of_targets_that_are_no_single_class():
    own = (SOFT * LOGITS).sum(-1, keepdims=True)
    expected = ((1 - SOFT) * np.maximum(LOGITS - own + 1, 0)).sum(-1)
    np.testing.assert_allclose(losses.hinge(LOGITS, SOFT), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_positions_of_an_example_are_summed(loss):
    outputs, labels = LOGITS.reshape(2, 3, 4), LABELS.reshape(2, 3)
    np.testing.assert_allclose(loss(outputs, labels), loss(LOGITS, LABELS).reshape(2, 3).sum(1), rtol=1e-6)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_weights_multiply_and_masks_leave_out(loss):
    outputs, labels = LOGITS.reshape(2, 3, 4), LABELS.reshape(2, 3)
    each = np.asarray(loss(LOGITS, LABELS)).reshape(2, 3)
    weights = np.array([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]], np.float32)
    np.testing.assert_allclose(loss(outputs, labels, weights=weights), (weights * each).sum(1), rtol=1e-6)
    np.testing.assert_allclose(loss(outputs, labels, weights=weights[:, 0]), weights[:, 0] * each.sum(1), rtol=1e-6)
    mask = weights > 0.7
    np.testing.assert_allclose(loss(outputs, labels, mask=mask), (mask * each).sum(1), rtol=1e-6)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
def test_what_a_mask_leaves_out_reaches_neither_value_nor_gradient(loss):
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    spoiled, labels = np.where(mask[:, None], LOGITS, np.nan), np.where(mask, LABELS, -1)
    values, grads = jax.value_and_grad(lambda z: loss(z, labels, mask=mask).sum())(jnp.asarray(spoiled))
    assert float(values) == pytest.approx(float(np.sum(np.asarray(loss(LOGITS, LABELS))[mask])), rel=1e-6)
    assert np.all(np.isfinite(grads))
    np.testing.assert_array_equal(grads[~mask], 0)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("name", ["weights", "mask"])
def test_weights_and_masks_that_do_not_fit(loss, name):
    with pytest.raises(ValueError, match=rf"{name}: expected the shape of the positions, \(6,\), or its first axes"):
        loss(LOGITS, LABELS, **{name: np.ones((6, 1))})


def test_weighted_cross_entropy_takes_the_weight_of_the_targets_class():
    v = np.array([1.0, 5.0, 0.5, 2.0], np.float32)
    expected = -v[LABELS] * log_softmax(LOGITS.astype(np.float64))[np.arange(6), LABELS]
    np.testing.assert_allclose(losses.weighted_cross_entropy(LOGITS, LABELS, v), expected, rtol=1e-5)
    soft = -v[SOFT.argmax(-1)] * (SOFT * log_softmax(LOGITS.astype(np.float64))).sum(-1)
    np.testing.assert_allclose(losses.weighted_cross_entropy(LOGITS, SOFT, v), soft, rtol=1e-5)
    with pytest.raises(ValueError, match=r"class_weights: expected one for each class, shape \(4,\); got \(3,\)"):
        losses.weighted_cross_entropy(LOGITS, LABELS, v[:3])
    with pytest.raises(ValueError, match=r"class_weights: expected one for each class, shape \(\); got \(4,\)"):
        losses.weighted_cross_entropy(jnp.zeros(()), jnp.zeros((), int), v)
    assert np.isnan(losses.weighted_cross_entropy(LOGITS[:1], np.array([4]), v)[0])


def test_rebalancing_weights_average_to_one_and_favour_the_rare():
    counts = np.array([90, 9, 1, 0])
    p = counts / 100
    expected = 1 / (0.5 * p + 0.5 / 4)
    expected /= (p * expected).sum()
    np.testing.assert_allclose(losses.rebalancing_weights(counts), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.rebalancing_weights(counts, mix=1.0), 1.0, rtol=1e-6)
    assert np.all(np.diff(expected) > 0)
    # By the inverse frequency every class that occurs has the same share of the scale, one that does not none.
    inverse = 100 / (3 * np.array([90, 9, 1]))
    np.testing.assert_allclose(losses.rebalancing_weights(counts, mix=0), [*inverse, np.inf], rtol=1e-6)
    with pytest.raises(ValueError, match=r"mix: expected a number in \[0, 1\]; got 2"):
        losses.rebalancing_weights(counts, mix=2)
    with pytest.raises(ValueError, match=r"frequencies: expected one for each class"):
        losses.rebalancing_weights(np.ones((2, 2)))


def test_matched_loss_and_output_cancel_the_derivative_of_the_activation():
    """L16: dC/dz is a - y for softmax and sigmoid with their cross-entropies, (a - y) a (1 - a) for the quadratic."""
    z = LOGITS.astype(np.float64)
    sigma = 1 / (1 + np.exp(-z))

    def slope(loss):
        return jax.grad(lambda z: loss(z).sum())(jnp.asarray(LOGITS))

    softmax = np.exp(log_softmax(z))
    np.testing.assert_allclose(slope(lambda z: losses.softmax_cross_entropy(z, ONE_HOT)), softmax - ONE_HOT, atol=1e-6)
    np.testing.assert_allclose(slope(lambda z: losses.sigmoid_cross_entropy(z, ONE_HOT)), sigma - ONE_HOT, atol=1e-6)
    quadratic = slope(lambda z: losses.quadratic_cost(jax.nn.sigmoid(z), jnp.asarray(ONE_HOT)))
    np.testing.assert_allclose(quadratic, (sigma - ONE_HOT) * sigma * (1 - sigma), atol=1e-6)


def test_cross_entropy_has_a_leading_minus_sign():
    """S07: without it the cost would be negative, and least where the prediction is worst."""
    right, wrong = jnp.array([[3.0, -3.0]]), jnp.array([[-3.0, 3.0]])
    for loss in (losses.sigmoid_cross_entropy, losses.softmax_cross_entropy):
        assert 0 < float(loss(right, jnp.array([0]))[0]) < float(loss(wrong, jnp.array([0]))[0])


def test_squares_average_two_modes_and_classes_keep_them():
    """T36: of a target that is -1 or +1 with equal probability squares are least at 0, which never occurs; the best
    classes are the two modes, a half each (Zhang, Isola, Efros 2016, section 2)."""
    targets = jnp.array([-1.0, 1.0, 1.0, -1.0])

    def squares(f):
        return losses.squared_error(jnp.full((4, 1), f), targets[:, None]).mean()

    assert float(jax.grad(squares)(0.0)) == 0
    assert float(squares(0.0)) < min(float(squares(-1.0)), float(squares(1.0)))
    bins = jnp.array([0, 2, 2, 0])  # of -1, 0, +1

    def surprise(z):
        return losses.softmax_cross_entropy(jnp.broadcast_to(z[None, :], (4, 3)), bins).mean()

    best = jnp.array([0.0, -jnp.inf, 0.0])
    np.testing.assert_allclose(jax.nn.softmax(best), [0.5, 0, 0.5])
    np.testing.assert_allclose(surprise(best), np.log(2), rtol=1e-6)  # the entropy of the targets: nothing is below
    assert float(surprise(jnp.array([0.0, 3.0, 0.0]))) > np.log(2)
