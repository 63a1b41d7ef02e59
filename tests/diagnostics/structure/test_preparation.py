import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl
from jaxdl.diagnostics.structure.preparation import as_objective, prepared


def test_a_state_is_taken_apart_and_what_is_missing_filled_in():
    model = jaxdl.models.MLP((3,))
    state = jaxdl.training.init_state(model, optax.sgd(0.1), np.ones((2, 4), np.float32), key=jax.random.key(0))
    given = prepared(lambda p, b: b, state, [1.0], model_state=None, key=None)
    assert jax.tree.structure(given.params) == jax.tree.structure(state.params)
    assert given.model_state == {}
    assert given.key == jax.random.key(0)
    assert isinstance(given.batch[0], jax.Array)
    own = prepared(lambda p, b: b, state, [1.0], model_state={"stats": 1}, key=jax.random.key(3))
    assert (own.model_state, own.key) == ({"stats": 1}, jax.random.key(3))


def test_plain_losses_become_an_objective_and_objectives_stay():
    plain = as_objective(lambda params, batch: params * batch)
    losses, aux = plain(2.0, jnp.arange(3.0), model_state={}, key=None, train=False)
    np.testing.assert_array_equal(losses, [0, 2, 4])
    assert aux is None
    for objective in (lambda p, b, *, model_state, key, train: 0, lambda p, b, **options: 0):
        assert as_objective(objective) is objective


def test_errors():
    with pytest.raises(TypeError, match="objective: expected a function"):
        prepared(3, {}, {}, model_state=None, key=None)
    with pytest.raises(TypeError, match="key: expected one typed key"):
        prepared(len, {}, {}, model_state=None, key=3)
