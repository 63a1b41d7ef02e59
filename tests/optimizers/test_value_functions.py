"""Dtypes and extra arguments of the second-order recipes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.optimizers import freeze, groups, lbfgs, newton, saddle_free_newton, staged_unfreezing
from tests.optimizers.descent import float64

RECIPES = {
    "lbfgs": lbfgs(),
    "dense": newton(),
    "cg": newton(solver="cg"),
    "saddle-free": saddle_free_newton(damping=0.0),
    "lanczos": saddle_free_newton(damping=0.0, num_lanczos=3),
}


def value_fn(params):
    """A quadratic around 3 whose entries have curvatures 1, 4 and 9; the third is another leaf."""
    a, b = params["a"], params["b"]
    return jnp.sum(jnp.array([0.5, 2.0], a.dtype) * (a - 3) ** 2) + 4.5 * jnp.sum((b - 3) ** 2)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    "dtypes", [(jnp.bfloat16, jnp.bfloat16), (jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float16)]
)
def test_updates_keep_their_dtypes_and_are_computed_in_float32(name, dtypes):
    tx, seen = RECIPES[name], []
    params = {"a": jnp.array([1.0, 5.0], dtypes[0]), "b": jnp.array([[8.0]], dtypes[1])}

    def watched(params):
        seen.append({leaf.dtype for leaf in jax.tree.leaves(params)})
        return value_fn(params)

    def step(params, state):
        value, grad = jax.value_and_grad(value_fn)(params)
        assert [leaf.dtype for leaf in jax.tree.leaves(grad)] == list(dtypes)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=watched)
        assert [leaf.dtype for leaf in jax.tree.leaves(updates)] == list(dtypes)
        return optax.apply_updates(params, updates), state

    state, step = tx.init(params), jax.jit(step) if name == "lbfgs" else step
    for _ in range(12 if name == "lbfgs" else 1):
        params, state = step(params, state)
    assert seen
    assert all(dtypes == {np.dtype(np.float32)} for dtypes in seen)
    for leaf in jax.tree.leaves(params):
        np.testing.assert_allclose(leaf.astype(jnp.float32), 3.0, atol=0.02)


@pytest.mark.parametrize("rate", [jnp.float32(0.5), np.float64(0.5)])
def test_a_traced_rate_does_not_widen_bfloat16(rate):
    params = jnp.array([1.0], jnp.bfloat16)
    step = jax.jit(lambda r: newton(learning_rate=r).update(params, newton().init(params), params, value_fn=jnp.sum))
    assert step(rate)[0].dtype == jnp.bfloat16


def minimised(f, params, steps):
    tx = lbfgs()

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(f)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=f)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params.astype(jnp.float32)


def test_a_value_rounded_to_bfloat16_does_not_stop_the_line_search():
    """1001 + x^2/2 rounds down to 1000, below everything the search can find."""
    f = lambda p: 1001 + jnp.sum((p - 0.25) ** 2) / 2  # noqa: E731
    assert f(jnp.array([1.0], jnp.bfloat16)) == 1000
    np.testing.assert_allclose(minimised(f, jnp.array([1.0], jnp.bfloat16), 3), 0.25, atol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_a_value_of_another_dtype_than_the_parameters(dtype):
    with float64(dtype == jnp.float64):
        check_value_of(dtype)


def check_value_of(dtype):
    f = lambda p: jnp.sum((p - 0.25) ** 2).astype(dtype)  # noqa: E731
    np.testing.assert_allclose(minimised(f, jnp.array([1.0, -2.0], jnp.float32), 5), 0.25, atol=1e-2)
    x = jnp.array([1.0, -2.0], jnp.float32)
    for tx in (newton(), newton(solver="cg"), saddle_free_newton(damping=0.0, num_lanczos=2)):
        updates, _ = tx.update(jax.grad(f)(x), tx.init(x), x, value_fn=f)
        np.testing.assert_allclose(x + updates, 0.25, atol=1e-5)


def test_other_extra_arguments_are_left_alone(same_bytes):
    params = {"a": jnp.ones(2), "b": jnp.ones(1)}
    for tx in RECIPES.values():
        value, grad = jax.value_and_grad(value_fn)(params)
        extra = {"value": value, "grad": grad, "value_fn": value_fn}
        updates, _ = tx.update(grad, tx.init(params), params, **extra, loss=1.0, batch=None)
        same_bytes(updates, tx.update(grad, tx.init(params), params, **extra)[0])


def test_an_empty_tree_and_an_empty_leaf():
    for name, tx in RECIPES.items():
        if name != "lbfgs":  # optax's line search looks at the dtype of the first leaf
            updates, _ = tx.update({}, tx.init({}), {}, value_fn=lambda p: jnp.zeros(()))
            assert updates == {}
        params = {"a": jnp.array([1.0, 5.0]), "b": jnp.zeros((0, 3))}
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, _ = tx.update(grad, tx.init(params), params, value=value, grad=grad, value_fn=value_fn)
        assert updates["b"].shape == (0, 3)
        assert jnp.isfinite(updates["a"]).all()


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_missing_is_named(name):
    tx, params = RECIPES[name], {"a": jnp.ones(2), "b": jnp.ones(1)}
    given = {"value": 1.0, "grad": params, "value_fn": value_fn}
    by_hand = "value=..., grad=..., value_fn=..." if name == "lbfgs" else "value_fn=..."
    for missing in ("value", "grad", "value_fn") if name == "lbfgs" else ("value_fn",):
        extra = {key: value for key, value in given.items() if key != missing}
        with pytest.raises(
            ValueError, match=rf"{missing}: expected with every update.*got None.*make_train_step passes it"
        ) as e:
            tx.update(params, tx.init(params), params, **extra)
        assert f"by hand call tx.update(grads, state, params, {by_hand})" in str(e.value)
    with pytest.raises(ValueError, match=r"params: expected with every update of this optimizer; got None"):
        tx.update(params, tx.init(params), **given)


def test_hidden_parameters_are_refused_where_the_function_wants_them_all():
    params = {"a": jnp.ones(2), "b": jnp.ones(1)}
    tx = optax.masked(newton(), {"a": True, "b": False}, mask_compatible_extra_args=True)
    value, grad = jax.value_and_grad(value_fn)(params)
    with pytest.raises(
        ValueError, match=r"params: expected all of them.*hidden by a mask.*use jaxdl\.optimizers\.freeze"
    ):
        tx.update(grad, tx.init(params), params, value_fn=value_fn)
    hidden = {"a": jnp.ones(2), "b": optax.MaskedNode()}
    with pytest.raises(ValueError, match=r"hidden by a mask"):
        lbfgs().update(hidden, lbfgs().init(hidden), hidden, value=value, grad=hidden, value_fn=value_fn)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("around", ["freeze", "groups", "staged_unfreezing"])
def test_a_part_of_the_parameters_is_trained_to_its_own_minimum(name, around):
    """With b = 8 fixed the minimum over a is 3."""
    tx = {
        "freeze": lambda tx: freeze(tx, where="b"),
        "groups": lambda tx: groups(("a", tx), rest=optax.set_to_zero()),
        "staged_unfreezing": lambda tx: staged_unfreezing(tx, stages=["a", "b"])[0],
    }[around](RECIPES[name])
    params = {"a": jnp.array([1.0, 5.0]), "b": jnp.array([[8.0]])}
    state = tx.init(params)
    for _ in range(8):
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["a"], 3.0, rtol=1e-5)
    assert float(params["b"][0, 0]) == 8.0


@pytest.mark.parametrize("name", RECIPES)
def test_states_can_be_donated(name):
    """No buffer stands in two places, as in the state of optax.lbfgs."""
    params = {"a": jnp.ones(2), "b": jnp.ones(1)}
    leaves = jax.tree.leaves((params, RECIPES[name].init(params)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
