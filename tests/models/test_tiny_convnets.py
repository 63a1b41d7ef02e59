"""One real training step of every convolutional model, against the derivative that it goes by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.training import make_state, make_train_step
from jaxdl.tree import leaf_paths
from tests.models.all_cases import drawn, each_of
from tests.models.tiny_convnets import CASES


@each_of(CASES)
def test_a_small_step_lowers_the_loss_by_the_rate_times_the_squared_gradient(name):
    case, rate = CASES[name], 1e-4
    step = make_train_step(case.objective, optax.sgd(rate))

    @jax.jit
    def once(key, variables, data):
        model_state = {name: value for name, value in variables.items() if name != "params"}
        state = make_state(variables["params"], step.tx, key=key, model_state=model_state)
        after, metrics = step(state, data)

        def loss(params):
            masks = jax.random.fold_in(state.key, state.step)  # those of the step
            return case.objective(params, data, model_state=model_state, key=masks, train=True)[0].mean()

        value, gradient = jax.value_and_grad(loss)(state.params)
        squared = optax.tree.norm(gradient, squared=True)
        # A rate at which the change is large beside the rounding of the loss, and small beside what bends it.
        size = jnp.minimum(1e-2 / squared, 1e-2)
        moved = loss(jax.tree.map(lambda p, g: p - size * g, state.params, gradient))
        return state, after, metrics["loss"], value, gradient, squared, (value - moved) / size

    state, after, reported, value, gradient, squared, slope = once(jax.random.key(0), drawn(case), case.data)
    moves = jax.tree.map(lambda new, old: np.float64(new) - np.float64(old), after.params, state.params)
    for path, move in leaf_paths(moves).items():
        expected = -rate * np.asarray(leaf_paths(gradient)[path])
        np.testing.assert_allclose(move, expected, rtol=0.05, atol=3e-7, err_msg=path)  # float32 of old and new
    assert float(reported) == pytest.approx(float(value), rel=1e-5)
    assert float(squared) > 1e-3
    assert float(slope) == pytest.approx(float(squared), rel=0.3)
    assert jax.tree.map(np.shape, after.model_state) == jax.tree.map(np.shape, state.model_state)
