"""One real training step of every convolutional model, against the derivative that it goes by."""

import jax
import numpy as np
import optax
import pytest

from jaxdl.training import make_state, make_train_step
from jaxdl.tree import leaf_paths
from tests.models.tiny_convnets import CASES


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_small_step_lowers_the_loss_by_the_rate_times_the_squared_gradient(case):
    variables = case.init(jax.random.key(0))
    model_state = {name: value for name, value in variables.items() if name != "params"}
    rate = 1e-4
    step = make_train_step(case.objective, optax.sgd(rate))
    state = make_state(variables["params"], step.tx, key=jax.random.key(1), model_state=model_state)
    after, metrics = jax.jit(step)(state, case.data)

    @jax.jit
    def loss(params):
        key = jax.random.fold_in(state.key, state.step)  # the same masks as in the step
        return case.objective(params, case.data, model_state=model_state, key=key, train=True)[0].mean()

    value, gradient = jax.value_and_grad(loss)(state.params)
    moves = jax.tree.map(lambda new, old: np.float64(new) - np.float64(old), after.params, state.params)
    for path, move in leaf_paths(moves).items():
        expected = -rate * np.asarray(leaf_paths(gradient)[path])
        np.testing.assert_allclose(move, expected, rtol=0.05, atol=3e-7, err_msg=path)  # float32 of old and new
    squared = sum(float(np.sum(np.float64(leaf) ** 2)) for leaf in jax.tree.leaves(gradient))
    assert squared > 1e-3
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    # A rate at which the change is large beside the rounding of the loss, and small beside what bends it.
    size = min(1e-2 / squared, 1e-2)
    moved = jax.tree.map(lambda p, g: p - size * g, state.params, gradient)
    assert float(value - loss(moved)) == pytest.approx(size * squared, rel=0.3)
    assert jax.tree.map(np.shape, after.model_state) == jax.tree.map(np.shape, model_state)
