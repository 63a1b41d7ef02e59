import jax
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl.losses import perceptron
from jaxdl.models import Perceptron
from jaxdl.training import fit, init_state, make_train_step, supervised


def separable(margin: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.RandomState(0).uniform(-1, 1, (400, 2))
    scores = draws @ [0.6, -0.8] + 0.1
    kept = np.abs(scores) > margin
    return draws[kept].astype(np.float32), np.where(scores[kept] > 0, 1.0, -1.0).astype(np.float32)


def rule(x: np.ndarray, t: np.ndarray, passes: int) -> tuple[np.ndarray, float, int]:
    """Rosenblatt's rule, one example after the other; the number of mistakes."""
    w, b, mistakes = np.zeros(x.shape[1]), 0.0, 0
    for _ in range(passes):
        for example, target in zip(x.astype(np.float64), t, strict=True):
            if target * (example @ w + b) <= 0:
                w, b, mistakes = w + target * example, b + target, mistakes + 1
    return w, b, mistakes


def test_descent_on_its_loss_is_the_perceptron_rule():
    x, t = separable()
    model, tx = Perceptron(), optax.sgd(1.0)
    step = make_train_step(supervised(model, perceptron), tx)
    state = init_state(model, tx, x[:1], key=jax.random.key(0))
    state, _ = fit(step, state, (x, t), epochs=3, batch_size=1, shuffle=False, progress=False)
    w, b, mistakes = rule(x, t, 3)
    np.testing.assert_allclose(state.params["Dense_0"]["kernel"][:, 0], w, rtol=1e-4)
    np.testing.assert_allclose(state.params["Dense_0"]["bias"][0], b, rtol=1e-4)
    # Novikoff: at most (R / gamma)^2 mistakes on data separable with margin gamma, the bias counted as a coordinate.
    radius = np.sqrt((x**2).sum(1) + 1).max()
    assert 0 < mistakes <= (radius * np.linalg.norm([0.6, -0.8, 0.1]) / 0.2) ** 2
    decided = model.apply({"params": state.params}, x, method="decide")
    assert (decided == t).mean() > 0.95


def test_loss_and_derivative_on_both_sides_and_at_a_tie():
    scores, targets = np.array([2.0, -3.0, 0.0, 0.0], np.float32), np.array([1.0, 1.0, 1.0, -1.0])
    np.testing.assert_array_equal(perceptron(scores, targets), [0, 3, 0, 0])
    np.testing.assert_array_equal(jax.grad(lambda f: perceptron(f, targets).sum())(scores), [0, -1, -1, 1])
    apart = scores[:2]
    np.testing.assert_array_equal(perceptron(apart, targets[:2]), optax.losses.perceptron_loss(apart, targets[:2]))


def test_masked_positions_count_nothing():
    scores = np.array([[-1.0, np.nan], [2.0, -4.0]], np.float32)
    mask = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(perceptron(scores, np.ones((2, 2)), mask=mask), [1, 4])
    assert np.isfinite(jax.grad(lambda f: perceptron(f, np.ones((2, 2)), mask=mask).sum())(scores)).all()


def test_targets_of_another_shape():
    with pytest.raises(ValueError, match=r"targets: expected -1 or \+1 in the shape of outputs, \(3,\); got \(3, 1\)"):
        perceptron(np.zeros(3), np.ones((3, 1)))


def test_a_tie_is_decided_as_minus_one():
    x = np.zeros((2, 3), np.float32)
    variables = Perceptron().init(jax.random.key(0), x)
    assert Perceptron().apply(variables, x).shape == (2,)
    np.testing.assert_array_equal(Perceptron().apply(variables, x, method="decide"), -1)
    assert jaxdl.tree.num_entries(variables["params"]) == 4
