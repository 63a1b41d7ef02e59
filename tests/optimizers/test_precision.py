"""Recipes in bfloat16, float16, and beside numbers of other precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optimizers
from jaxdl.optimizers import adam
from jaxdl.optimizers.precision import in_float32
from tests.optimizers.descent import float64

RECIPES = ("gradient_descent", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam")
each_recipe = pytest.mark.parametrize("name", RECIPES)


@pytest.mark.parametrize("name", RECIPES[1:])
def test_memories_of_bfloat16_parameters_are_float32(name):
    tx, params = getattr(optimizers, name)(1e-3), {"w": jnp.zeros(3, jnp.bfloat16)}
    state = tx.init(params)
    grads = {"w": jnp.full(3, 0.1, jnp.bfloat16)}
    step = jax.jit(lambda state: tx.update(grads, state, params))
    for _ in range(3):
        updates, state = step(state)
    assert updates["w"].dtype == jnp.bfloat16
    memories = [leaf for leaf in jax.tree.leaves(state) if jnp.ndim(leaf) == 1]
    assert memories
    assert {leaf.dtype for leaf in memories} == {jnp.dtype(jnp.float32)}


def test_the_square_of_adam_in_bfloat16_is_that_of_float32():
    """optax's own stays at half of g^2: 0.999 is 1 in bfloat16, and the sum stops growing."""
    grads = jnp.ones(2, jnp.bfloat16)

    def last_step(tx):
        state = jax.lax.fori_loop(0, 3000, lambda _, state: tx.update(grads, state)[1], tx.init(grads))
        return -float(tx.update(grads, state)[0][0])

    assert last_step(adam(1.0)) == pytest.approx(1.0, rel=2**-8)
    assert last_step(optax.adam(1.0)) > 1.3


@each_recipe
def test_half_precision_and_zero_gradients(name):
    tx = getattr(optimizers, name)(0.1)
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        params = {"w": jnp.ones((2, 2), dtype), "empty": jnp.zeros((0, 3), dtype), "scalar": jnp.ones((), dtype)}
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        for leaf in jax.tree.leaves(updates):
            assert leaf.dtype == dtype
            assert np.all(np.asarray(leaf, np.float32) == 0)


@pytest.mark.parametrize("rate", [np.float64(0.1), np.float32(0.1), jnp.float32(0.1), 1])
@each_recipe
def test_kinds_of_numbers_for_a_rate(name, rate):
    """Also inside of jit, where an array known before is a constant."""
    recipe = getattr(optimizers, name)
    params = jnp.ones(2)

    @jax.jit
    def update(params):
        tx = recipe(rate)
        return tx.update(params, tx.init(params), params)

    updates, state = update(params)
    assert updates.dtype == jnp.float32
    tx = recipe(float(rate))
    expected, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates, expected, rtol=1e-6)
    jax.lax.scan(lambda state, _: (recipe(rate).update(params, state, params)[1], None), state, length=2)


@each_recipe
def test_float32_parameters_where_float64_is_enabled(name):
    """A rate of float64 neither raises the updates nor changes the state's dtypes."""
    with float64():
        tx = getattr(optimizers, name)(np.float64(0.1))
        params = jnp.ones(2, jnp.float32)
        state = tx.init(params)
        updates, after = tx.update(params, state, params)
        assert updates.dtype == jnp.float32
        assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_injected_hyper_parameters_beside_bfloat16():
    """optax takes them to the parameters' dtype, where 0.999 is 1: an error, and no NaN."""
    params = jnp.ones(3, jnp.bfloat16)
    with pytest.raises(
        ValueError, match=r"b2: expected one finite number >= 0 and < 1; got Array\(1, dtype=bfloat16\)"
    ):
        optax.inject_hyperparams(adam)(learning_rate=0.1).init(params)
    injected = optax.inject_hyperparams(adam, hyperparam_dtype=jnp.float32)(learning_rate=0.1)
    updates, _ = injected.update(params, injected.init(params), params)
    expected, _ = adam(0.1).update(params, adam(0.1).init(params), params)
    assert updates.dtype == jnp.bfloat16
    np.testing.assert_array_equal(updates, expected)


def test_what_needs_parameters_and_value_gets_them():
    """Parameters in float32, a value as it is; leaves that are no floats stay what they are."""
    seen = {}

    def update(updates, state, params, *, value, **_):
        seen.update(params=params, value=value)
        return jax.tree.map(lambda u: u * value, updates), state

    tx = in_float32(optax.GradientTransformationExtraArgs(lambda params: jax.tree.map(jnp.zeros_like, params), update))
    params = {"w": jnp.ones(2, jnp.bfloat16), "n": jnp.ones(2, jnp.int32)}
    state = tx.init(params)
    assert state["w"].dtype == jnp.float32
    assert state["n"].dtype == jnp.int32
    updates, _ = tx.update(params, state, params, value=3, grad=params)
    assert seen["value"] == 3
    assert seen["params"]["w"].dtype == jnp.float32
    assert updates["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(updates["n"], [3, 3])
