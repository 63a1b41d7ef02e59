import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxdl
from jaxdl import training
from jaxdl.training.state import epoch_order


def test_a_fresh_state_holds_all_collections():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.BatchNorm(use_running_average=not train)(nn.Dense(2)(x))

    state = training.init_state(Net(), optax.adam(1e-3), np.ones((1, 3), np.float32), key=jax.random.key(0))
    assert state.step.dtype == jnp.int32
    assert int(state.step) == 0
    assert set(state.params) == {"Dense_0", "BatchNorm_0"}
    assert set(state.model_state) == {"batch_stats"}
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, optax.adam(1e-3).init(state.params))


def test_parameters_and_run_have_different_keys():
    key = jax.random.key(0)
    state = training.init_state(jaxdl.models.MLP((2,)), optax.sgd(1.0), np.ones((1, 3), np.float32), key=key)
    assert not np.array_equal(jax.random.key_data(state.key), jax.random.key_data(key))


def test_every_epoch_visits_every_example_once_in_its_own_order():
    key = jax.random.key(0)
    orders = [np.asarray(epoch_order(key, epoch, 50)) for epoch in range(3)]
    for order in orders:
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])


def test_positions_are_uniform():
    # 2,000 orders of 5: every (position, example) pair has probability 1/5. Chi-squared with 16 degrees of freedom;
    # the limit 45.9 has a false-alarm rate of 1e-4 for a random key, and the key is fixed.
    orders = np.asarray(jax.vmap(lambda epoch: epoch_order(jax.random.key(7), epoch, 5))(jnp.arange(2000)))
    counts = np.stack([np.bincount(orders[:, position], minlength=5) for position in range(5)])
    assert ((counts - 400) ** 2 / 400).sum() < 45.9


@pytest.mark.parametrize("key", [0, jax.random.key_data(jax.random.key(0)), jax.random.split(jax.random.key(0))])
def test_what_is_not_one_typed_key(key):
    with pytest.raises(TypeError, match=r"key: expected one typed key; got .*Make it with jax\.random\.key\(0\)"):
        training.init_state(jaxdl.models.MLP((2,)), optax.sgd(1.0), np.ones((1, 3), np.float32), key=key)


def test_the_order_shares_no_key_with_the_noise_of_any_step():
    key = jax.random.key(0)
    for step in range(200):
        noise = jax.random.fold_in(jax.random.fold_in(key, step), 0)
        assert not np.array_equal(jax.random.permutation(noise, 50), epoch_order(key, 0, 50))


def test_a_model_state_is_kept_as_it_is():
    state = training.make_state({}, optax.sgd(0.1), key=jax.random.key(0), model_state=jnp.zeros(()))
    assert state.model_state.shape == ()
